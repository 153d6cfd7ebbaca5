"""Completion, by a real bash."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.cli import main, parser
from gateway.completion import SHELLS, bash, commands_of

pytestmark = pytest.mark.integration


def completed(script: Path, *words: str, folder: Path | None = None) -> list[str]:
    """What bash offers for the last of *words*."""
    program = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ponte; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "--norc", "-uc", program, "bash", str(script), "ponte", *words],
        capture_output=True, text=True, timeout=20, check=True, cwd=folder,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "ponte.bash"
    path.write_text(bash(parser()))
    return path


def test_commands_flags_and_values(script: Path, tmp_path: Path) -> None:
    assert {"serve", "doctor", "trace", "keys", "completion"} <= set(completed(script, ""))
    assert completed(script, "se") == ["serve"]
    assert completed(script, "keys", "") == ["create", "list", "revoke"]
    assert completed(script, "accounts", "keys", "r") == ["revoke"]
    assert completed(script, "keys", "list", "--ac") == ["--account"]
    assert "--api-port" in completed(script, "serve", "--no-wasm", "--api")
    assert completed(script, "completion", "b") == ["bash"]
    assert completed(script, "keys", "list", "--account", "") == []  # nobody knows the names
    assert completed(script, "keys", "list", "x") == []
    (tmp_path / "ponte.toml").touch()
    assert completed(script, "serve", "--config", "ponte.t", folder=tmp_path) == ["ponte.toml"]
    assert completed(script, "serve", "--sip-tls-key", "ponte.t", folder=tmp_path) == ["ponte.toml"]


def test_every_command_of_the_parser_is_completed(script: Path) -> None:
    below = [one for one in commands_of(parser()) if one.words]
    assert len(below) > 5
    for one in below:
        assert completed(script, *one.path.split("/")[1:], "") == sorted(one.words) or set(
            completed(script, *one.path.split("/")[1:], "")
        ) == set(one.words)


@pytest.mark.parametrize("shell", sorted(SHELLS))
def test_the_command_prints_a_script_that_its_shell_can_read(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert "ponte" in text.splitlines()[0]
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=text, text=True, timeout=20, check=True)
