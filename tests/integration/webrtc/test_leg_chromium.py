"""The WebRTC leg against a real Chromium: what the page plays is heard here, and what is sent from here there."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websockets
from aioice.ice import CandidatePair

from gateway.codecs import g711
from gateway.codecs.tones import tone
from gateway.media.page_side import LegState
from gateway.media.path import PacketPath, routes
from gateway.protocol.rtp import RtpHeader, build_packet, parse_header, payload_of
from gateway.webrtc.leg import WebRtcLeg
from gateway.webrtc.seam import local_addresses
from tests.support.audio import Samples, fit_sine, level_dbfs
from tests.support.chromium import chromium
from tests.support.far_host import interface, may_have_far_host

pytestmark = pytest.mark.integration

PAGE_HZ, OUR_HZ = 1000.0, 440.0
LEVEL_DBFS = -20.0

# A page that answers, plays an oscillator, and keeps what it hears. The muted <audio> is what makes Chrome feed a
# remote track into Web Audio at all.
SCRIPT = """(async (offer, hz, gain) => {
  const context = new AudioContext();
  await context.resume();
  const oscillator = new OscillatorNode(context, {frequency: hz});
  const sent = context.createMediaStreamDestination();
  oscillator.connect(new GainNode(context, {gain})).connect(sent);
  oscillator.start();
  const connection = globalThis.connection = new RTCPeerConnection();
  connection.ontrack = ({track}) => {
    const stream = new MediaStream([track]);
    const holder = globalThis.holder = new Audio();
    holder.muted = true;
    holder.srcObject = stream;
    holder.play();
    const analyser = globalThis.analyser = new AnalyserNode(context, {fftSize: 8192});
    context.createMediaStreamSource(stream).connect(analyser);
  };
  await connection.setRemoteDescription({type: 'offer', sdp: offer});
  const [transceiver] = connection.getTransceivers();
  transceiver.direction = 'sendrecv';
  await transceiver.sender.replaceTrack(sent.stream.getAudioTracks()[0]);
  await connection.setLocalDescription();
  while (connection.iceGatheringState !== 'complete')
    await new Promise((done) => connection.addEventListener('icegatheringstatechange', done, {once: true}));
  return connection.localDescription.sdp;
})"""
HEARD = """(() => {
  const samples = new Float32Array(analyser.fftSize);
  analyser.getFloatTimeDomainData(samples);
  return {rate_hz: analyser.context.sampleRate, samples: Array.from(samples)};
})()"""
INBOUND = """connection.getStats().then((all) => [...all.values()].find((one) => one.type === 'inbound-rtp'))"""


class Tab:
    """One page of a Chromium, driven by `Runtime.evaluate`."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)

    async def call(self, method: str, **parameters: Any) -> Any:
        number = next(self._ids)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        async with asyncio.timeout(20):
            while (message := json.loads(await self._socket.recv())).get("id") != number:
                pass
        return message["result"]

    async def evaluate(self, expression: str) -> Any:
        result = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")


@contextlib.asynccontextmanager
async def opened(*flags: str) -> AsyncIterator[Tab]:
    async with chromium(flags) as browser:

        def targets() -> list[dict[str, str]]:
            with urllib.request.urlopen(f"{browser.http_url}/json/list", timeout=5) as response:
                found: list[dict[str, str]] = json.load(response)
            return found

        found = await asyncio.to_thread(targets)
        page = next(target for target in found if target["type"] == "page")
        async with websockets.connect(page["webSocketDebuggerUrl"], max_size=None) as socket:
            yield Tab(socket)


@pytest.fixture
async def tab() -> AsyncIterator[Tab]:
    async with opened() as tab:
        yield tab


def decoded(packet: bytes) -> Samples:
    """The sound of a G.711 packet."""
    codec = {0: "PCMU", 8: "PCMA"}[parse_header(packet).payload_type]
    return np.array(g711.decode(codec, payload_of(packet)), dtype=np.float64) / 32768


