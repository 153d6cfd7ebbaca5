"""``python -m gateway.ops.tied PARENT_PID MODULE ARG…``: runs a module as a program that does not outlive its parent.

A gateway that is killed cannot stop its children; one that lived on would keep its port from the next gateway.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def tie(parent: int, number: signal.Signals) -> None:
    """Have this process sent a signal when its parent is gone.

    Args:
        parent: the parent's process id.
        number: the signal.

    Raises:
        SystemExit: the parent is gone already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        raise SystemExit("the parent is gone already")


def main() -> None:
    """Tie this process to its parent, and become the module."""
    tie(int(sys.argv[1]), signal.SIGTERM)
    module = sys.argv[2]
    sys.argv[1:3] = []
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
