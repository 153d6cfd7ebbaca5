"""What is said of the packet path: compiled, interpreted, or compiled from a source that has changed since."""

from __future__ import annotations

import os
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from gateway.media.compiled import Compiled, packet_path

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("module_s", "state"), [(None, Compiled.INTERPRETED), (1_000, Compiled.COMPILED), (900, Compiled.OUTDATED)]
)
def test_what_is_there_and_how_old_it_is(tmp_path: Path, module_s: int | None, state: Compiled) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    for name in ("path.py", "plane.py"):
        (folder / name).touch()
        os.utime(folder / name, (1_000, 1_000))
    if module_s is not None:
        module = folder / f"path{EXTENSION_SUFFIXES[0]}"
        module.touch()
        os.utime(module, (module_s, module_s))
    assert packet_path(tmp_path) is state


def test_modules_of_another_interpreter_are_not_run(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "path.py").touch()
    (tmp_path / "media" / "path.cpython-27-sparc.so").touch()
    assert packet_path(tmp_path) is Compiled.INTERPRETED
