"""WebRTC clients of the SIP side at the packet router: real ICE, DTLS and SRTP on loopback; aiortc is the client."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import aioice.ice
import aioice.stun
import numpy as np
import pytest

from gateway.codecs import g711
from gateway.codecs.tones import tone
from gateway.domain.errors import RemoteProtocolError, Unavailable
from gateway.domain.ids import CallId
from gateway.media.client_sdp import NOWHERE, OwnTransport, put_on, take_off
from gateway.media.plane import NoCommonCodec
from gateway.media.router import PacketRouter
from gateway.protocol.dtmf import KeyPress
from gateway.protocol.rtp import RtpHeader, build_packet, parse_header, payload_of
from gateway.protocol.sdp import SdpSession, parse_sdp
from gateway.webrtc.client_link import ClientLink, ClientLinkSettings
from gateway.webrtc.seam import IcePath, Transports
from tests.integration.media.test_router import Page
from tests.support.audio import Samples, fit_sine
from tests.support.ports import free_ports
from tests.support.webrtc_peer import Peer

pytestmark = pytest.mark.integration

HOST = "127.0.0.1"
CALL = CallId("call")
CLIENT_HZ, PAGE_HZ, LEVEL_DBFS = 1000.0, 440.0, -18.0
SETTINGS = ClientLinkSettings(addresses=[HOST], connect_timeout_s=8.0, hold_back_s=0.1, goodbye_s=0.1)


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: [HOST])


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0.05)
    left = {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}
    assert not [task for task in left if any(name in repr(task) for name in ("webrtc", "aiortc", "aioice"))]


def router_with(settings: ClientLinkSettings, ports: tuple[int, int] = (38_000, 38_999)) -> PacketRouter:
    return PacketRouter(
        port_range=ports, port_rest_s=0.0, rtcp_interval_s=0.3,
        codecs=("PCMU", "PCMA"),  # what the page of this test speaks
        webrtc_link=lambda pool: ClientLink(pool, settings),
    )  # fmt: skip


@pytest.fixture
async def router() -> AsyncIterator[PacketRouter]:
    router = router_with(SETTINGS)
    yield router
    await router.close()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer(CLIENT_HZ, LEVEL_DBFS)
    yield peer
    await peer.close()


async def until(condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class SpeakingPage(Page):
    """A page that speaks a tone until it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self._task = asyncio.get_running_loop().create_task(self._speak())

    async def _speak(self) -> None:
        start_s = asyncio.get_running_loop().time()
        for n in itertools.count():
            await asyncio.sleep(max(0.0, start_s + n * 0.02 - asyncio.get_running_loop().time()))
            if self.wanted:
                pcm = tone([PAGE_HZ], LEVEL_DBFS, 160, start=n * 160)
                self.speak(n, payload=g711.encode("PCMU", pcm))

    def sound(self) -> Samples:
        """What the page heard, from the first to the last packet."""
        pcm = [np.frombuffer(g711.decode("PCMU", payload_of(packet)), np.int16) for packet in self.heard]
        return np.concatenate(pcm).astype(np.float64) / 32768

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


@pytest.fixture
async def page() -> AsyncIterator[SpeakingPage]:
    page = SpeakingPage()
    yield page
    await page.close()


def assert_tone(samples: Samples, rate_hz: int, hz: float) -> None:
    """A quarter of a second must be whole: aiortc's jitter buffer breaks the tone where this machine stands still."""
    step = rate_hz // 8
    fits = [fit_sine(samples[n : n + 2 * step], rate_hz) for n in range(0, len(samples) - 2 * step, step)]
    best = max(fits, key=lambda fit: fit.sinad_db)
    assert best.hz == pytest.approx(hz, abs=0.5)
    assert best.dbfs == pytest.approx(LEVEL_DBFS, abs=0.5)
    assert best.sinad_db > 30


async def assert_both_hear(peer: Peer, page: SpeakingPage) -> None:
    peer.heard.clear()
    page.heard.clear()
    await until(lambda: sum(map(len, peer.heard)) > 6000 and len(page.heard) > 50)
    assert_tone(page.sound(), 8000, CLIENT_HZ)
    assert_tone(np.concatenate(peer.heard), 8000, PAGE_HZ)


