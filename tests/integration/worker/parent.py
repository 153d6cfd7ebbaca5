"""A gateway's media plane and nothing else: prints the pids of its workers, and waits to be killed."""

from __future__ import annotations

import asyncio
import json

from gateway.domain.ids import CallId
from gateway.ops.health import Health
from gateway.ops.metrics import Metrics
from gateway.worker.open import open_plane
from gateway.worker.plane import WorkerPlane
from tests.support.planes import SETTINGS


async def main() -> None:
    async with open_plane(SETTINGS, workers=2, metrics=Metrics(), health=Health()) as plane:
        assert isinstance(plane, WorkerPlane)
        await plane.create_offer(CallId("one"), local_address="127.0.0.1")
        print(json.dumps([process.pid for process in plane.processes]), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
