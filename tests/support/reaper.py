"""Runs one command and ends it, with all its children, as soon as our standard input closes.

A test that is killed cannot clean up; the kernel closes its end of the pipe all the same. Only the standard library is
imported, so that it starts fast: ``python reaper.py FOLDER COMMAND...`` prints the command's pid on a line, and removes
FOLDER ("-" for none) at the end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading


def _end(child: subprocess.Popen[bytes], gone: threading.Event) -> None:
    for sign, patience_s in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0)):
        if gone.is_set():
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, sign)
        gone.wait(patience_s)
    # The leader is gone; what it left in its group holds files of the folder open.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def main() -> int:
    """Run the command of the arguments until it ends and our standard input is closed."""
    folder, *command = sys.argv[1:]
    # Ctrl-C in a terminal reaches the whole foreground group; the test decides when the command ends, not the key.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
    gone = threading.Event()

    def reap() -> None:
        child.wait()
        gone.set()

    threading.Thread(target=reap, daemon=True).start()
    print(child.pid, flush=True)
    while sys.stdin.buffer.read(1024):
        pass
    _end(child, gone)
    if folder != "-":
        for _ in range(5):
            shutil.rmtree(folder, ignore_errors=True)
            if not os.path.exists(folder):
                break
            gone.wait(0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
