"""The WebRTC leg against aiortc's own peer connection as the page: real ICE, DTLS and SRTP on loopback."""

from __future__ import annotations

import asyncio
import fractions
import itertools
import re
import socket
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from gateway.codecs import g711
from gateway.codecs.tones import tone
from gateway.domain.errors import LocalProtocolError, PeerTimeout, RemoteProtocolError, Unavailable
from gateway.media.page_side import LegState
from gateway.media.path import PacketPath, routes
from gateway.media.port import ContinuousPort
from gateway.protocol.rtp import OutgoingStream, RtpHeader, build_packet, parse_header, payload_of
from gateway.webrtc import chosen_pair
from gateway.webrtc.leg import WebRtcLeg
from tests.support.audio import Samples, fit_sine

pytestmark = pytest.mark.integration

HOST = "127.0.0.1"
PAGE_HZ, OUR_HZ = 1000.0, 440.0
LEVEL_DBFS = -18.0


class ToneTrack(MediaStreamTrack):
    """A tone in real time."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._n = 0
        self._start_s = asyncio.get_running_loop().time()

    async def recv(self) -> AudioFrame:
        await asyncio.sleep(max(0.0, self._start_s + self._n / 8000 - asyncio.get_running_loop().time()))
        frame = AudioFrame(format="s16", layout="mono", samples=160)
        frame.planes[0].update(tone([PAGE_HZ], LEVEL_DBFS, 160, start=self._n).tobytes())
        frame.sample_rate, frame.pts, frame.time_base = 8000, self._n, fractions.Fraction(1, 8000)
        self._n += 160
        return frame


class Page:
    """The far end."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection()
        self.connection.addTrack(ToneTrack())
        self.heard: list[Samples] = []
        self._listening: asyncio.Task[None] | None = None
        self.connection.on("track", self._listen)

    def _listen(self, track: MediaStreamTrack) -> None:
        self._listening = asyncio.get_running_loop().create_task(self._hear(track))

    async def _hear(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                assert isinstance(frame, AudioFrame)
                self.heard.append(frame.to_ndarray()[0].astype(np.float64) / 32768)
        except MediaStreamError:
            pass

    async def answer(self, offer: str) -> str:
        await self.connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        return self.connection.localDescription.sdp

    async def connected(self) -> None:
        """Wait until this end is up too: aiortc leaves tasks behind where it is closed before."""
        await until(lambda: self.connection.connectionState == "connected")

    async def close(self) -> None:
        await self.connection.close()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    page = Page()
    yield page
    await page.close()


@pytest.fixture
async def leg() -> AsyncIterator[WebRtcLeg]:
    leg = WebRtcLeg(addresses=[HOST], connect_timeout_s=5, rtcp_interval_s=0.2)
    yield leg
    await leg.close()


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0.05)
    left = {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}
    assert not [task for task in left if "webrtc" in repr(task) or "aiortc" in repr(task) or "aioice" in repr(task)]


