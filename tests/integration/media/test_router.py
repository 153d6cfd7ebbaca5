"""The packet router with real UDP peers."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import time
from array import array
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from gateway.codecs import g711
from gateway.codecs.tones import tone
from gateway.domain.errors import ConfigError, RemoteProtocolError, Unavailable
from gateway.domain.ids import CallId
from gateway.media.lock import LockRules
from gateway.media.plane import MediaStats, Negotiated, NoCommonCodec
from gateway.media.router import PacketRouter
from gateway.protocol.dtmf import PAYLOAD, KeyPress, frequencies
from gateway.protocol.rtcp import (
    FarReport,
    Goodbye,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    SourceDescription,
    build_compound,
    parse_compound,
)
from gateway.protocol.rtp import RtpHeader, build_packet, parse_header, payload_of
from gateway.protocol.sdp import LocalMedia, SdpSession, parse_sdp

pytestmark = pytest.mark.integration

HOST = "127.0.0.1"
CALL = CallId("call")
SOUND = bytes(range(160))


class Page:
    """A port whose far end is the test."""

    def __init__(self) -> None:
        self.payload_types = {"PCMU": 0, "PCMA": 8}
        self.heard: list[bytes] = []
        self._on_rtp: Callable[[bytes, float], None] | None = None

    def send(self, packet: bytes) -> None:
        self.heard.append(packet)

    def set_receiver(self, on_rtp: Callable[[bytes, float], None] | None) -> None:
        self._on_rtp = on_rtp

    @property
    def wanted(self) -> bool:
        return self._on_rtp is not None

    def speak(self, n: int, *, payload_type: int = 0, payload: bytes = SOUND, ssrc: int = 5) -> None:
        assert self._on_rtp is not None
        self._on_rtp(
            packet(n, payload_type=payload_type, payload=payload, ssrc=ssrc), asyncio.get_running_loop().time()
        )


def packet(n: int, *, payload_type: int = 0, payload: bytes = SOUND, ssrc: int = 77) -> bytes:
    return build_packet(RtpHeader(payload_type, n & 0xFFFF, n * 160 & 0xFFFFFFFF, ssrc), payload)


def bind_pair(host: str) -> tuple[socket.socket, socket.socket]:
    """Two sockets with ports in a row, as most phones have them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        rtp, rtcp = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
        rtp.bind((host, 0))
        try:
            rtcp.bind((host, rtp.getsockname()[1] + 1))
        except (OSError, OverflowError):
            rtp.close()
            rtcp.close()
            continue
        return rtp, rtcp


@dataclass
class Phone:
    """A SIP peer's media: two UDP sockets and its side of offer and answer."""

    host: str = HOST
    heard: list[bytes] = field(default_factory=list)
    reports: list[bytes] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.rtp, self.rtcp = bind_pair(self.host)
        for sock, into in ((self.rtp, self.heard), (self.rtcp, self.reports)):
            sock.setblocking(False)
            asyncio.get_running_loop().add_reader(sock, self._read, sock, into)
        self.sdp = SdpSession(9)
        self.to = (self.host, 0)

    @property
    def local(self) -> LocalMedia:
        return LocalMedia(self.host, self.rtp.getsockname()[1], self.rtcp.getsockname()[1])

    def _read(self, sock: socket.socket, into: list[bytes]) -> None:
        into.append(sock.recv(2048))
        self.arrived.set()

    def say(self, n: int, *, payload_type: int = 0, payload: bytes = SOUND, ssrc: int = 77) -> None:
        self.rtp.sendto(packet(n, payload_type=payload_type, payload=payload, ssrc=ssrc), self.to)

    def report(self, data: bytes) -> None:
        self.rtcp.sendto(data, (self.to[0], self.to[1] + 1))

    def close(self) -> None:
        for sock in (self.rtp, self.rtcp):
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()


