"""What holds for every test."""

from __future__ import annotations

import os
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

# Settings of a gateway of the caller's own must not reach the gateways that tests start; those that tests themselves
# look at stay.
for _name in [name for name in os.environ if name.startswith("PONTE_") and not name.startswith("PONTE_TEST_")]:
    del os.environ[_name]

# Measure sound in real time: two of these at once would hear each other's load.
_SOUND: Final = (
    "tests/e2e/",
    "tests/integration/script/",
    "tests/integration/standin/",
    "tests/integration/wasm_server/",
)


class _SoundApart(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "sound" if path.startswith(_SOUND) else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Give all that measures sound to one worker of pytest-xdist, and each other file to whichever is free."""
    return _SoundApart(config, log)
