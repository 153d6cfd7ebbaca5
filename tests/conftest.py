"""What holds for every test."""

from __future__ import annotations

import os
from typing import Final

import pytest

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say who shares a worker of pytest-xdist (`--dist loadgroup`): what measures sound, else each file by itself."""
    for item in items:
        path = item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group("sound" if path.startswith(_SOUND) else path))