class Bench:
    """A router, and phones and a page that go away with the test."""

    def __init__(self) -> None:
        self.router = PacketRouter(
            rtcp_interval_s=0.1, port_rest_s=0.2, lock_rules=LockRules(same_ssrc_silence_s=0.1, other_silence_s=0.2)
        )
        self.page = Page()
        self.phones: list[Phone] = []

    def phone(self, host: str = HOST) -> Phone:
        self.phones.append(Phone(host))
        return self.phones[-1]

    async def call(self, phone: Phone, *, change: Callable[[str], str] = lambda text: text) -> Negotiated:
        """The phone offers and the page is connected."""
        negotiated = await self.offer(phone, change=change)
        self.router.connect(CALL, self.page)
        return negotiated

    async def offer(self, phone: Phone, *, change: Callable[[str], str] = lambda text: text) -> Negotiated:
        text = change(phone.sdp.create_offer(phone.local))
        answer, negotiated = await self.router.answer_offer(CALL, text, local_address=phone.host)
        phone.to = phone.sdp.accept_answer(answer).remote
        return negotiated

    def stats(self) -> MediaStats:
        return self.router.query(CALL)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.router.close()
    for phone in bench.phones:
        phone.close()


async def until(condition: Callable[[], bool], *, timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  the conditions are figures of the router, which tells nobody of them
            await asyncio.sleep(0.005)


def heard(packets: list[bytes]) -> list[tuple[int, bytes]]:
    return [(parse_header(data).payload_type, payload_of(data)) for data in packets]


async def test_audio_passes_both_ways_untouched(bench: Bench) -> None:
    phone = bench.phone()
    assert (await bench.call(phone)).remote == (HOST, phone.local.rtp_port)
    for n in range(10):
        phone.say(n, payload=bytes((n,)) * 160)
        bench.page.speak(100 + n, payload=bytes((200 + n,)) * 160)
    await until(lambda: len(bench.page.heard) == 10 and len(phone.heard) == 10)
    assert heard(bench.page.heard) == [(0, bytes((n,)) * 160) for n in range(10)]
    assert heard(phone.heard) == [(0, bytes((200 + n,)) * 160) for n in range(10)]
    assert parse_header(phone.heard[0]).ssrc not in {5, 77}
    assert phone.to[1] % 2 == 0
    stats = bench.stats()
    assert (stats.sip_to_wa.packets, stats.sip_to_wa.passed, stats.sip_to_wa.bytes) == (10, 10, 1600)
    assert (stats.wa_to_sip.packets, stats.wa_to_sip.passed, stats.wa_to_sip.lost) == (10, 10, 0)
    assert stats.sip_to_wa.last_packet_s is not None


async def test_our_offer_and_its_answer_carry_audio(bench: Bench) -> None:
    phone = bench.phone()
    offer = await bench.router.create_offer(CALL, local_address=HOST)
    answer, theirs = phone.sdp.answer_offer(offer, phone.local)
    phone.to = theirs.remote
    negotiated = await bench.router.accept_answer(CALL, answer)
    assert negotiated.codec == "PCMU"
    bench.router.connect(CALL, bench.page)
    phone.say(1)
    bench.page.speak(1)
    await until(lambda: bool(bench.page.heard and phone.heard))


async def test_ipv6_carries_audio(bench: Bench) -> None:
    phone = bench.phone("::1")
    negotiated = await bench.call(phone)
    assert negotiated.remote == ("::1", phone.local.rtp_port)
    phone.say(1)
    bench.page.speak(1)
    await until(lambda: bool(bench.page.heard and phone.heard))
    assert bench.stats().source_moves == 0


async def test_the_other_law_is_converted_where_only_one_was_agreed_on(bench: Bench) -> None:
    phone = bench.phone()
    only_alaw = "m=audio {} RTP/AVP 8 101"
    negotiated = await bench.call(
        phone,
        change=lambda text: text.replace(
            f"m=audio {phone.local.rtp_port} RTP/AVP 0 8 101", only_alaw.format(phone.local.rtp_port)
        ),
    )
    assert negotiated.send == {"PCMA": 8}
    bench.page.speak(1, payload_type=0)
    bench.page.speak(2, payload_type=8)
    await until(lambda: len(phone.heard) == 2)
    assert heard(phone.heard) == [(8, SOUND.translate(g711.ULAW_TO_ALAW)), (8, SOUND)]
    assert bench.stats().wa_to_sip.transcoded == 1


async def test_both_laws_pass_where_both_were_agreed_on(bench: Bench) -> None:
    phone = bench.phone()
    await bench.call(phone)
    bench.page.speak(1, payload_type=0)
    bench.page.speak(2, payload_type=8)
    await until(lambda: len(phone.heard) == 2)
    assert heard(phone.heard) == [(0, SOUND), (8, SOUND)]


async def test_a_codec_that_was_not_agreed_on_is_heard_where_its_number_says_what_it_is(bench: Bench) -> None:
    phone = bench.phone()
    await bench.call(phone)
    phone.say(1)
    phone.say(2, payload_type=9)
    phone.say(3, payload_type=97)
    await until(lambda: len(bench.page.heard) == 2)
    assert [payload_type for payload_type, _ in heard(bench.page.heard)] == [0, 0]
    stats = bench.stats().sip_to_wa
    assert (stats.transcoded, stats.dropped) == (1, {"unknown_payload_type": 1})


async def test_loss_and_order_stay_visible(bench: Bench) -> None:
    seed = random.SystemRandom().randrange(10**9)
    netem = random.Random(seed)
    phone = bench.phone()
    await bench.call(phone)
    sent = [n for n in range(65_400, 65_700) if n == 65_400 or netem.random() > 0.1]
    arrival = sorted(sent, key=lambda n: n if n == 65_400 else n + netem.choice([0, 0, 0, 3.5]))
    for index, n in enumerate(arrival):
        phone.say(n)
        if index % 20 == 19:
            await asyncio.sleep(0.002)
    await until(lambda: len(bench.page.heard) == len(sent))
    got = [parse_header(data) for data in bench.page.heard]
    shift = got[0].sequence - 65_400
    assert [(h.sequence - shift) & 0xFFFF for h in got] == [n & 0xFFFF for n in arrival], seed
    base = got[0].timestamp - arrival[0] * 160
    assert [(h.timestamp - base) & 0xFFFFFFFF for h in got] == [n * 160 for n in arrival], seed
    assert bench.stats().sip_to_wa.lost == max(sent) - 65_400 + 1 - len(sent), seed


async def test_a_stranger_is_not_heard_and_not_sent_to(bench: Bench) -> None:
    phone, thief = bench.phone(), bench.phone()
    await bench.call(phone)
    thief.to = phone.to
    for n in range(30):
        phone.say(n)
        thief.say(n, ssrc=666, payload=bytes(160))
        bench.page.speak(n)
        await asyncio.sleep(0.002)
    await until(lambda: len(phone.heard) == 30 and len(bench.page.heard) == 30)
    assert {payload for _, payload in heard(bench.page.heard)} == {SOUND}
    assert thief.heard == []
    assert bench.stats().sip_to_wa.dropped["foreign_source"] == 30


async def test_a_phone_behind_a_nat_is_found(bench: Bench) -> None:
    phone = bench.phone()
    closed = bench.phone()  # what the SDP says, where nobody speaks
    await bench.call(phone, change=lambda text: text.replace(str(phone.local.rtp_port), str(closed.local.rtp_port)))
    for n in range(5):
        phone.say(n)
    await until(lambda: len(bench.page.heard) == 3)
    bench.page.speak(1)
    await until(lambda: len(phone.heard) == 1)
    assert closed.heard == []
    assert bench.stats().source_moves == 1


async def test_a_reinvite_moves_the_media_at_once(bench: Bench) -> None:
    old, new = bench.phone(), bench.phone()
    await bench.call(old)
    old.say(1)
    await until(lambda: len(bench.page.heard) == 1)
    new.sdp = old.sdp
    await bench.offer(new)
    assert new.to == old.to
    bench.page.speak(1)  # before the new place has sent anything
    await until(lambda: len(new.heard) == 1)
    old.say(2)
    new.say(9000, ssrc=88)
    await until(lambda: len(bench.page.heard) == 2)
    first, second = (parse_header(data) for data in bench.page.heard)
    assert second.sequence == (first.sequence + 1) & 0xFFFF
    assert second.ssrc == first.ssrc
    assert old.heard == []


@pytest.mark.parametrize("how", ["a=sendonly", "a=inactive", "0.0.0.0"])
async def test_a_peer_on_hold_hears_nothing_until_it_resumes(bench: Bench, how: str) -> None:
    def hold(text: str) -> str:
        if how == "0.0.0.0":
            return text.replace(f"c=IN IP4 {HOST}", "c=IN IP4 0.0.0.0")
        return text.replace("a=sendrecv", how)

    phone = bench.phone()
    await bench.call(phone)
    phone.say(1)
    bench.page.speak(1)
    await until(lambda: len(phone.heard) == 1 and len(bench.page.heard) == 1)
    held = await bench.offer(phone, change=hold)
    assert held.direction == ("inactive" if how == "a=inactive" else "recvonly")
    for n in range(2, 6):
        bench.page.speak(n)
        phone.say(n)
    await until(lambda: bench.stats().sip_to_wa.packets == 5)
    assert len(bench.page.heard) == (1 if how == "a=inactive" else 5)  # music on hold is heard
    assert (await bench.offer(phone)).direction == "sendrecv"
    bench.page.speak(6)
    await until(lambda: len(phone.heard) == 2)
    await asyncio.sleep(0.02)
    first, second = (parse_header(data) for data in phone.heard)
    assert second.sequence == (first.sequence + 1) & 0xFFFF  # the hold is no loss
    assert second.marker
    assert bench.stats().wa_to_sip.dropped == {"hold": 4}


async def test_a_refused_reinvite_leaves_the_call_as_it_was(bench: Bench) -> None:
    phone = bench.phone()
    await bench.call(phone)
    with pytest.raises(NoCommonCodec):
        await bench.router.answer_offer(
            CALL, "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\nc=IN IP4 127.0.0.1\r\nm=image 9 udptl t38\r\n", local_address=HOST
        )
    phone.say(1)
    bench.page.speak(1)
    await until(lambda: bool(bench.page.heard and phone.heard))


async def test_an_offerless_reinvite_gets_a_fitting_offer(bench: Bench) -> None:
    phone = bench.phone()
    await bench.call(phone, change=lambda text: text.replace("a=sendrecv", "a=sendonly"))
    offer = await bench.router.reoffer(CALL, local_address=HOST)
    assert parse_sdp(offer).origin.version == 2
    answer, theirs = phone.sdp.answer_offer(offer, phone.local)
    assert theirs.remote == phone.to
    assert (await bench.router.accept_answer(CALL, answer)).direction == "sendrecv"
    bench.page.speak(1)
    await until(lambda: len(phone.heard) == 1)


async def test_key_presses_and_comfort_noise_are_no_audio(bench: Bench) -> None:
    phone = bench.phone()
    await bench.call(phone)
    phone.say(1)
    phone.say(2, payload_type=101, payload=b"\x05\x8a\x03\x20")
    phone.say(3, payload_type=13, payload=b"\x40")
    phone.say(4, payload_type=96)
    phone.say(5)
    await until(lambda: len(bench.page.heard) == 2)
    first, last = (parse_header(data) for data in bench.page.heard)
    assert last.sequence == (first.sequence + 1) & 0xFFFF
    stats = bench.stats().sip_to_wa
    assert stats.dropped == {"telephone_event": 1, "comfort_noise": 1, "unknown_payload_type": 1}
    assert stats.dropped_payload_types == {101: 1, 13: 1, 96: 1}
    assert stats.lost == 0


async def test_reports_go_both_ways_and_end_with_goodbye(bench: Bench) -> None:
    phone = bench.phone()
    await bench.call(phone)
    assert (bench.stats().last_rtp_s, bench.stats().last_rtcp_s) == (None, None)
    begun = time.monotonic()
    for n in (1, 2, 4, 5):
        phone.say(n)
        bench.page.speak(n)
    await until(lambda: len(phone.heard) == 4 and len(phone.reports) >= 1)
    report, names = parse_compound(phone.reports[0])
    ssrc = parse_header(phone.heard[0]).ssrc
    assert isinstance(report, SenderReport)
    assert isinstance(names, SourceDescription)
    assert (report.ssrc, report.packets, report.octets) == (ssrc, 4, 640)
    (block,) = report.reports
    assert (block.ssrc, block.cumulative_lost, block.extended_sequence) == (77, 1, 5)
    assert names.cnames[0][0] == ssrc
    phone.report(
        build_compound([ReceiverReport(77, (ReportBlock(ssrc, 10, 2, 5, 80, report.ntp >> 16 & 0xFFFFFFFF, 0),))])
    )
    phone.report(b"\x80\xc8nonsense")
    await until(lambda: bench.stats().round_trip_ms is not None)
    stats = bench.stats()
    assert stats.peer_lost == 2
    assert stats.peer_jitter_ms == 10
    assert stats.last_rtp_s is not None
    assert stats.last_rtcp_s is not None
    assert begun <= stats.last_rtp_s <= stats.last_rtcp_s <= time.monotonic()
    await until(lambda: bench.stats().sip_to_wa.dropped.get("malformed_rtcp") == 1)
    await bench.router.delete(CALL)
    await until(lambda: any(isinstance(found, Goodbye) for data in phone.reports for found in parse_compound(data)))


class ReportingPage(Page):
    """A page that says how it fares."""

    def __init__(self) -> None:
        super().__init__()
        self.report: FarReport | None = None
        self.beyond: Callable[[], FarReport | None] | None = None

    def far_report(self) -> FarReport | None:
        return self.report

    def set_beyond(self, beyond: Callable[[], FarReport | None] | None) -> None:
        self.beyond = beyond


async def test_each_side_is_told_of_the_loss_at_the_other(bench: Bench) -> None:
    phone = bench.phone()
    page = bench.page = ReportingPage()
    page.report = FarReport(9, 0, 5, 0.0, time.monotonic(), None)  # of an earlier call on the same leg
    await bench.call(phone)
    page.report = FarReport(9, 64, 12, 0.03, time.monotonic(), 0.004)
    for n in range(1, 9):
        phone.say(n)
        page.speak(n)
    await until(lambda: len(phone.heard) == 8 and any(_blocks(data) for data in phone.reports))
    block = next(block for data in phone.reports for block in _blocks(data))
    assert (block.fraction_lost, block.jitter) == (64, 240)  # the page's, though every packet came to us

    ssrc = parse_header(phone.heard[0]).ssrc
    phone.report(build_compound([ReceiverReport(77, (ReportBlock(ssrc, 32, 1, 8, 16, 0, 0),))]))
    assert page.beyond is not None
    await until(lambda: page.beyond is not None and page.beyond() is not None)
    far = page.beyond()
    assert far is not None
    assert (far.fraction_lost, far.lost, far.jitter_s) == (32, 1, 0.002)

    stats = bench.stats()
    assert (stats.page_lost, stats.page_jitter_ms, stats.page_round_trip_ms) == (7, 30, 4)
    ended = await bench.router.delete(CALL)
    assert (ended.page_lost, ended.peer_lost) == (7, 1)
    assert page.beyond is None


def _blocks(data: bytes) -> tuple[ReportBlock, ...]:
    head = parse_compound(data)[0]
    return head.reports if isinstance(head, SenderReport | ReceiverReport) else ()


async def test_a_strangers_report_is_not_read(bench: Bench) -> None:
    phone = bench.phone()
    await bench.call(phone, change=lambda text: text.replace(f"c=IN IP4 {HOST}", "c=IN IP4 127.0.0.2"))
    phone.report(b"\x80\xc9\x00\x01\x00\x00\x00\x01")
    await until(lambda: bench.stats().sip_to_wa.dropped.get("foreign_rtcp") == 1)


async def test_reports_to_a_phone_behind_a_nat_go_beside_its_audio(bench: Bench) -> None:
    phone = bench.phone()
    outside = LocalMedia("127.0.0.3", 4000, 4001)  # what the SDP says: an address that reaches nobody
    answer, _ = await bench.router.answer_offer(CALL, phone.sdp.create_offer(outside), local_address=HOST)
    bench.router.connect(CALL, bench.page)
    phone.to = phone.sdp.accept_answer(answer).remote
    for n in range(4):
        phone.say(n)
    await until(lambda: bench.stats().source_moves == 1)
    await until(lambda: len(phone.reports) == 1)


async def test_a_report_on_the_rtp_port_is_not_audio(bench: Bench) -> None:
    phone = bench.phone()
    await bench.call(phone)
    phone.rtp.sendto(b"\x80\xc9\x00\x01\x00\x00\x00\x01", phone.to)
    await until(lambda: bench.stats().sip_to_wa.dropped.get("rtcp_on_rtp_port") == 1)


async def test_nothing_flows_before_the_page_is_connected(bench: Bench) -> None:
    phone = bench.phone()
    await bench.offer(phone)
    phone.say(1)
    await until(lambda: bench.stats().sip_to_wa.dropped.get("not_connected") == 1)
    bench.router.connect(CALL, bench.page)
    phone.say(2)
    await until(lambda: len(bench.page.heard) == 1)


async def test_a_peer_whose_address_is_unknown_is_sent_nothing_until_it_speaks(bench: Bench) -> None:
    phone = bench.phone()
    await bench.call(phone, change=lambda text: text.replace(f"c=IN IP4 {HOST}", "c=IN IP4 phone.example.com"))
    bench.page.speak(1)
    assert bench.stats().wa_to_sip.dropped == {"no_address": 1}
    for n in range(4):
        phone.say(n)
    await until(lambda: bench.stats().source_moves == 1)
    bench.page.speak(2)
    await until(lambda: len(phone.heard) == 1)


async def test_an_address_of_the_other_family_is_not_sent_to(bench: Bench) -> None:
    phone = bench.phone()
    await bench.call(phone, change=lambda text: text.replace(f"c=IN IP4 {HOST}", "c=IN IP6 ::1"))
    bench.page.speak(1)
    assert bench.stats().wa_to_sip.dropped == {"no_address": 1}


async def test_a_page_may_be_connected_before_the_answer_is_there(bench: Bench) -> None:
    phone = bench.phone()
    offer = await bench.router.create_offer(CALL, local_address=HOST)
    bench.router.connect(CALL, bench.page)
    bench.page.speak(1)
    assert bench.stats().wa_to_sip.dropped == {"unknown_payload_type": 1}
    answer, theirs = phone.sdp.answer_offer(offer, phone.local)
    phone.to = theirs.remote
    await bench.router.accept_answer(CALL, answer)
    phone.say(1)
    bench.page.speak(2)
    await until(lambda: bool(bench.page.heard and phone.heard))


async def test_another_page_takes_over(bench: Bench) -> None:
    phone, other = bench.phone(), Page()
    await bench.call(phone)
    bench.router.connect(CALL, other)
    assert not bench.page.wanted
    phone.say(1)
    await until(lambda: len(other.heard) == 1)


async def test_the_end_gives_figures_and_frees_page_and_ports(bench: Bench) -> None:
    phone = bench.phone()
    await bench.call(phone)
    phone.say(1)
    await until(lambda: len(bench.page.heard) == 1)
    stats = await bench.router.delete(CALL)
    assert stats.sip_to_wa.packets == 1
    assert not bench.page.wanted
    assert await bench.router.delete(CALL) == MediaStats()
    assert bench.router.query(CALL) == MediaStats()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, phone.to[1]))


