"""The npm packages' own tests, run by pytest."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def npm_test(package: Path, *, timeout_s: float, **environment: str) -> str:
    """Run ``npm test`` of a package.

    Args:
        package: its folder.
        timeout_s: how long at most.
        environment: more variables for it.

    Returns:
        What it printed, in TAP.

    Raises:
        AssertionError: a test failed; has what was printed.
    """
    npm = shutil.which("npm")
    assert npm is not None, "npm is missing (Debian's package npm)"
    done = subprocess.run(
        [npm, "test", "--silent"],
        cwd=package, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, timeout=timeout_s,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
