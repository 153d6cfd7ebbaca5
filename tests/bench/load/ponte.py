"""Ponte's media plane as a candidate: a gateway's, with a media worker, whose CPU time counts; nothing else is in it.

`--plane` chooses another: `asyncio`, a worker on that loop; `inside`, no worker but this process on asyncio. `--busy`
blocks this process's own loop, as a gateway does that has to do with other things, for half of the time.
`--api` makes the process a whole gateway, with an account whose API can be asked.
`--complexity` and `--bitrate` are of Opus, where something is converted into it.

Asked as `tests.bench.load.lines` says: ``open`` a call, which answers with the SDP for phone and page; ``accept`` their
answers; ``connected`` once all are; ``stats`` of all calls together; ``pid`` of the process that has the packets;
``api`` where the API is, its key and the pid of its process.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from gateway.accounts.service import open_accounts
from gateway.codecs.sound import OpusSettings
from gateway.config import Settings
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.ids import CallId
from gateway.media.built_in import PlaneSettings
from gateway.media.page_side import PageLeg, PageSide
from gateway.media.plane import MediaPlane
from gateway.ops.health import Health
from gateway.ops.logs import configure_logging
from gateway.ops.metrics import Metrics
from gateway.service import StopRequests, serve
from gateway.store.store import Store
from gateway.worker.open import open_plane
from gateway.worker.plane import WorkerPlane
from tests.bench.load.lines import answer_lines
from tests.bench.load.sdp import HOST
from tests.support.ports import free_ports

_FIGURES_S: Final = 1.0  # how old a worker's figures may be
_BLOCKED_S: Final = 0.05  # of a slow answer of a database, a large document from Chrome, a burst of SIP


@dataclass(frozen=True, slots=True)
class _Call:
    side: PageSide
    leg: PageLeg


class Host:
    """The calls of one plane.

    Args:
        plane: what joins phone and page.
    """

    def __init__(self, plane: MediaPlane, api: dict[str, Any] | None = None) -> None:
        self._plane = plane
        self._api = api
        self._calls: dict[CallId, _Call] = {}
        self._accepting: list[asyncio.Task[None]] = []

    async def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do what a line says; return the answer."""
        call_id = CallId(f"bench-{command.get('call')}")
        match command["do"]:
            case "open":
                side = self._plane.page_side()
                leg = side.new_leg(addresses=[HOST])
                self._calls[call_id] = _Call(side, leg)
                offer = await self._plane.create_offer(call_id, local_address=HOST, page=side)
                return {"phone": offer, "page": await leg.offer()}
            case "accept":
                await self._plane.accept_answer(call_id, command["phone"])
                self._accepting.append(asyncio.create_task(self._accept(call_id, command["page"])))
            case "connected":
                await asyncio.gather(*self._accepting)
                self._accepting.clear()
            case "stats":
                await asyncio.sleep(_FIGURES_S)
                return self._stats()
            case "api":
                return {**(self._api or {}), "pid": os.getpid()}
            case "pid":
                workers = self._plane.processes if isinstance(self._plane, WorkerPlane) else ()
                return {"pid": workers[0].pid if workers else os.getpid()}
            case unknown:
                raise ValueError(f"unknown command {unknown}")
        return {}

    async def _accept(self, call_id: CallId, answer: str) -> None:
        call = self._calls[call_id]
        await call.leg.accept(answer)
        call.side.use(call.leg)
        self._plane.connect(call_id, call.side)

    def _stats(self) -> dict[str, Any]:
        stats = [self._plane.query(call_id) for call_id in self._calls]
        found: dict[str, Any] = {}
        for name in ("wa_to_sip", "sip_to_wa"):
            directions = [getattr(one, name) for one in stats]
            dropped: dict[str, int] = {}
            for direction in directions:
                for cause, count in direction.dropped.items():
                    dropped[cause] = dropped.get(cause, 0) + count
            found[name] = {
                "packets": sum(one.packets for one in directions), "passed": sum(one.passed for one in directions),
                "dropped": dropped,
            }  # fmt: skip
        legs = [dataclasses.asdict(call.leg.stats()) for call in self._calls.values()]
        found["late_ms"] = max(one.late_ms for one in stats)
        found["unsent"] = sum(leg["unsent"] for leg in legs)
        return found

    async def close(self) -> None:
        """End every call."""
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for call_id, call in self._calls.items():
            await self._plane.delete(call_id)
            await call.leg.close()


@asynccontextmanager
async def served() -> AsyncIterator[dict[str, Any]]:
    """Have a whole gateway in this process, with one account that is on; its Chrome is not there."""
    with tempfile.TemporaryDirectory(prefix="bench-gateway-") as folder:
        settings = Settings(
            state_dir=Path(folder), api_host=HOST, api_port=0, sip_host=HOST, rtp_port_min=30_000, rtp_port_max=30_999
        )
        store = await Store.open(settings)
        row, key = await store.keys.create("bench")
        config = BridgeConfig(
            enabled=True, sip_listen_port=free_ports(), chrome_remote_url=f"ws://{HOST}:{free_ports()}"
        )
        await store.configs.save(row.account.id, config)
        await store.close()
        stop = StopRequests()
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as group:
            group.create_task(serve(settings, open_accounts, with_wasm=False, on_ready=ready.set_result, stop=stop))
            try:
                yield {"port": await asyncio.wait_for(ready, 30), "key": key}
            finally:
                stop.now.set()


async def main(plane: str, *, busy: bool, api: bool, opus: OpusSettings) -> None:
    """Serve the commands of stdin."""
    if api:
        configure_logging(log_format="json")  # as a gateway does, to stderr
    else:
        structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # stdout is for the answers
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(
            open_plane(
                PlaneSettings((20_000, 29_999), opus=opus), workers=int(plane != "inside"), metrics=Metrics(),
                health=Health(), module="tests.bench.load.asyncio_worker" if plane == "asyncio" else "gateway.worker",
            )
        )  # fmt: skip
        host = Host(opened, await stack.enter_async_context(served()) if api else None)
        blocking = asyncio.create_task(_block()) if busy else None
        try:
            await answer_lines(host.do)
        finally:
            if blocking is not None:
                blocking.cancel()
            await host.close()


async def _block() -> None:
    while True:
        await asyncio.sleep(_BLOCKED_S)
        time.sleep(_BLOCKED_S)  # noqa: ASYNC251  that is what it is for


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--plane", choices=("worker", "asyncio", "inside"), default="worker")
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--api", action="store_true")
    usual = OpusSettings()
    parser.add_argument("--complexity", type=int, default=usual.complexity, help="of Opus")
    parser.add_argument("--bitrate", type=int, default=usual.narrow_bps, help="of Opus for sound of 8 kHz, bit/s")
    chosen = parser.parse_args()
    settings = OpusSettings(narrow_bps=chosen.bitrate, complexity=chosen.complexity)
    asyncio.run(main(chosen.plane, busy=chosen.busy, api=chosen.api, opus=settings))