async def call(router: PacketRouter, peer: Peer, page: SpeakingPage) -> tuple[str, str]:
    """Let the client call; return its offer and our answer."""
    offer = await peer.offer()
    answer, _ = await router.answer_offer(CALL, offer, local_address=HOST)
    router.connect(CALL, page)
    await peer.accept(answer)
    return offer, answer


async def test_a_client_calls_and_both_hear(router: PacketRouter, peer: Peer, page: SpeakingPage) -> None:
    offer = await peer.offer()
    began = time.monotonic()
    answer, negotiated = await router.answer_offer(CALL, offer, local_address=HOST)
    assert time.monotonic() - began < 1
    audio = parse_sdp(answer).media[0]
    assert audio.profile == "UDP/TLS/RTP/SAVPF"
    assert audio.has("rtcp-mux")
    assert audio.has("end-of-candidates")
    assert audio.value("setup") == "active"
    assert [c.split()[4] for c in audio.values("candidate")] == [HOST]
    assert 38_000 <= int(audio.values("candidate")[0].split()[5]) <= 38_999
    assert negotiated.codec == "PCMU"
    router.connect(CALL, page)
    await peer.accept(answer)
    await assert_both_hear(peer, page)
    await until(lambda: router.query(CALL).last_rtcp_s is not None)
    stats = await router.delete(CALL)
    assert stats.sip_to_wa.lost == 0
    assert stats.sip_to_wa.passed > 50


async def test_a_client_is_called_and_both_hear(router: PacketRouter, peer: Peer, page: SpeakingPage) -> None:
    offer = await router.create_offer(CALL, local_address=HOST, webrtc=True)
    assert parse_sdp(offer).media[0].value("setup") == "actpass"
    await router.accept_answer(CALL, await peer.answer(offer))
    router.connect(CALL, page)
    await assert_both_hear(peer, page)


async def test_a_client_without_any_address_is_reached_by_its_own_checks(
    router: PacketRouter, peer: Peer, page: SpeakingPage
) -> None:
    hidden = "a=candidate:1 1 udp 2113937151 039a211c-55b3-4cd5-86da-133276d8f4f4.local 40493 typ host"
    lines = [hidden if line.startswith("a=candidate") else line for line in (await peer.offer()).splitlines()]
    answer, _ = await router.answer_offer(CALL, "\r\n".join(lines) + "\r\n", local_address=HOST)
    router.connect(CALL, page)
    await peer.accept(answer)
    await until(lambda: len(page.heard) > 10)


async def test_hold_stops_what_is_sent_and_resume_brings_it_back(
    router: PacketRouter, peer: Peer, page: SpeakingPage
) -> None:
    offer, first = await call(router, peer, page)
    await until(lambda: len(page.heard) > 10)
    held, negotiated = await router.answer_offer(CALL, offer.replace("a=sendrecv", "a=inactive"), local_address=HOST)
    assert negotiated.direction == "inactive"
    assert parse_sdp(held).media[0].has("inactive")
    assert parse_sdp(held).origin.version == parse_sdp(first).origin.version + 1
    assert _transport(held) == _transport(first)
    page.heard.clear()
    passed = router.query(CALL).wa_to_sip.passed
    await asyncio.sleep(0.2)
    assert not page.heard
    assert router.query(CALL).wa_to_sip.passed == passed
    resumed, negotiated = await router.answer_offer(CALL, offer, local_address=HOST)
    assert negotiated.direction == "sendrecv"
    assert _transport(resumed) == _transport(first)
    await assert_both_hear(peer, page)


def _transport(sdp: str) -> list[str]:
    names = ("a=ice-", "a=fingerprint", "a=setup", "a=candidate")
    return [line for line in sdp.splitlines() if line.startswith(names)]


