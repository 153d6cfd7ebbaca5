"""Sealing secrets, and the key file."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from gateway.config import Settings
from gateway.domain.errors import ConfigError
from gateway.store.errors import SecretKeyError
from gateway.store.secrets import SecretBox, load_secret_box

pytestmark = pytest.mark.unit


def test_a_secret_opens_only_where_it_was_sealed() -> None:
    box = SecretBox([Fernet.generate_key().decode()])
    token = box.seal("a/sip_pass", "hunter2")
    assert "hunter2" not in token
    assert box.open("a/sip_pass", token) == "hunter2"
    for place, damaged in (("b/sip_pass", token), ("a/sip_pass", token[:-4] + "AAA="), ("a/sip_pass", "")):
        with pytest.raises(SecretKeyError):
            box.open(place, damaged)


def test_keys_rotate() -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    token = SecretBox([old]).seal("p", "v")
    assert SecretBox([new, old]).open("p", token) == "v"
    with pytest.raises(SecretKeyError, match="put back the key file"):
        SecretBox([new]).open("p", token)


def test_the_first_start_makes_a_key_file_for_its_owner_only(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "new")
    token = load_secret_box(settings, may_create=True).seal("p", "v")
    file = tmp_path / "new" / "secret.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["secret.key"]
    assert load_secret_box(settings, may_create=False).open("p", token) == "v"


def test_a_lost_key_file_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(SecretKeyError, match=r"secret\.key is gone"):
        load_secret_box(Settings(state_dir=tmp_path), may_create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    load_secret_box(settings, may_create=True)
    settings.effective_secret_key_file.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_secret_box(settings, may_create=False)


@pytest.mark.parametrize("content", [b"", b"not a key\n", b"\xff\xfe"])
def test_a_damaged_key_file(tmp_path: Path, content: bytes) -> None:
    settings = Settings(state_dir=tmp_path)
    settings.effective_secret_key_file.write_bytes(content)
    settings.effective_secret_key_file.chmod(0o600)
    with pytest.raises(ConfigError, match="secret key"):
        load_secret_box(settings, may_create=False)


def test_the_key_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new, old = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    token = SecretBox([old]).seal("p", "v")
    monkeypatch.setenv("PONTE_SECRET_KEY", f"{new}, {old}")
    assert load_secret_box(Settings(state_dir=tmp_path), may_create=True).open("p", token) == "v"
    assert list(tmp_path.iterdir()) == []
