"""What holds for every test."""

from __future__ import annotations

import os
import signal

import pytest

from gateway.media.compiled import Compiled, packet_path

# Settings of a gateway of the caller's own must not reach the gateways that tests start; those that tests themselves
# look at stay.
for _name in [name for name in os.environ if name.startswith("PONTE_") and not name.startswith("PONTE_TEST_")]:
    del os.environ[_name]

# A shell's background job ignores Ctrl-C, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart() -> None:
    """Run no test with modules that were compiled from another source than the one that is here."""
    if packet_path(tolerance_s=0.0) is Compiled.OUTDATED:
        pytest.exit("the packet path was compiled from an older source: run `make install`", returncode=4)
