"""The backends of the media plane, for tests that hold for each of them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

from gateway.media.built_in import ClientSettings, PlaneSettings
from gateway.media.plane import MediaPlane
from gateway.ops.health import Health
from gateway.ops.metrics import Metrics
from gateway.worker.open import open_plane

SETTINGS: Final = PlaneSettings((40_000, 41_999), clients=ClientSettings(addresses=("127.0.0.1",)))


@contextlib.asynccontextmanager
async def built_in() -> AsyncIterator[MediaPlane]:
    async with open_plane(SETTINGS, workers=0, metrics=Metrics(), health=Health()) as plane:
        yield plane


@contextlib.asynccontextmanager
async def workers() -> AsyncIterator[MediaPlane]:
    async with open_plane(SETTINGS, workers=1, metrics=Metrics(), health=Health()) as plane:
        yield plane


PLANES: Final[Mapping[str, Callable[[], AbstractAsyncContextManager[MediaPlane]]]] = {
    "built_in": built_in,
    "workers": workers,
}
"""How each backend is had, by name."""
