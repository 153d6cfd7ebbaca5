"""The proof of sound in a real page, whole and broken at each hop; nobody hears it."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest

from gateway.accounts.self_test import prove
from gateway.browser.errors import PageError
from gateway.domain.hops import Hop
from gateway.domain.page_audio import PageTest
from gateway.page.wire import parse_test
from gateway.protocol.rtp import HEADER_BYTES
from tests.bench.page.world import Bridged, bridged, phone

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.asyncio(loop_scope="module")]


class Page:
    """As much of a driver as the proof needs."""

    def __init__(self, line: Bridged) -> None:
        self.line = line

    async def self_test(self) -> PageTest:
        return parse_test(await self.line.page.call("selfTest"))


async def test_sound_is_proven_before_a_call_and_each_broken_hop_is_named() -> None:
    async with bridged() as line, phone() as peer:
        driver: Any = Page(line)
        leg: Any = line.side._leg

        # What the page is given as its microphone meanwhile stays silent.
        await line.page.evaluate("""(async () => {
            const stream = await navigator.mediaDevices.getUserMedia({audio: true});
            const context = globalThis.ears = new AudioContext();
            await context.resume();
            const analyser = context.createAnalyser();
            context.createMediaStreamSource(stream).connect(analyser);
            const samples = new Float32Array(analyser.fftSize);
            globalThis.loudest = 0;
            globalThis.looking = setInterval(() => {
                analyser.getFloatTimeDomainData(samples);
                globalThis.loudest = Math.max(globalThis.loudest, ...samples.map(Math.abs));
            }, 20);
            globalThis.given = stream;
        })()""")
        proof = await prove(driver, line.side)
        assert proof is not None
        assert proof.broken is None, proof
        assert proof.took_ms is not None
        assert await line.page.evaluate("loudest") == 0
        await line.page.evaluate("clearInterval(looking); given.getTracks().forEach((it) => it.stop()); ears.close()")

        async def broken(hop: Hop, **changed: Any) -> None:
            with contextlib.ExitStack() as stack:
                for name, value in changed.items():
                    stack.callback(setattr, leg, name, getattr(leg, name))
                    setattr(leg, name, value)
                found = await prove(driver, line.side)
            assert found is not None
            assert found.broken is hop

        send = leg.send
        await broken(Hop.PAGE_TO_GATEWAY, set_receiver=lambda on_rtp: None)
        await broken(Hop.PAGE_BUFFER, send=lambda packet: None)
        await broken(
            Hop.PAGE_MICROPHONE,
            send=lambda packet: send(packet[:HEADER_BYTES] + b"\xff" * (len(packet) - HEADER_BYTES)),
        )
        await line.call(peer.port)
        assert await prove(driver, line.side) is None, "a call has the page"
        with pytest.raises(PageError):
            await driver.self_test()
        kept = await peer.talk(("127.0.0.1", 9), np.zeros(0), 1.0, since_s=0)
        assert np.max(np.abs(kept.heard), initial=0) < 0.001, "no tone came to the phone"
        await line.hang_up()
        proof = await prove(driver, line.side)
        assert proof is not None
        assert proof.broken is None
