from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.config import Settings
from gateway.store.store import Store


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state", database_timeout_s=20)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of a gateway without data, once for each kind of database."""
    url = request.getfixturevalue("postgres").new_database() if request.param == "postgresql" else ""
    return Settings(state_dir=tmp_path / "state", database_url=url, database_timeout_s=20)


@pytest.fixture
async def any_store(database_settings: Settings) -> AsyncIterator[Store]:
    """An open store, once for each kind of database."""
    store = await Store.open(database_settings)
    try:
        yield store
    finally:
        await store.close()