async def test_another_certificate_is_refused_and_the_call_goes_on(
    router: PacketRouter, peer: Peer, page: SpeakingPage
) -> None:
    offer, _ = await call(router, peer, page)
    await until(lambda: len(page.heard) > 10)
    other = Peer()
    theirs = next(line for line in (await other.offer()).splitlines() if line.startswith("a=fingerprint:sha-256"))
    await other.close()
    lines = [theirs if line.startswith("a=fingerprint:sha-256") else line for line in offer.splitlines()]
    with pytest.raises(NoCommonCodec, match="certificate"):
        await router.answer_offer(CALL, "\r\n".join(lines) + "\r\n", local_address=HOST)
    await assert_both_hear(peer, page)


async def test_a_client_with_another_certificate_than_its_offers_is_lost(
    router: PacketRouter, peer: Peer, page: SpeakingPage
) -> None:
    lost: list[str] = []
    offer = await peer.offer()
    digest = next(line for line in offer.splitlines() if line.startswith("a=fingerprint:sha-256"))
    wrong = digest[:-5] + ("00:00" if not digest.endswith("00:00") else "11:11")
    lines = [line for line in offer.splitlines() if not line.startswith("a=fingerprint") or line == digest]
    forged = "\r\n".join(wrong if line == digest else line for line in lines) + "\r\n"
    answer, _ = await router.answer_offer(CALL, forged, local_address=HOST)
    router.connect(CALL, page, on_lost=lost.append)
    await peer.accept(answer)
    await until(lambda: bool(lost))
    assert lost == ["dtls_failed"]
    assert not page.heard
    assert router.query(CALL).wa_to_sip.dropped["not_connected"] > 0


async def test_a_client_that_never_connects_is_lost(page: SpeakingPage, peer: Peer) -> None:
    router = router_with(replace(SETTINGS, connect_timeout_s=0.3))
    lost: list[str] = []
    await router.answer_offer(CALL, await peer.offer(), local_address=HOST)
    router.connect(CALL, page, on_lost=lost.append)
    await until(lambda: bool(lost))
    assert lost == ["ice_timeout"]
    await router.close()


async def test_a_client_that_says_goodbye_is_lost_a_little_later(
    router: PacketRouter, peer: Peer, page: SpeakingPage
) -> None:
    lost: list[str] = []
    offer = await peer.offer()
    answer, _ = await router.answer_offer(CALL, offer, local_address=HOST)
    router.connect(CALL, page, on_lost=lost.append)
    await peer.accept(answer)
    await until(lambda: len(page.heard) > 10)
    await peer.close()
    assert not lost
    await until(lambda: bool(lost))
    assert lost == ["dtls_closed"]


async def test_a_plain_peer_at_the_same_router_gets_plain_rtp(router: PacketRouter) -> None:
    offer = SdpSession(1).create_offer(replace(NOWHERE, address=HOST, rtp_port=40_000, rtcp_port=40_001))
    answer, negotiated = await router.answer_offer(CALL, offer, local_address=HOST)
    assert parse_sdp(answer).media[0].profile == "RTP/AVP"
    assert negotiated.crypto is None


async def test_nothing_is_left_of_an_offer_that_cannot_be_answered(router: PacketRouter, peer: Peer) -> None:
    offer = await peer.offer()
    for wrong, error in ((offer.replace("PCMU", "L16").replace("PCMA", "L16"), NoCommonCodec), (
        offer.replace("a=rtcp-mux", "a=x"), NoCommonCodec), (offer.replace("a=ice-pwd", "a=x"), RemoteProtocolError),
    ):  # fmt: skip
        only_dynamic = wrong.replace(" 0 8", "").replace("m=audio", "m=audio")
        with pytest.raises(error):
            await router.answer_offer(CALL, only_dynamic, local_address=HOST)
        assert (await router.delete(CALL)).sip_to_wa.packets == 0


async def test_no_address_of_this_machine_is_said(peer: Peer) -> None:
    router = router_with(replace(SETTINGS, addresses=["203.0.113.9"]))
    with pytest.raises(Unavailable, match="address"):
        await router.answer_offer(CALL, await peer.offer(), local_address=HOST)
    await router.close()