async def send_tone(leg: WebRtcLeg, codec: str, *, ssrc: int) -> None:
    """Play a tone into the leg as the router would, until cancelled: each call is another source."""
    path = PacketPath(leg.outgoing)
    path.set_routes(routes({0: "PCMU", 8: "PCMA"}, leg.payload_types))
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    for n in itertools.count():
        payload = g711.encode(codec, tone([OUR_HZ], LEVEL_DBFS, 160, start=n * 160))
        header = RtpHeader(leg.payload_types[codec], n, n * 160, ssrc)
        packet = path.forward(build_packet(header, payload), loop.time())
        if packet is not None:  # where this machine stood still the path leaves out what waited
            leg.send(packet)
        await asyncio.sleep(max(0.0, start_s + (n + 1) * 0.02 - loop.time()))


def is_tone(samples: Samples, rate_hz: int, hz: float, *, sinad_db: float) -> bool:
    if level_dbfs(samples) < LEVEL_DBFS - 20:
        return False
    fit = fit_sine(samples, rate_hz)
    return abs(fit.hz - hz) < 1 and abs(fit.dbfs - LEVEL_DBFS) < 1 and fit.sinad_db > sinad_db


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for *condition*. A busy machine breaks a tone now and then; it must be whole before long."""
    try:
        async with asyncio.timeout(15):
            while not await condition():  # noqa: ASYNC110  what a page hears is asked, not told
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"not in 15 s: {what}")


async def samples_in(tab: Tab) -> tuple[Samples, int]:
    heard = await tab.evaluate(HEARD)
    return np.array(heard["samples"]), round(heard["rate_hz"])


async def heard_in_page(tab: Tab, leg: WebRtcLeg, codec: str, *, ssrc: int) -> None:
    """One call: a tone until the page heard it, then silence until it heard that."""

    async def whole() -> bool:
        return await asyncio.to_thread(is_tone, *await samples_in(tab), OUR_HZ, sinad_db=25)

    async def silent() -> bool:
        return level_dbfs((await samples_in(tab))[0]) < LEVEL_DBFS - 40

    sending = asyncio.create_task(send_tone(leg, codec, ssrc=ssrc))
    try:
        await until(whole, f"the tone of {codec} whole in the page")
    finally:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
    await until(silent, "silence after the call")


@pytest.mark.parametrize("addresses", ["loopback", "all"])
async def test_a_tone_is_heard_both_ways(tab: Tab, addresses: str) -> None:
    own = ["127.0.0.1"] if addresses == "loopback" else [*local_addresses(), "127.0.0.1"]
    leg = WebRtcLeg(addresses=own, rtcp_interval_s=0.5)
    states: list[LegState] = []
    received: list[bytes] = []
    leg.on_state = states.append
    leg.set_receiver(lambda packet, at_s: received.append(packet))
    try:
        answer = await tab.evaluate(f"{SCRIPT}({json.dumps(await leg.offer())}, {PAGE_HZ}, {10 ** (LEVEL_DBFS / 20)})")
        assert ".local" in answer  # what Chrome says of itself without a microphone permission
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        await leg.accept(answer)
        assert loop.time() - start_s < 2

        # Two calls over one leg, of both laws, with a pause between: Chrome hears one stream.
        await heard_in_page(tab, leg, "PCMU", ssrc=1)
        await heard_in_page(tab, leg, "PCMA", ssrc=2)
        inbound = await tab.evaluate(INBOUND)
        assert inbound["packetsReceived"] == leg.stats().sent
        assert inbound["ssrc"] == leg.outgoing.ssrc

        async def whole() -> bool:
            newest = received[-50:]
            samples = np.concatenate([decoded(packet) for packet in newest])
            return len(newest) == 50 and await asyncio.to_thread(is_tone, samples, 8000, PAGE_HZ, sinad_db=30)

        await until(whole, "the page's tone whole")
        assert {parse_header(packet).payload_type for packet in received} == {0}  # the first of the offer
        assert {len(payload_of(packet)) for packet in received} == {160}  # 20 ms without being asked

        async def reported() -> bool:
            return leg.stats().round_trip_ms is not None

        await until(reported, "a report of Chrome that answers ours")
        stats = leg.stats()
        assert (stats.lost, stats.unsent, stats.undecryptable) == (0, 0, 0)

        await tab.evaluate("connection.close()")
        async with asyncio.timeout(5):
            while leg.state is LegState.CONNECTED:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert states == [LegState.CONNECTING, LegState.CONNECTED, LegState.CLOSED]
    finally:
        await leg.close()


async def answered(tab: Tab, *, wanted: str) -> tuple[WebRtcLeg, str]:
    """Return a leg and the page's answer with the address *wanted*: a permission is not there at once."""
    for _ in range(20):
        leg = WebRtcLeg(addresses=local_addresses(), rtcp_interval_s=0.5)
        answer = await tab.evaluate(f"{SCRIPT}({json.dumps(await leg.offer())}, {PAGE_HZ}, {10 ** (LEVEL_DBFS / 20)})")
        if wanted in answer:
            return leg, answer
        await leg.close()
        await asyncio.sleep(0.2)
    pytest.fail(f"Chrome never offered {wanted}")