@pytest.mark.parametrize("datagram", [b"", b"\0", b"\x80"])
async def test_a_phone_that_keeps_its_nat_open_by_scraps_takes_nothing_from_the_figures(
    bench: Bench, datagram: bytes
) -> None:
    phone = bench.phone()
    await bench.call(phone)
    phone.say(1)
    await until(lambda: len(bench.page.heard) == 1)
    phone.rtp.sendto(datagram, phone.to)
    phone.say(2)
    await until(lambda: len(bench.page.heard) == 2)
    assert (await bench.router.delete(CALL)).sip_to_wa.dropped == {"malformed": 1}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, phone.to[1]))


async def test_a_first_offer_that_is_refused_leaves_nothing_open(bench: Bench) -> None:
    with pytest.raises(RemoteProtocolError):
        await bench.router.answer_offer(CALL, "v=0\r\n", local_address=HOST)
    assert bench.router.query(CALL) == MediaStats()


async def test_ports_that_others_hold_are_passed_over() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        while True:  # an even port with a free one after it, and the odd one held
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind((HOST, 0))
                low = probe.getsockname()[1] & ~1
            try:
                other.bind((HOST, low + 1))
            except OSError:
                continue
            break
        router = PacketRouter(port_range=(low, low + 1))
        with pytest.raises(Unavailable, match="RTP ports"):
            await router.create_offer(CALL, local_address=HOST)
    offer = await router.create_offer(CALL, local_address=HOST)
    assert parse_sdp(offer).media[0].port == low
    with pytest.raises(Unavailable, match="in use"):
        await router.create_offer(CallId("second"), local_address=HOST)
    await router.delete(CALL)
    with pytest.raises(Unavailable, match="in use"):  # the port rests
        await router.create_offer(CALL, local_address=HOST)


