"""The media plane of a gateway: in workers, or in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.domain.errors import Unavailable
from gateway.media.built_in import PlaneSettings
from gateway.media.plane import MediaPlane
from gateway.ops.health import Health
from gateway.ops.metrics import Metrics
from gateway.worker.built_in import built_in_plane
from gateway.worker.figures import WorkerFigures, show_restarts
from gateway.worker.plane import WorkerPlane
from gateway.worker.process import LogSettings, WorkerLimits


@asynccontextmanager
async def open_plane(
    settings: PlaneSettings,
    *,
    workers: int,
    metrics: Metrics,
    health: Health,
    logs: LogSettings | None = None,
    limits: WorkerLimits | None = None,
    module: str = "gateway.worker",
) -> AsyncIterator[MediaPlane]:
    """Have a media plane inside the block.

    Args:
        settings: of the plane.
        workers: how many processes; 0: none, packets are routed in this one.
        metrics: shows those of the workers too.
        health: asks for the workers.
        logs: what workers log.
        limits: how long workers are waited for.
        module: that workers run.

    Raises:
        Unavailable: a worker does not start.
        ConfigError: there are fewer ports than workers.
    """
    if not workers:
        plane = built_in_plane(settings)
        try:
            yield plane
        finally:
            await plane.close()
        return
    remote = WorkerPlane(settings, workers, logs=logs, limits=limits, module=module)
    metrics.registry.register(WorkerFigures(lambda: {one.number: one.figures for one in remote.processes}))
    show_restarts(metrics, lambda: {(str(one.number),): one.restarts for one in remote.processes})
    health.register("media", remote.check)
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(one.run(), name=f"media worker {one.number}") for one in remote.processes]
        try:
            for process in remote.processes:
                await process.settled.wait()
                if process.channel is None:
                    raise Unavailable(f"The media worker does not start: {process.ended_by}")
            yield remote
        finally:
            for task in running:
                task.cancel()