@pytest.mark.alone  # an interface that goes takes the calls of every Chromium on this machine along
@pytest.mark.skipif(not may_have_far_host(), reason="an interface that goes needs root, ip, nsenter and unshare")
@pytest.mark.parametrize("heard", [True, False], ids=["in a call", "between calls"])
async def test_an_interface_of_chromes_host_goes(tmp_path: Path, heard: bool) -> None:
    async with interface(tmp_path) as extra, opened() as tab:
        # With a microphone's permission Chrome uses each interface of its host, as it does for the pages of accounts.
        await tab.call("Browser.grantPermissions", permissions=["audioCapture"])

        leg, answer = await answered(tab, wanted=extra.address)
        chosen = leg._transports.path.chosen
        # Where the page is heard it is followed to where its packets come from, else to where it answers.
        chosen._interval_s = 3600 if heard else 0.5
        try:
            await leg.accept(answer)
            connection = chosen._connection

            def working(*, goes: bool) -> list[Any]:
                pairs = [pair for pair in connection._check_list if pair.state is CandidatePair.State.SUCCEEDED]
                return [pair for pair in pairs if (pair.remote_addr[0] == extra.address) is goes]

            async def several_pairs() -> bool:
                for theirs in connection.remote_candidates:
                    for ours in connection._protocols:
                        pair = CandidatePair(ours, theirs)
                        if ours.local_candidate.can_pair_with(theirs) and not connection._find_pair(ours, theirs):
                            connection._check_list.append(pair)
                            await connection.check_start(pair)
                return bool(working(goes=True) and working(goes=False))

            await until(several_pairs, "pairs over the interface that goes, and over another")
            await chosen._ask(working(goes=True)[0])
            await heard_in_page(tab, leg, "PCMU", ssrc=1)
            if not heard:
                await tab.evaluate("connection.getSenders()[0].replaceTrack(null)")
                await asyncio.sleep(0.5)
            await extra.remove()
            if heard:  # Chrome needs some seconds to find another way itself

                async def comes_again() -> bool:
                    before = leg.stats().received
                    await asyncio.sleep(0.5)
                    return leg.stats().received - before > 20

                await asyncio.sleep(0.5)
                await until(comes_again, "the page's packets by another way")
            else:
                await asyncio.sleep(2)
            came = (await tab.evaluate(INBOUND))["packetsReceived"]
            sent = leg.stats().sent
            await heard_in_page(tab, leg, "PCMU", ssrc=2)
            assert (await tab.evaluate(INBOUND))["packetsReceived"] - came == leg.stats().sent - sent
            assert leg.state is LegState.CONNECTED
        finally:
            await leg.close()
