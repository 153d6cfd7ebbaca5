"""The backends of the media plane, for tests that hold for each of them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from gateway.media.built_in import ClientSettings, PlaneSettings
from gateway.media.plane import MediaPlane
from gateway.media.rtpengine.page import PageLimits
from gateway.media.rtpengine.plane import RtpenginePlane, RtpengineSettings
from gateway.ops.health import Health
from gateway.ops.metrics import Metrics
from gateway.worker.open import open_plane
from tests.support.rtpengine import INSTALLED, rtpengine

SETTINGS: Final = PlaneSettings((40_000, 41_999), clients=ClientSettings(addresses=("127.0.0.1",)))


@contextlib.asynccontextmanager
async def built_in() -> AsyncIterator[MediaPlane]:
    async with open_plane(SETTINGS, workers=0, metrics=Metrics(), health=Health()) as plane:
        yield plane


@contextlib.asynccontextmanager
async def workers() -> AsyncIterator[MediaPlane]:
    async with open_plane(SETTINGS, workers=1, metrics=Metrics(), health=Health()) as plane:
        yield plane


@contextlib.asynccontextmanager
async def at_rtpengine() -> AsyncIterator[MediaPlane]:
    with tempfile.TemporaryDirectory() as folder:
        async with rtpengine(Path(folder)) as engine:
            plane = RtpenginePlane(
                RtpengineSettings(
                    "127.0.0.1", engine.port, key_log=("127.0.0.1", engine.keys_port), poll_s=0.2, ping_s=0.3,
                    limits=PageLimits(silent_s=2.0),
                )
            )  # fmt: skip
            async with plane.running():
                await plane.client.ping()
                yield plane


PLANES: Final[Mapping[str, Callable[[], AbstractAsyncContextManager[MediaPlane]]]] = {
    "built_in": built_in,
    "workers": workers,
    **({"rtpengine": at_rtpengine} if INSTALLED else {}),
}
"""How each backend is had, by name."""
