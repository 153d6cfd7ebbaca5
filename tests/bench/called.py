"""A SIP stack of ours that takes every call, bare or bridged to a played page: for load tests and for the bench.

`python -m tests.bench.called` is the bench's child: it prints one JSON line with its port, and one more with its CPU
time and memory for each line that it reads.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import resource
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from gateway.bridge.call import Call, CallLimits
from gateway.bridge.call_media import CallMedia
from gateway.bridge.flows import sip_to_whatsapp
from gateway.domain.ids import AccountId, new_call_id
from gateway.domain.page_call import PageActive, PageRinging
from gateway.domain.states import Direction
from gateway.domain.termination import HANGUP, Termination
from gateway.media.router import PacketRouter
from gateway.protocol.sip.agent import AgentSettings
from gateway.protocol.sip.engine import CoreLimits
from gateway.sip import Ended, Endpoint, EndpointSettings, IncomingInvite, SipStack, StackSettings
from tests.integration.bridge.rig import PlayedPage, PlayedPort
from tests.support.sip_ua import ANSWER

# Between 180 and 200: sent by sippy at once they can overtake each other, and no phone is picked up at once.
PICK_UP_S = 0.05
# Nobody is hurried: what is measured is whether a call is lost, and CPU time.
_LIMITS = CallLimits(ring_timeout_s=60, accept_timeout_s=60, close_timeout_s=30)


@dataclass
class Called:
    """Takes every call and counts.

    Attributes:
        endpoint: whom to call; the user is ``pbx`` and the secret ``geheim``.
        plane: for calls that are bridged with their audio, to a page that answers at once; None: 180 and 200 only.
        live: calls that are up.
        most_live: the most that were up at once.
        ended: calls that the caller, or `hang_up`, ended.
        faults: what went otherwise.
        pages: those behind calls that are bridged.
        changed: set at each change of these figures.
    """

    stack: SipStack
    tasks: asyncio.TaskGroup
    plane: PacketRouter | None
    endpoint: Endpoint = field(init=False)
    live: int = 0
    most_live: int = 0
    ended: int = 0
    faults: list[str] = field(default_factory=list)
    pages: list[PlayedPage] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _invites: set[IncomingInvite] = field(default_factory=set)

    @property
    def port(self) -> int:
        return self.endpoint.listener.port

    @property
    def counts(self) -> Counter[str]:
        """What the core has counted."""
        return self.stack.agent.counts

    def hang_up(self) -> None:
        """End every call that is up."""
        for invite in self._invites:
            self.tasks.create_task(invite.bye())

    async def until(self, seen: Callable[[Called], bool], timeout_s: float = 30) -> None:
        """Wait until *seen* says yes to these figures."""
        async with asyncio.timeout(timeout_s):
            while not seen(self):
                self.changed.clear()
                await self.changed.wait()

    def take(self, invite: IncomingInvite) -> None:
        self.tasks.create_task(self._run(invite))

    async def _run(self, invite: IncomingInvite) -> None:
        self._invites.add(invite)
        try:
            await (self._answer(invite) if self.plane is None else self._bridge(invite, self.plane))
        except Exception as error:
            self.faults.append(repr(error))
        finally:
            self._invites.discard(invite)
            self.changed.set()

    def _up(self) -> None:
        self.live += 1
        self.most_live = max(self.live, self.most_live)
        self.changed.set()

    def _down(self, fault: str = "") -> None:
        self.live -= 1
        if fault:
            self.faults.append(fault)
        else:
            self.ended += 1

    async def _answer(self, invite: IncomingInvite) -> None:
        invite.ringing()
        await asyncio.sleep(PICK_UP_S)
        await invite.answer(ANSWER)
        self._up()
        event = await invite.next_event()
        self._down("" if isinstance(event, Ended) else repr(event))

    async def _bridge(self, invite: IncomingInvite, plane: PacketRouter) -> None:
        page = PlayedPage()
        self.pages.append(page)
        page.call.emit(PageRinging(), PageActive())
        call_id = new_call_id()

        def noted(call: Call) -> None:
            if call.times.answered is not None and call.times.ended is None and call.call_id not in seen:
                seen.add(call.call_id)
                self._up()

        seen: set[object] = set()
        media = CallMedia(call_id, plane, page, PlayedPort())
        call = Call(call_id, AccountId("a"), Direction.SIP_TO_WHATSAPP, media, _LIMITS, noted)
        end: Termination = await call.run(
            lambda one: sip_to_whatsapp(one, invite, page, "5511987654321", self.endpoint)
        )  # fmt: skip
        if not seen:
            self.live += 1
        self._down("" if end == HANGUP and seen else repr(end))


@contextlib.asynccontextmanager
async def called(*, bridged: bool, limits: CoreLimits | None = None) -> AsyncIterator[Called]:
    """Run a stack with the RFC's timers.

    Args:
        bridged: with the media plane and a played page behind each call.
        limits: of the core.
    """
    stack = SipStack(StackSettings(core=AgentSettings(limits=limits or CoreLimits())))
    plane = PacketRouter(port_range=(30_000, 32_700)) if bridged else None
    await stack.start()
    try:
        async with asyncio.TaskGroup() as tasks:
            one = Called(stack, tasks, plane)
            one.endpoint = await stack.add_endpoint(
                EndpointSettings(listen_port=0, listen_host="127.0.0.1", listen_user="pbx", listen_secret="geheim"),
                one.take,
            )
            yield one
            one.hang_up()
    finally:
        await stack.close()
        if plane is not None:
            await plane.close()


def figures() -> dict[str, float]:
    """Return CPU seconds (user and system) and resident bytes of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {"cpu_s": usage.ru_utime + usage.ru_stime, "rss_bytes": pages * os.sysconf("SC_PAGE_SIZE")}


async def serve(*, bridged: bool, most: int) -> None:
    """Be the bench's child until standard input closes."""
    # standard output is the parent's; what is logged, and at which level, is as in `ponte serve`
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    loop = asyncio.get_running_loop()
    async with called(bridged=bridged, limits=CoreLimits(max_sessions=most)) as one:
        print(json.dumps({"port": one.port}), flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            if line.strip() == "collect":
                gc.collect()
            print(json.dumps({**figures(), "live": one.live, "ended": one.ended, "faults": one.faults[:3]}), flush=True)
        one.hang_up()


def main() -> None:
    """Run from the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bridged", action="store_true")
    parser.add_argument("--most", type=int, default=512)
    options = parser.parse_args()
    asyncio.run(serve(bridged=options.bridged, most=options.most))


if __name__ == "__main__":
    main()