async def until(condition: Callable[[], bool], *, timeout_s: float = 8.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def decoded(packet: bytes) -> Samples:
    """The sound of a G.711 packet."""
    codec = {0: "PCMU", 8: "PCMA"}[parse_header(packet).payload_type]
    return np.array(g711.decode(codec, payload_of(packet)), dtype=np.float64) / 32768


async def send_tone(leg: WebRtcLeg, seconds: float, *, ssrc: int = 5) -> int:
    """Play a tone into the leg as the router would; return how many packets."""
    path = PacketPath(leg.outgoing)
    path.set_routes(routes({0: "PCMU"}, leg.payload_types))
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    for n in range(round(seconds * 50)):
        payload = g711.encode_ulaw(tone([OUR_HZ], LEVEL_DBFS, 160, start=n * 160))
        packet = path.forward(build_packet(RtpHeader(0, n, n * 160, ssrc), payload), loop.time())
        if packet is not None:  # where this machine stood still the path leaves out what waited
            leg.send(packet)
        await asyncio.sleep(max(0.0, start_s + (n + 1) * 0.02 - loop.time()))
    return path.passed


async def test_a_tone_is_heard_both_ways(leg: WebRtcLeg, page: Page) -> None:
    states: list[LegState] = []
    received: list[tuple[bytes, float]] = []
    leg.on_state = states.append
    leg.set_receiver(lambda packet, at_s: received.append((packet, at_s)))
    assert isinstance(leg, ContinuousPort)
    await leg.accept(await page.answer(await leg.offer()))
    await page.connected()
    assert leg.state is LegState.CONNECTED
    sent = await send_tone(leg, 1.5)
    await until(lambda: len(received) >= 60 and sum(map(len, page.heard)) >= 6000)

    from_page = np.concatenate([decoded(packet) for packet, _ in received])
    fit = fit_sine(from_page[1600:], 8000)
    assert fit.hz == pytest.approx(PAGE_HZ, abs=0.5)
    assert fit.dbfs == pytest.approx(LEVEL_DBFS, abs=0.5)
    # aiortc's own jitter buffer breaks the tone where this machine stands still: a quarter of a second must be whole.
    at_page = np.concatenate(page.heard)
    fits = [fit_sine(at_page[n : n + 2000], 8000) for n in range(2000, len(at_page) - 2000, 1000)]
    best = max(fits, key=lambda fit: fit.sinad_db)
    assert best.hz == pytest.approx(OUR_HZ, abs=0.5)
    assert best.dbfs == pytest.approx(LEVEL_DBFS, abs=0.5)
    assert best.sinad_db > 30

    times = [at_s for _, at_s in received]
    assert times == sorted(times)
    assert [(b.sequence - a.sequence) & 0xFFFF for a, b in pairs(received)] == [1] * (len(received) - 1)
    await until(lambda: leg.stats().round_trip_ms is not None)
    stats = leg.stats()
    assert (stats.sent, stats.unsent, stats.lost, stats.undecryptable) == (sent, 0, 0, 0)
    assert stats.peer_lost <= 75 - sent  # what the path left out is all that is missing
    await leg.close()
    assert states == [LegState.CONNECTING, LegState.CONNECTED, LegState.CLOSED]


def pairs(received: list[tuple[bytes, float]]) -> list[tuple[RtpHeader, RtpHeader]]:
    return list(itertools.pairwise(parse_header(packet) for packet, _ in received))


async def test_no_candidate_of_the_page_is_needed(leg: WebRtcLeg, page: Page) -> None:
    answer = await page.answer(await leg.offer())
    hidden = "a=candidate:1 1 udp 2113937151 039a211c-55b3-4cd5-86da-133276d8f4f4.local 40493 typ host"
    lines = [hidden if line.startswith("a=candidate") else line for line in answer.splitlines()]
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    await leg.accept("\r\n".join(lines))
    await page.connected()
    assert leg.state is LegState.CONNECTED
    assert loop.time() - start_s < 2  # looking the name up would take longer, and find nothing


async def test_a_page_that_is_the_dtls_server_is_connected(leg: WebRtcLeg) -> None:
    far = WebRtcLeg(addresses=[HOST])  # its offer, turned into an answer that is passive
    answer = (await far.offer()).replace("a=setup:actpass", "a=setup:passive")
    offer = await leg.offer()
    fingerprint = next(line for line in offer.splitlines() if line.startswith("a=fingerprint:"))
    credentials = {
        line.split(":")[0]: line.partition(":")[2] for line in offer.splitlines() if line.startswith("a=ice-")
    }
    candidates = [line[len("a=candidate:") :] for line in offer.splitlines() if line.startswith("a=candidate:")]

    async def far_side() -> None:
        algorithm, _, value = fingerprint.partition(":")[2].partition(" ")
        transports = far._transports
        await transports.path.connect(
            credentials["a=ice-ufrag"], credentials["a=ice-pwd"], lite=False, candidates=candidates
        )
        await transports.connect_dtls([(algorithm, value)], server=True)

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(far_side())
        group.create_task(leg.accept(answer))
    assert leg.state is LegState.CONNECTED
    await far.close()


async def test_what_cannot_be_sent_is_dropped_and_counted(leg: WebRtcLeg, page: Page) -> None:
    packet = build_packet(RtpHeader(0, 1, 160, leg.outgoing.ssrc), b"x" * 160)
    leg.send(packet)
    assert leg.stats().unsent == 1
    await leg.accept(await page.answer(await leg.offer()))
    await page.connected()
    leg.send(packet + b"x" * 2000)
    assert leg.stats().unsent == 2
    leg.send(packet)
    await leg.close()
    leg.send(packet)
    assert (leg.stats().sent, leg.stats().unsent) == (1, 3)


async def test_a_sender_with_another_ssrc_is_heard_under_ours(leg: WebRtcLeg, page: Page) -> None:
    await leg.accept(await page.answer(await leg.offer()))
    await page.connected()
    stranger = OutgoingStream(lambda bits: 9)
    for n in range(100):
        leg.send(build_packet(RtpHeader(0, n, n * 160, stranger.ssrc), bytes(160)))
        await asyncio.sleep(0.005)
    await until(lambda: sum(map(len, page.heard)) > 1600)
    assert leg.outgoing.sequence == 99
    assert leg.outgoing.packets == 100


async def test_a_page_that_goes_away_closes_the_leg(leg: WebRtcLeg, page: Page) -> None:
    await leg.accept(await page.answer(await leg.offer()))
    await page.connected()
    states: list[LegState] = []
    leg.on_state = states.append
    await page.close()
    await until(lambda: states == [LegState.CLOSED])
    leg.send(build_packet(RtpHeader(0, 1, 160, leg.outgoing.ssrc), b"x"))


async def test_lost_consent_fails_the_leg(leg: WebRtcLeg, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen_pair, "_CONSENT_LASTS_S", 0.2)
    leg._transports.path.chosen._interval_s = 0.05
    await leg.accept(await page.answer(await leg.offer()))
    await page.connected()
    states: list[LegState] = []
    leg.on_state = states.append
    # The page's host vanishes without a word: its sockets no longer take packets.
    for transceiver in page.connection.getTransceivers():
        for protocol in transceiver.receiver.transport.transport._connection._protocols:
            monkeypatch.setattr(protocol, "datagram_received", lambda data, addr: None)
    await until(lambda: states == [LegState.FAILED])


async def test_a_page_that_never_answers_the_checks_is_a_timeout(page: Page) -> None:
    leg = WebRtcLeg(addresses=[HOST], connect_timeout_s=0.3)
    states: list[LegState] = []
    leg.on_state = states.append
    answer = await page.answer(await leg.offer())
    await page.close()
    with pytest.raises(PeerTimeout, match="UDP"):
        await leg.accept(answer)
    assert states == [LegState.CONNECTING, LegState.FAILED]
    await leg.close()
    assert leg.state is LegState.FAILED


async def test_another_certificate_than_the_answers_is_refused(leg: WebRtcLeg, page: Page) -> None:
    answer = await page.answer(await leg.offer())
    lines = [
        line[:-2] + ("00" if line[-2:] != "00" else "11") if line.startswith("a=fingerprint") else line
        for line in answer.splitlines()
    ]
    with pytest.raises(Unavailable):
        await leg.accept("\r\n".join(lines))
    assert leg.state is LegState.FAILED


async def test_closing_while_it_connects_ends_the_waiting(leg: WebRtcLeg, page: Page) -> None:
    answer = await page.answer(await leg.offer())
    await page.close()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(expect_unavailable(leg, answer))
        await asyncio.sleep(0.1)
        await leg.close()
    assert waiting.done()
    assert leg.state is LegState.CLOSED


async def expect_unavailable(leg: WebRtcLeg, answer: str) -> None:
    with pytest.raises(Unavailable):
        await leg.accept(answer)


async def test_an_answer_that_makes_no_sense_leaves_the_leg_waiting(leg: WebRtcLeg, page: Page) -> None:
    answer = await page.answer(await leg.offer())
    with pytest.raises(RemoteProtocolError):
        await leg.accept("v=0\r\n")
    await leg.accept(answer)
    await page.connected()
    assert leg.state is LegState.CONNECTED


async def test_one_offer_and_one_answer(leg: WebRtcLeg, page: Page) -> None:
    with pytest.raises(LocalProtocolError):
        await leg.accept("v=0\r\n")
    answer = await page.answer(await leg.offer())
    with pytest.raises(LocalProtocolError):
        await leg.offer()
    await leg.accept(answer)
    await page.connected()
    with pytest.raises(LocalProtocolError):
        await leg.accept(answer)


async def test_no_address_is_said(page: Page) -> None:
    leg = WebRtcLeg(addresses=["203.0.113.1"])  # not of this machine
    with pytest.raises(Unavailable, match="address"):
        await leg.offer()
    assert leg.state is LegState.FAILED


async def test_a_leg_that_was_never_used_is_closed() -> None:
    leg = WebRtcLeg()
    await leg.close()
    await leg.close()
    assert leg.state is LegState.CLOSED


async def test_a_cancelled_wait_frees_the_sockets(leg: WebRtcLeg, page: Page) -> None:
    answer = await page.answer(await leg.offer())
    await page.close()
    waiting = asyncio.create_task(leg.accept(answer))
    await asyncio.sleep(0.1)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert leg.state is LegState.FAILED
    assert leg._transports.path._connection._protocols == []


async def test_packets_that_are_not_the_pages_are_counted_and_not_heard(leg: WebRtcLeg, page: Page) -> None:
    offer = await leg.offer()
    where = (HOST, int(re.search(r"a=candidate:\S+ 1 udp \d+ \S+ (\d+)", offer)[1]))  # type: ignore[index]
    received: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(build_packet(RtpHeader(0, 1, 1, 1), bytes(160)), where)  # before there are keys
        await leg.accept(await page.answer(offer))
        await page.connected()
        leg.set_receiver(lambda packet, at_s: received.append(packet))
        stranger.sendto(build_packet(RtpHeader(0, 1, 1, 1), bytes(160)), where)
        stranger.sendto(build_packet(RtpHeader(0, 1, 1, 1), bytes(1900)), where)  # longer than SRTP takes
        stranger.sendto(b"\x80\xc8" + bytes(40), where)
        stranger.sendto(b"\x80", where)
        await until(lambda: leg.stats().undecryptable == 3 and len(received) > 3)
    assert {parse_header(packet).ssrc for packet in received} != {1}
    assert leg.state is LegState.CONNECTED


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
async def test_a_cancellation_is_not_lost_in_the_close(leg: WebRtcLeg, page: Page, steps: int) -> None:
    """aioice waits for a task of its own that it cancelled; ours may be cancelled while it does."""
    await leg.accept(await page.answer(await leg.offer()))
    await page.connected()
    went_on = False

    async def close() -> None:
        nonlocal went_on
        await leg.close()
        await asyncio.sleep(1)
        went_on = True

    closing = asyncio.ensure_future(close())
    for _ in range(steps):
        await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    assert closing.cancelled()
    assert not went_on


@pytest.mark.parametrize("steps", range(1, 9))
async def test_sockets_are_closed_though_the_close_is_cancelled(leg: WebRtcLeg, page: Page, steps: int) -> None:
    """An account that is ended while its page is just lost cancels the close of the leg, anywhere in it."""
    await leg.accept(await page.answer(await leg.offer()))
    await page.connected()
    opened = [one.transport.get_extra_info("socket") for one in leg._transports.path._connection._protocols]
    assert opened
    closing = asyncio.ensure_future(leg.close())
    for _ in range(steps):
        await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    await asyncio.sleep(0.01)
    assert [one.fileno() for one in opened] == [-1] * len(opened)