async def test_the_outside_of_a_nat_is_named_first(peer: Peer) -> None:
    router = router_with(replace(SETTINGS, public_address="203.0.113.9"))
    answer, _ = await router.answer_offer(CALL, await peer.offer(), local_address=HOST)
    audio = parse_sdp(answer).media[0]
    outside, inside = (c.split() for c in audio.values("candidate"))
    assert outside[4:] == ["203.0.113.9", inside[5], "typ", "srflx", "raddr", HOST, "rport", inside[5]]
    assert inside[4] == HOST
    assert audio.address == "203.0.113.9"
    await router.close()


class RawClient:
    """A client by the seam alone, which can restart ICE (aiortc's peer connection cannot)."""

    def __init__(self) -> None:
        self.heard = 0
        self.sdp = SdpSession(3)
        self.transports = Transports(
            self.path(), on_change=lambda: None, on_rtp=self._hear, on_rtcp=lambda packet: None
        )

    @staticmethod
    def path() -> IcePath:
        return IcePath(addresses=[HOST], stun_url="", controlling=True)

    def _hear(self, packet: bytes, now_s: float) -> None:
        assert parse_header(packet).payload_type == 0
        self.heard += 1

    def offer(self, path: IcePath) -> str:
        username, password = path.credentials()
        own = OwnTransport(
            username, password, self.transports.fingerprint(), path.candidates(), "actpass", 7, "raw"
        )  # fmt: skip
        return str(put_on(self.sdp.create_offer(NOWHERE), own, "UDP/TLS/RTP/SAVPF"))

    async def connect(self, path: IcePath, answer: str) -> None:
        plain, remote = take_off(answer)
        assert remote is not None
        self.sdp.accept_answer(plain)
        await path.connect(remote.username, remote.password, lite=False, candidates=remote.candidates)
        if path is self.transports.path:
            await self.transports.connect_dtls(sorted(remote.fingerprints), server=remote.setup == "active")


async def test_ice_is_restarted_without_a_break(router: PacketRouter, page: SpeakingPage) -> None:
    client = RawClient()
    lost: list[str] = []
    await client.transports.gather()
    answer, _ = await router.answer_offer(CALL, client.offer(client.transports.path), local_address=HOST)
    router.connect(CALL, page, on_lost=lost.append)
    await client.connect(client.transports.path, answer)
    await until(lambda: client.heard > 5)

    fresh = client.path()
    await client.transports.gather_beside(fresh)
    again, _ = await router.answer_offer(CALL, client.offer(fresh), local_address=HOST)
    assert _transport(again) != _transport(answer)
    assert parse_sdp(again).media[0].value("fingerprint") == parse_sdp(answer).media[0].value("fingerprint")
    assert parse_sdp(again).media[0].value("setup") == "active"
    third = client.offer(fresh).replace("a=ice-pwd:", "a=ice-pwd:third")
    with pytest.raises(RemoteProtocolError, match="still being connected") as caught:
        await router.answer_offer(CALL, third, local_address=HOST)
    assert caught.value.status == 491
    before = client.heard
    await asyncio.sleep(0.1)
    assert client.heard > before  # the old way until the new one is there
    await client.connect(fresh, again)
    await client.transports.move(fresh)
    await asyncio.sleep(0.1)  # what was on its way
    before, sent = client.heard, len(page.heard)
    client.transports.send_rtp(build_packet(RtpHeader(0, 1, 160, 99), bytes(160)))
    await until(lambda: client.heard > before + 5 and len(page.heard) > sent)
    assert not lost
    await client.transports.close()


async def test_keys_of_a_client_are_told(router: PacketRouter, page: SpeakingPage) -> None:
    client = RawClient()
    keys: list[KeyPress] = []
    await client.transports.gather()
    answer, negotiated = await router.answer_offer(CALL, client.offer(client.transports.path), local_address=HOST)
    assert negotiated.telephone_event == 101
    router.connect(CALL, page, on_key=keys.append)
    await client.connect(client.transports.path, answer)
    client.transports.send_rtp(build_packet(RtpHeader(0, 1, 160, 99), bytes(160)))
    for n, (end, duration) in enumerate([(0, 160), (0, 320), (0x80, 800), (0x80, 800)]):
        event = bytes([5, end | 10]) + duration.to_bytes(2, "big")
        client.transports.send_rtp(build_packet(RtpHeader(101, 2 + n, 320, 99, marker=not n), event))
    await until(lambda: bool(keys))
    assert [key.digit for key in keys] == ["5"]
    await client.transports.close()


