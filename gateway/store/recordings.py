"""The files of recordings: one folder for each account, names that are ids of calls."""

from __future__ import annotations

import asyncio
import re
import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from gateway.codecs import wav
from gateway.codecs.ogg import duration_s
from gateway.domain.ids import AccountId
from gateway.domain.recording import RecordingState
from gateway.store.errors import StoreError

_NAME: Final = re.compile(r"[0-9A-Za-z_-]{1,64}\.(opus|wav)")
_TAIL_BYTES: Final = 131_072  # two of the longest pages of Ogg
_WAV_BYTES_PER_S: Final = 2 * 2 * 16_000

Recording = Mapping[str, Any]
"""What a call's record keeps of its recording."""


class RecordingFiles:
    """Finds and deletes them.

    Args:
        folder: of all accounts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder_of(self, account: AccountId) -> Path:
        """Return the account's folder, whether it is there or not."""
        return self._folder / account

    def path(self, account: AccountId, recording: Recording) -> Path | None:
        """Return the file of a recording; None where it is gone, or is none of ours.

        Raises:
            StoreError: the disk does not say.
        """
        name = str(recording.get("file", ""))
        if not _NAME.fullmatch(name):
            return None
        path = self.folder_of(account) / name
        try:
            mode = path.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreError(f"A recording cannot be reached: {error.strerror}") from None
        return path if stat.S_ISREG(mode) else None

    async def delete(self, found: Sequence[tuple[str, Recording]]) -> None:
        """Delete files, given with their accounts; before the records that name them, so that none is left behind.

        Raises:
            StoreError: one of them cannot be deleted.
        """
        await asyncio.to_thread(self._delete, found)

    def _delete(self, found: Sequence[tuple[str, Recording]]) -> None:
        for account, recording in found:
            if (path := self.path(AccountId(account), recording)) is not None:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise StoreError(f"A recording cannot be deleted: {error.strerror}") from None

    async def delete_account(self, account: AccountId) -> None:
        """Delete all of an account's.

        Raises:
            StoreError: something is left.
        """
        folder = self.folder_of(account)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        try:
            folder.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError:
            pass
        raise StoreError("The account's recordings cannot be deleted")

    def interrupted(self, account: AccountId, recording: Recording) -> Recording:
        """Return what a recording came to in which the process died. Blocks.

        Of a file that cannot be read it is what was known before: a disk's trouble must not keep calls from being made.
        """
        if recording.get("state") not in (RecordingState.RECORDING.value, RecordingState.STOPPED.value):
            return recording
        left: dict[str, Any] = {**recording, "state": RecordingState.INTERRUPTED.value}
        try:
            path = self.path(account, recording)
            if path is not None:
                left.update(_figures(path))
        except (OSError, StoreError) as error:
            structlog.get_logger(__name__).warning("recording_not_read", error=str(error))
        return left


def _figures(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if path.suffix == ".wav":
            seconds = max(0, size - wav.HEADER_BYTES) / _WAV_BYTES_PER_S
        else:
            file.seek(max(0, size - _TAIL_BYTES))
            seconds = duration_s(file.read())
    return {"bytes": size, "duration_s": round(seconds, 3)}