async def test_an_address_that_is_not_ours_is_advertised_all_the_same(bench: Bench) -> None:
    offer = await bench.router.create_offer(CALL, local_address="203.0.113.1")  # the outside of a NAT
    assert parse_sdp(offer).address == "203.0.113.1"
    phone = bench.phone()
    answer, theirs = phone.sdp.answer_offer(offer, phone.local)
    await bench.router.accept_answer(CALL, answer)
    bench.router.connect(CALL, bench.page)
    phone.to = (HOST, theirs.remote[1])
    phone.say(1)
    await until(lambda: len(bench.page.heard) == 1)


async def test_an_address_must_be_one(bench: Bench) -> None:
    with pytest.raises(ConfigError):
        await bench.router.create_offer(CALL, local_address="pbx.example.com")


async def test_the_phones_keys_are_told_once_and_its_audio_is_silent_meanwhile(bench: Bench) -> None:
    phone = bench.phone()
    keys: list[KeyPress] = []
    await bench.offer(phone)
    bench.router.connect(CALL, bench.page, keys.append)
    number = 0

    def say(payload_type: int, payload: bytes, timestamp: int) -> None:
        nonlocal number
        number += 1
        phone.rtp.sendto(build_packet(RtpHeader(payload_type, number, timestamp, 77), payload), phone.to)

    say(0, SOUND, 0)
    for duration in (160, 320, 480, 640):  # audio in between, as some gateways send it
        say(101, PAYLOAD.pack(5, 10, duration), 160)
        say(0, SOUND, duration)
    for _ in range(3):
        say(101, PAYLOAD.pack(5, 0x8A, 800), 160)
    say(101, PAYLOAD.pack(11, 10, 480), 1600)  # its end is lost
    await until(lambda: len(keys) == 2)
    assert keys == [KeyPress("5", 100), KeyPress("#", 60)]
    await until(lambda: len(bench.page.heard) == 5)
    assert [payload_of(data) for data in bench.page.heard] == [SOUND] + [b"\xff" * 160] * 4
    bench.router.mute(CALL, 0)
    assert (bench.stats().sip_to_wa.keys, bench.stats().sip_to_wa.muted) == (2, 4)


