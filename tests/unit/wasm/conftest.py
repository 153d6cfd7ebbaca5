from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.wasm.implementations import Implementation, Twin, Wasm
from wasm_server.build import Sources, build_media


@pytest.fixture(scope="session")
def wasm_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wasm") / "media.wasm"
    build_media(Sources().media, path, warnings_are_errors=True)
    return path


@pytest.fixture(params=["wasm", "twin"])
def make(request: pytest.FixtureRequest, wasm_path: Path) -> Callable[[float], Implementation]:
    if request.param == "wasm":
        return lambda rate_hz: Wasm(wasm_path, rate_hz)
    return Twin
