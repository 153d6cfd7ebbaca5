"""Files of recordings on a disk that is in trouble."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gateway.domain.ids import AccountId
from gateway.store.errors import StoreError
from gateway.store.recordings import RecordingFiles

pytestmark = pytest.mark.unit

ANNA = AccountId("anna")
RECORDING = {"file": "c1.wav", "state": "recording", "bytes": 5, "duration_s": 0.1}


@pytest.fixture
def stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordingFiles:
    """A folder whose file server is gone."""
    folder = tmp_path / "recordings"

    def fail(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if folder in path.parents:
            raise OSError(errno.ESTALE, "Stale file handle")
        return os.stat(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", fail)
    monkeypatch.setattr(Path, "lstat", lambda path: fail(path, follow_symlinks=False))
    return RecordingFiles(folder)


async def test_what_the_disk_hides_is_not_taken_for_deleted(stale: RecordingFiles) -> None:
    with pytest.raises(StoreError, match="Stale"):
        await stale.delete([(ANNA, RECORDING)])
    with pytest.raises(StoreError):
        await stale.delete_account(ANNA)


def test_a_gateway_starts_though_a_recording_cannot_be_read(stale: RecordingFiles) -> None:
    assert stale.interrupted(ANNA, RECORDING) == {**RECORDING, "state": "interrupted"}


def test_what_is_gone_is_none(tmp_path: Path) -> None:
    files = RecordingFiles(tmp_path)
    assert files.path(ANNA, RECORDING) is None
    files.folder_of(ANNA).mkdir()
    assert files.path(ANNA, RECORDING) is None
    (files.folder_of(ANNA) / "other").write_bytes(b"1")
    (files.folder_of(ANNA) / "c1.wav").symlink_to("other")
    assert files.path(ANNA, RECORDING) is None
    assert files.path(ANNA, {"file": "../anna/other"}) is None
    (files.folder_of(ANNA) / "c1.wav").unlink()
    (files.folder_of(ANNA) / "c1.wav").write_bytes(b"RIFF")
    assert files.interrupted(ANNA, RECORDING) == {"file": "c1.wav", "state": "interrupted", "bytes": 4, "duration_s": 0}
