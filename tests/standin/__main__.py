"""``python -m tests.standin``: the stand-in until SIGTERM, SIGINT, or the end of its standard input."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import threading
from pathlib import Path

from tests.standin.server import serve


def _be_another_machine() -> None:
    # The other phone does not share the page's processor: it must not stutter because Chromium is busy here.
    with contextlib.suppress(OSError):
        os.nice(-10)


async def _run(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    if arguments.end_with_stdin:

        def watch() -> None:
            sys.stdin.buffer.read()
            with contextlib.suppress(RuntimeError):  # the loop may have ended before us
                loop.call_soon_threadsafe(stop.set)

        threading.Thread(target=watch, daemon=True).start()
    async with serve(arguments.https_port, arguments.control_port, arguments.control_path) as ports:
        print(ports.ready_line(), flush=True)
        await stop.wait()


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.standin", description=__doc__)
    parser.add_argument("--https-port", type=int, default=0, help="port of the page; 0 takes a free one")
    parser.add_argument("--control-port", type=int, default=8090, help="port of the remote control; 0 takes a free one")
    parser.add_argument("--control-path", type=Path, help="a Unix socket for the remote control, instead of the port")
    parser.add_argument("--end-with-stdin", action="store_true", help="end when standard input closes")
    arguments = parser.parse_args()
    _be_another_machine()
    asyncio.run(_run(arguments))


if __name__ == "__main__":
    main()
