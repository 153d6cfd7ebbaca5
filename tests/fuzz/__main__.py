"""make fuzz: every target in turn, or those that are named, for five minutes in all unless told otherwise."""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.fuzz.seeds import CORPUS, found, seeds
from tests.fuzz.targets import SINGLE, TARGETS

_ROOT: Final = Path(__file__).parent.parent.parent
_SLOWEST_S: Final = 5  # one input may take no longer, on a loaded machine
_START_S: Final = 60  # for Python, the imports and the seeds
_MOST_KEPT: Final = 60
_LONGEST_KEPT: Final = 400


def _write_seeds(target: str, folder: Path) -> None:
    for data in seeds(target):
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def _run(target: str, seconds: float, folder: Path, seed: int) -> bool:
    """Fuzz one target in a process of its own; False when something broke."""
    broken = folder / f"{target}-"
    with tempfile.TemporaryDirectory() as corpus:
        _write_seeds(target, Path(corpus))
        argv = [
            sys.executable, "-m", "tests.fuzz.one", target, f"-max_total_time={max(1, round(seconds))}",
            f"-timeout={_SLOWEST_S}", "-rss_limit_mb=1024", "-max_len=4096", f"-artifact_prefix={broken}",
            f"-seed={seed}", "-verbosity=0", "-print_final_stats=1", corpus,
        ]  # fmt: skip
        started = time.monotonic()
        try:
            done = subprocess.run(
                argv, cwd=_ROOT, capture_output=True, text=True, errors="replace", check=False,
                timeout=seconds + _START_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            print(f"{target}: did not end in time", flush=True)
            return False
        executed = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
        print(f"{target}: {' '.join(executed) or 'no'} inputs in {time.monotonic() - started:.0f} s", flush=True)
        if done.returncode == 0:
            return True
        print(done.stdout[-3000:], done.stderr[-6000:], sep="\n")
        print(f"the input is {broken}crash-…; again: python -m tests.fuzz --again {target} FILE", flush=True)
        return False


def _keep(target: str, seconds: float) -> None:
    """Fuzz, and write the small inputs that reach something new into the corpus."""
    with tempfile.TemporaryDirectory() as folder:
        _write_seeds(target, Path(folder))
        argv = [sys.executable, "-m", "tests.fuzz.one", target, "-verbosity=0", f"-timeout={_SLOWEST_S}"]
        subprocess.run([*argv, f"-max_total_time={round(seconds)}", folder], cwd=_ROOT, check=True)
        inputs = {path.read_bytes() for path in Path(folder).iterdir()}
    known = found(target)
    fresh = sorted(
        (data for data in inputs - set(seeds(target)) if len(data) <= _LONGEST_KEPT), key=lambda one: (len(one), one)
    )
    room = max(0, _MOST_KEPT - len(known))
    kept = [*known, *fresh[:: max(1, -(-len(fresh) // room))]] if room else known
    (CORPUS / f"{target}.txt").write_text("".join(f"{data!r}\n" for data in kept))
    print(f"{target}: {len(kept)} inputs kept", flush=True)


def main() -> int:
    """Return 0 when nothing broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "targets", nargs="*", choices=[*TARGETS, []], help="default: each by itself; every: all in one process"
    )
    parser.add_argument("--seconds", type=float, default=300, help="for all targets together (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers; 0: another one each time")
    parser.add_argument("--keep", action="store_true", help="write what reaches something new into tests/fuzz/corpus")
    parser.add_argument("--again", nargs=2, metavar=("TARGET", "FILE"), help="give one input to one target")
    arguments = parser.parse_args()
    if arguments.again:
        target, file = arguments.again
        TARGETS[target](Path(file).read_bytes())
        return 0
    chosen = arguments.targets or list(SINGLE)
    share = arguments.seconds / len(chosen)
    if arguments.keep:
        for target in chosen:
            _keep(target, share)
        return 0
    folder = _ROOT / "build" / "fuzz"
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = [_run(target, share, folder, arguments.seed) for target in chosen]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