async def test_a_call_that_ends_while_a_key_is_held_leaves_nothing_behind(bench: Bench) -> None:
    phone = bench.phone()
    keys: list[KeyPress] = []
    await bench.offer(phone)
    bench.router.connect(CALL, bench.page, keys.append)
    phone.say(1, payload_type=101, payload=PAYLOAD.pack(5, 10, 160))
    await until(lambda: bench.stats().sip_to_wa.packets == 1)
    await bench.router.delete(CALL)
    await asyncio.sleep(0.4)
    assert keys == []


async def test_a_key_spoken_by_the_page_reaches_the_phone_as_an_event(bench: Bench) -> None:
    phone = bench.phone()
    await bench.call(phone)
    samples = array("h", bytes(640)) + tone(frequencies("7"), -20, 1600) + array("h", bytes(3200))
    payload = g711.encode("PCMU", samples)
    for n in range(len(payload) // 160):
        bench.page.speak(n, payload=payload[n * 160 : n * 160 + 160])
    await until(lambda: len(phone.heard) == len(payload) // 160)
    events = [PAYLOAD.unpack(data) for kind, data in heard(phone.heard) if kind == 101]
    assert {code for code, _, _ in events} == {7}
    assert [bool(flags & 0x80) for _, flags, _ in events[-4:]] == [False, True, True, True]
    assert len({parse_header(data).ssrc for data in phone.heard}) == 1
    numbers = [parse_header(data).sequence for data in phone.heard]
    assert [(b - a) & 0xFFFF for a, b in itertools.pairwise(numbers)] == [1] * (len(numbers) - 1)
    assert bench.stats().wa_to_sip.keys == 1


async def test_keys_stay_in_the_audio_for_a_phone_that_takes_no_events(bench: Bench) -> None:
    phone = bench.phone()
    negotiated = await bench.call(phone, change=lambda sdp: sdp.replace(" 101\r\n", "\r\n"))
    assert negotiated.telephone_event is None
    payload = g711.encode("PCMU", tone(frequencies("7"), -20, 1600))
    for n in range(10):
        bench.page.speak(n, payload=payload[n * 160 : n * 160 + 160])
    await until(lambda: len(phone.heard) == 10)
    assert b"".join(data for _, data in heard(phone.heard)) == payload


@pytest.mark.parametrize("ptime_ms", [10, 30, 60])
async def test_packets_have_the_length_that_the_phone_asked_for(bench: Bench, ptime_ms: int) -> None:
    phone = bench.phone()
    await bench.call(phone, change=lambda sdp: f"{sdp}a=ptime:{ptime_ms}\r\n")
    for n in range(6):
        bench.page.speak(n, payload=bytes((n,)) * 160)
    long = bytes(range(240)) * 2
    for n in range(2):
        phone.say(n, payload=long[: 8 * ptime_ms])
    await until(lambda: len(phone.heard) == 120 // ptime_ms and len(bench.page.heard) == 2)
    assert b"".join(data for _, data in heard(phone.heard)) == b"".join(bytes((n,)) * 160 for n in range(6))
    assert {len(data) for _, data in heard(phone.heard)} == {8 * ptime_ms}
    assert [payload_of(data) for data in bench.page.heard] == [long[: 8 * ptime_ms]] * 2


async def test_a_phone_that_changes_the_length_hears_one_stream(bench: Bench) -> None:
    phone = bench.phone()
    await bench.call(phone)
    for n, ptime_ms in enumerate((20, 40, 20)):
        await bench.offer(phone, change=lambda sdp, p=ptime_ms: f"{sdp}a=ptime:{p}\r\n")  # type: ignore[misc]
        for k in range(4):
            bench.page.speak(4 * n + k)
    await until(lambda: len(phone.heard) == 4 + 2 + 4)
    headers = [parse_header(data) for data in phone.heard]
    assert {(b.sequence - a.sequence) & 0xFFFF for a, b in itertools.pairwise(headers)} == {1}
    assert [b.timestamp - a.timestamp for a, b in itertools.pairwise(headers)] == [160] * 4 + [320] * 2 + [160] * 3


async def test_another_codec_in_a_call_is_one_stream_and_the_old_one_passes_a_while(bench: Bench) -> None:
    phone = bench.phone()
    bench.page.payload_types = {"PCMU": 0, "PCMA": 8, "G722": 9, "opus": 111}
    await bench.call(phone)
    for n in range(3):
        bench.page.speak(n)
        phone.say(n)
    await until(lambda: len(phone.heard) == 3 and len(bench.page.heard) == 3)
    wide = phone.sdp.create_offer(phone.local).split("m=audio")[0]
    wide += f"m=audio {phone.local.rtp_port} RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\n"
    answer, negotiated = await bench.router.answer_offer(CALL, wide, local_address=HOST)
    assert "RTP/AVP 96\r\n" in answer
    assert (negotiated.codec, negotiated.payload_type) == ("opus", 96)
    bench.page.speak(3)  # the page has not been told yet
    bench.page.speak(4, payload_type=111, payload=b"\xf8\xff\xfe")
    phone.say(3)  # nor has the phone had the answer
    phone.say(4, payload_type=96, payload=b"\xf8\xff\xfe")
    await until(lambda: len(phone.heard) == 5 and len(bench.page.heard) == 5)
    for packets, last in ((phone.heard, 96), (bench.page.heard, 111)):
        headers = [parse_header(data) for data in packets]
        assert [header.payload_type for header in headers] == [0, 0, 0, 0, last]
        assert len({header.ssrc for header in headers}) == 1
        assert [(b.sequence - a.sequence) & 0xFFFF for a, b in itertools.pairwise(headers)] == [1] * 4
    numbers = itertools.count(5)

    def old_is_over() -> bool:
        bench.page.speak(next(numbers))
        return bench.stats().wa_to_sip.transcoded > 0

    await until(old_is_over)
