"""What integration tests share: one PostgreSQL cluster, started by the first test that wants it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres import Cluster, cluster


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    with cluster() as one:
        yield one
