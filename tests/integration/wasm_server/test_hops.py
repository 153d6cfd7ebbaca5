"""A call between a real page and a real phone's packets, broken at each hop: the hop's name comes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway.accounts.call_path import PathWatch, Trouble
from gateway.domain.hops import Hop
from gateway.domain.ids import CallId
from gateway.page.wire import parse_audio
from tests.bench.page.world import Bridged, bridged, phone
from tests.support.audio import sine, wav_bytes

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.asyncio(loop_scope="module")]


class Watched:
    """A call that is looked at as `gateway.accounts.audio_watch` does, twice as often, for the test's sake."""

    def __init__(self, line: Bridged) -> None:
        self.line = line
        self.watch = PathWatch(silent_s=1.2)
        self.told: list[Trouble | None] = []

    async def run(self) -> None:
        number = 0
        while True:
            await asyncio.sleep(0.25)
            number += 1
            page = parse_audio(await self.line.figures()) if number % 2 == 0 else None
            stats = self.line.router.query(CallId(f"bench-{self.line.calls}"))
            news = self.watch.look(time.monotonic(), stats, page, explained=False)
            self.told += news or ()

    async def until(self, wanted: Trouble | None, timeout_s: float = 20) -> None:
        deadline = time.monotonic() + timeout_s
        while self.told[-1:] != [wanted]:
            assert time.monotonic() < deadline, f"{wanted} was not told; told: {self.told}; {self.watch.path}"
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def watched() -> AsyncIterator[tuple[Bridged, Watched]]:
    """A call in which both sides sound all the time."""
    async with phone() as peer, bridged() as line:
        await line.page.evaluate("""{
            const taken = AudioContext.prototype.createMediaStreamSource;
            AudioContext.prototype.createMediaStreamSource = function (...args) {
                globalThis.listening = this;
                return taken.apply(this, args);
            };
        }""")
        to = await line.call(peer.port)
        await line.stand_in.say_wav(wav_bytes(sine(700, -15, 120, 16000), 16000))
        found = Watched(line)
        async with asyncio.TaskGroup() as group:
            talking = group.create_task(peer.talk(to, sine(1000, -15, 120, 8000), 120))
            watching = group.create_task(found.run())
            try:
                yield line, found
            finally:
                watching.cancel()
                talking.cancel()


def nothing(*_: Any) -> None:
    """Take a packet, and lose it."""


async def test_each_broken_hop_is_named() -> None:
    async with watched() as (line, watch):
        deadline = time.monotonic() + 20
        while watch.watch.path is None or watch.watch.path.sip_to_wa[-1].silent is not False:
            assert time.monotonic() < deadline, f"not heard: {watch.watch.path}"
            await asyncio.sleep(0.1)
        path = watch.watch.path
        assert not path.broken
        assert [one.silent for one in path.wa_to_sip] == [False] * 3
        assert [one.silent for one in path.sip_to_wa] == [False, False, None, False]
        assert path.sip_to_wa[2].delay_ms is not None, "what packets wait in the page"

        side, router = line.side, line.router
        call_id = CallId(f"bench-{line.calls}")
        receiver = side._receiver
        leg: Any = side._leg
        session: Any = router._sessions[call_id]
        send: Callable[[bytes], None] = leg.send

        leg.set_receiver(nothing)
        await watch.until(Trouble("wa_to_sip", Hop.PAGE_TO_GATEWAY))
        leg.set_receiver(receiver)
        await watch.until(None)

        router.silence(call_id, wa_to_sip=True, sip_to_wa=False)
        await watch.until(Trouble("wa_to_sip", Hop.GATEWAY_TO_PHONE))
        router.silence(call_id, wa_to_sip=False, sip_to_wa=True)
        await watch.until(None)
        await watch.until(Trouble("sip_to_wa", Hop.GATEWAY_TO_PAGE))
        router.silence(call_id, wa_to_sip=False, sip_to_wa=False)
        await watch.until(None)

        socket = session.link._pair.rtp
        session.link._watch.forget(socket)
        await watch.until(Trouble("sip_to_wa", Hop.PHONE_TO_GATEWAY))
        session.link._watch.watch(socket, session.link._rtp_readable)
        await watch.until(None)

        leg.send = nothing
        await watch.until(Trouble("sip_to_wa", Hop.PAGE_BUFFER))
        leg.send = send
        await watch.until(None)

        await line.page.evaluate("listening.suspend()")
        await watch.until(Trouble("sip_to_wa", Hop.PAGE_MICROPHONE))
        await line.page.evaluate("listening.resume()")
        await watch.until(None)

        await line.page.call("stopMedia")
        await watch.until(Trouble("wa_to_sip", Hop.PAGE_SPEAKER))
        await line.page.call("startMedia", {"codec": "PCMU"})
        await watch.until(None)
