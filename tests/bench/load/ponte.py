"""Ponte's media plane as a candidate: a gateway's, with a media worker, whose CPU time counts; nothing else is in it.

`--plane` chooses another: `asyncio`, a worker on that loop; `inside`, no worker but this process on asyncio. `--busy`
blocks this process's own loop, as a gateway does that has to do with other things, for half of the time.
`--complexity` and `--bitrate` are of Opus, where something is converted into it.

Asked as `tests.bench.load.lines` says: ``open`` a call, which answers with the SDP for phone and page; ``accept`` their
answers; ``connected`` once all are; ``stats`` of all calls together; ``pid`` of the process that has the packets.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import time
from dataclasses import dataclass
from typing import Any, Final

import structlog

from gateway.codecs.sound import OpusSettings
from gateway.domain.ids import CallId
from gateway.media.built_in import PlaneSettings
from gateway.media.page_side import PageLeg, PageSide
from gateway.media.plane import MediaPlane
from gateway.ops.health import Health
from gateway.ops.metrics import Metrics
from gateway.worker.open import open_plane
from gateway.worker.plane import WorkerPlane
from tests.bench.load.lines import answer_lines
from tests.bench.load.sdp import HOST

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

    def __init__(self, plane: MediaPlane) -> None:
        self._plane = plane
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


async def main(plane: str, *, busy: bool, opus: OpusSettings) -> None:
    """Serve the commands of stdin."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # stdout is for the answers
    async with open_plane(
        PlaneSettings((20_000, 29_999), opus=opus), workers=int(plane != "inside"), metrics=Metrics(), health=Health(),
        module="tests.bench.load.asyncio_worker" if plane == "asyncio" else "gateway.worker",
    ) as opened:  # fmt: skip
        host = Host(opened)
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
    usual = OpusSettings()
    parser.add_argument("--complexity", type=int, default=usual.complexity, help="of Opus")
    parser.add_argument("--bitrate", type=int, default=usual.narrow_bps, help="of Opus for sound of 8 kHz, bit/s")
    chosen = parser.parse_args()
    settings = OpusSettings(narrow_bps=chosen.bitrate, complexity=chosen.complexity)
    asyncio.run(main(chosen.plane, busy=chosen.busy, opus=settings))