async def test_datagrams_of_strangers_do_no_harm(router: PacketRouter, peer: Peer, page: SpeakingPage) -> None:
    """Anybody may send to the port, before the call is connected and after."""
    loop, faults = asyncio.get_running_loop(), list[str]()
    loop.set_exception_handler(lambda _, context: faults.append(str(context)))
    answer, _ = await router.answer_offer(CALL, await peer.offer(), local_address=HOST)
    port = int(parse_sdp(answer).media[0].values("candidate")[0].split()[5])
    chance = random.Random(7)
    binding = aioice.stun.Message(aioice.stun.Method.BINDING, aioice.stun.Class.REQUEST)
    binding.attributes["USERNAME"], binding.attributes["PRIORITY"] = "a:b", 1
    binding.add_message_integrity(b"nobody")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:

        async def spray() -> None:
            for n in range(400):
                data = bytearray(bytes(binding) if n % 2 else chance.randbytes(chance.randrange(1, 200)))
                for _ in range(n % 5):
                    data[chance.randrange(len(data))] = chance.randrange(256)
                stranger.sendto(bytes([chance.choice([data[0], 0, 1, 22, 128, 200])]) + bytes(data[1:]), (HOST, port))
                if n % 50 == 0:
                    await asyncio.sleep(0)

        await spray()
        router.connect(CALL, page)
        await peer.accept(answer)
        await until(lambda: len(page.heard) > 5)
        await spray()
    await assert_both_hear(peer, page)
    assert not faults


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 3, 5])
async def test_the_port_is_free_again_though_the_end_of_the_call_is_cancelled(
    peer: Peer, page: SpeakingPage, steps: int, connected: bool
) -> None:
    low = free_ports(3)
    router = router_with(SETTINGS, (low, low + 2))  # a single pair
    offer = await peer.offer()
    answer, _ = await router.answer_offer(CALL, offer, local_address=HOST)
    router.connect(CALL, page)
    if connected:
        await peer.accept(answer)
        await until(lambda: len(page.heard) > 2)
    ending = asyncio.ensure_future(router.delete(CALL))
    for _ in range(steps):
        await asyncio.sleep(0)
    ending.cancel()
    await asyncio.wait([ending])
    await asyncio.sleep(0.01)
    again, _ = await router.answer_offer(CallId("next"), offer, local_address=HOST)
    port = parse_sdp(again).media[0].port
    assert port == parse_sdp(answer).media[0].port
    await router.close()


async def test_the_mid_of_the_client_is_kept_in_our_offers_too(router: PacketRouter, peer: Peer) -> None:
    """A browser takes another mid for m-lines in another order, and refuses the offer (RFC 9429 section 5.2.2)."""
    offer = (await peer.offer()).replace("a=mid:0", "a=mid:audio").replace("BUNDLE 0", "BUNDLE audio")
    answer, _ = await router.answer_offer(CALL, offer, local_address=HOST)
    again = parse_sdp(await router.reoffer(CALL, local_address=HOST))
    for written in (parse_sdp(answer), again):
        assert written.media[0].value("mid") == "audio"
        assert written.value("group") == "BUNDLE audio"


@pytest.mark.parametrize("mid", [None, "0"])
async def test_a_client_that_does_not_bundle_is_not_answered_with_a_bundle(
    router: PacketRouter, peer: Peer, mid: str | None
) -> None:
    """RFC 9143 section 7.3.1: a group of the answer holds nothing that was not in one of the offer."""
    lines = [x for x in (await peer.offer()).splitlines() if not x.startswith(("a=group", "a=mid"))]
    lines += [] if mid is None else [f"a=mid:{mid}"]
    offer = "\r\n".join(lines) + "\r\n"
    answer, _ = await router.answer_offer(CALL, offer, local_address=HOST)
    written = parse_sdp(answer)
    assert written.value("group") is None
    assert written.media[0].value("mid") == mid
