"""Ponte's media plane as a candidate: a process of its own that does nothing else, on uvloop.

Asked as `tests.bench.load.lines` says: ``open`` a call, which answers with the SDP for phone and page; ``accept`` their
answers; ``connected`` once all are; ``stats`` of all calls together; ``pid`` of the process that has the packets.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from dataclasses import dataclass
from typing import Any

import structlog
import uvloop

from gateway.domain.ids import CallId
from gateway.media.page_side import PageLeg, PageSide
from gateway.media.plane import MediaPlane
from gateway.media.router import PacketRouter
from gateway.webrtc.leg import WebRtcLeg
from tests.bench.load.lines import answer_lines
from tests.bench.load.sdp import HOST


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
                return self._stats()
            case "pid":
                return {"pid": os.getpid()}
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


def _leg(**arguments: Any) -> WebRtcLeg:
    return WebRtcLeg(**arguments)


async def main() -> None:
    """Serve the commands of stdin."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # stdout is for the answers
    plane = PacketRouter(page_leg=_leg)
    host = Host(plane)
    try:
        await answer_lines(host.do)
    finally:
        await host.close()
        await plane.close()


if __name__ == "__main__":
    uvloop.run(main())
