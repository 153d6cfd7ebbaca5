"""PESQ (ITU-T P.862 and P.862.2) and STOI, in a virtual environment of their own.

The package `pesq` is compiled from source and holds ITU-T's reference code, whose licence allows judging and no more:
it is kept out of the project's own environment, and nothing that is shipped has it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from tests.support.audio import Samples

ROOT: Final = Path(__file__).resolve().parents[3]
_PLACE: Final = ROOT / "build" / "sound-venv"
_REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")
_INSTALL_S: Final = 300
_SCRIPT: Final = """
import json, sys, warnings
warnings.simplefilter("ignore")
import numpy
from pesq import pesq
from pystoi import stoi
for line in sys.stdin:
    asked = json.loads(line)
    one, other = numpy.load(asked["reference"]), numpy.load(asked["heard"])
    rate = asked["rate_hz"]
    try:
        found = {"pesq": pesq(rate, one, other, "wb" if asked["wide"] else "nb"), "stoi": float(stoi(one, other, rate))}
    except Exception as error:
        found = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(found), flush=True)
"""


class NoScorer(Exception):
    """There is no PESQ on this machine, and why."""


@dataclass(frozen=True, slots=True)
class Score:
    """How something sounds.

    Attributes:
        pesq: MOS-LQO: at most 4.55 narrow band, 4.64 wide band.
        stoi: 0 to 1.
    """

    pesq: float
    stoi: float


class Scorer:
    """A process that judges."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._folder = folder

    def score(self, reference: Samples, heard: Samples, rate_hz: int, *, wide: bool) -> Score:
        """Judge *heard*; both are between -1 and 1, and as long as each other.

        Raises:
            RuntimeError: it could not be judged.
        """
        paths = {}
        for name, samples in (("reference", reference), ("heard", heard)):
            paths[name] = str(self._folder / f"{name}.npy")
            np.save(paths[name], samples.astype(np.float32))
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**paths, "rate_hz": rate_hz, "wide": wide}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or '{"error": "the judge ended"}')
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return Score(answer["pesq"], answer["stoi"])


@contextmanager
def scorer() -> Iterator[Scorer]:
    """Run a judge for the length of the block.

    Raises:
        NoScorer: it cannot be installed here.
    """
    python = _installed()
    with TemporaryDirectory(prefix="ponte-sound-") as folder:
        process = subprocess.Popen(
            [str(python), "-c", _SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            yield Scorer(process, Path(folder))
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _installed() -> Path:
    python, mark = _PLACE / "bin" / "python", _PLACE / "requirements.txt"
    wanted = _REQUIREMENTS.read_text()
    if mark.exists() and mark.read_text() == wanted:
        return python
    print("    installing pesq and pystoi into build/sound-venv", file=sys.stderr, flush=True)
    venv.create(_PLACE, with_pip=True, clear=True)
    command = [str(python), "-m", "pip", "install", "-q", "--require-hashes", "-r", str(_REQUIREMENTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise NoScorer(f"pesq cannot be installed (it needs a C compiler and Python's headers): {last}")
    mark.write_text(wanted)
    return python
