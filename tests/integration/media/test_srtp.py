"""SRTP and rtcp-mux towards real UDP peers, with libsrtp at the far end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from pylibsrtp import Policy, Session

from gateway.media.plane import Negotiated
from gateway.media.router import PacketRouter
from gateway.media.srtp import SrtpGuard
from gateway.protocol.rtcp import ReceiverReport, SenderReport, build_compound, parse_compound
from gateway.protocol.rtp import parse_header, payload_of
from gateway.protocol.sdp import SdpSession
from gateway.protocol.sdp.crypto import KEY_BYTES, Crypto, CryptoPair
from tests.integration.media.test_router import CALL, HOST, SOUND, Bench, Phone, packet, until

pytestmark = pytest.mark.integration

PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.router.close()
    for phone in bench.phones:
        phone.close()


class Sealed:
    """The far end's two SRTP contexts, made without the product's code."""

    def __init__(self, pair: CryptoPair) -> None:
        def session(crypto: Crypto, ssrc_type: int) -> Session:
            return Session(Policy(key=crypto.key, ssrc_type=ssrc_type, srtp_profile=PROFILES[crypto.suite]))

        self.out = session(pair.ours, Policy.SSRC_ANY_OUTBOUND)
        self.into = session(pair.theirs, Policy.SSRC_ANY_INBOUND)


async def secure_call(bench: Bench, suite: str, *, mux: bool = False) -> tuple[Phone, Sealed, Negotiated]:
    """The phone offers SRTP with one suite."""
    phone = bench.phone()
    phone.sdp = SdpSession(9, secure=True)

    def change(text: str) -> str:
        kept = [line for line in text.split("\r\n") if not line.startswith("a=crypto") or suite in line]
        return "\r\n".join([*kept[:-1], *(["a=rtcp-mux"] if mux else []), ""])

    text = change(phone.sdp.create_offer(phone.local))
    answer, negotiated = await bench.router.answer_offer(CALL, text, local_address=HOST)
    bench.router.connect(CALL, bench.page)
    agreed = phone.sdp.accept_answer(answer)
    phone.to = agreed.remote
    assert agreed.crypto is not None
    return phone, Sealed(agreed.crypto), negotiated


@pytest.mark.parametrize("suite", list(KEY_BYTES))
async def test_audio_and_reports_pass_sealed(bench: Bench, suite: str) -> None:
    phone, sealed, negotiated = await secure_call(bench, suite)
    assert negotiated.crypto is not None
    assert negotiated.crypto.ours.suite == suite
    for n in range(5):
        phone.rtp.sendto(sealed.out.protect(packet(n, payload=bytes((n,)) * 160)), phone.to)
        bench.page.speak(100 + n, payload=bytes((200 + n,)) * 160)
    await until(lambda: len(bench.page.heard) == 5 and len(phone.heard) == 5)
    assert [payload_of(data) for data in bench.page.heard] == [bytes((n,)) * 160 for n in range(5)]
    assert all(SOUND[:32] not in data for data in phone.heard)
    opened = [sealed.into.unprotect(data) for data in phone.heard]
    assert [payload_of(data) for data in opened] == [bytes((200 + n,)) * 160 for n in range(5)]
    await until(lambda: bool(phone.reports))
    report = parse_compound(sealed.into.unprotect_rtcp(phone.reports[-1]))
    assert isinstance(report[0], SenderReport)
    ours = parse_header(opened[0]).ssrc
    phone.report(sealed.out.protect_rtcp(build_compound([ReceiverReport(77, ())])))
    phone.report(build_compound([ReceiverReport(77, ())]))  # in the clear: not believed
    await until(lambda: bench.stats().sip_to_wa.dropped.get("srtp_failed") == 1)
    assert ours == report[0].ssrc


async def test_what_is_plain_forged_or_repeated_is_dropped_and_locks_nothing(bench: Bench) -> None:
    phone, sealed, _ = await secure_call(bench, "AES_CM_128_HMAC_SHA1_80")
    stranger = bench.phone()
    stranger.to = phone.to
    for n in range(20):
        stranger.say(n)
    phone.say(1)
    good = sealed.out.protect(packet(2))
    phone.rtp.sendto(good[:-1] + bytes([good[-1] ^ 1]), phone.to)
    phone.rtp.sendto(good, phone.to)
    phone.rtp.sendto(good, phone.to)
    await until(lambda: bench.stats().sip_to_wa.dropped.get("srtp_failed") == 23)
    await until(lambda: len(bench.page.heard) == 1)
    assert bench.stats().source_moves == 0


async def test_hold_and_resume_keep_the_keys_in_step(bench: Bench) -> None:
    phone, sealed, before = await secure_call(bench, "AES_CM_128_HMAC_SHA1_80")
    bench.page.speak(1)
    await until(lambda: len(phone.heard) == 1)
    for direction in ("sendonly", "sendrecv"):
        text = phone.sdp.create_offer(phone.local, direction)
        answer, after = await bench.router.answer_offer(CALL, text, local_address=HOST)
        phone.sdp.accept_answer(answer)
        assert after.crypto == before.crypto
    bench.page.speak(2)
    await until(lambda: len(phone.heard) == 2)
    assert [payload_of(sealed.into.unprotect(data)) for data in phone.heard] == [SOUND, SOUND]


async def test_our_offer_of_srtp(bench: Bench) -> None:
    router = PacketRouter(rtcp_interval_s=0.1, port_rest_s=0.2, offer_srtp=True)
    phone = bench.phone()
    try:
        answer, agreed = phone.sdp.answer_offer(await router.create_offer(CALL, local_address=HOST), phone.local)
        await router.accept_answer(CALL, answer)
        router.connect(CALL, bench.page)
        assert agreed.crypto is not None
        sealed = Sealed(agreed.crypto)
        phone.rtp.sendto(sealed.out.protect(packet(1)), agreed.remote)
        bench.page.speak(1)
        await until(lambda: len(bench.page.heard) == 1 and len(phone.heard) == 1)
        assert payload_of(sealed.into.unprotect(phone.heard[0])) == SOUND
    finally:
        await router.close()


async def test_rtcp_on_the_port_of_rtp(bench: Bench) -> None:
    phone, sealed, negotiated = await secure_call(bench, "AES_CM_128_HMAC_SHA1_80", mux=True)
    assert negotiated.rtcp_mux
    phone.rtp.sendto(sealed.out.protect_rtcp(build_compound([ReceiverReport(77, ())])), phone.to)
    phone.rtp.sendto(sealed.out.protect(packet(1)), phone.to)
    phone.rtp.sendto(sealed.out.protect_rtcp(build_compound([ReceiverReport(77, ())])), phone.to)
    await until(lambda: len(bench.page.heard) == 1 and bool(phone.heard))
    assert isinstance(parse_compound(sealed.into.unprotect_rtcp(phone.heard[0]))[0], (ReceiverReport, SenderReport))
    await asyncio.sleep(0.15)
    assert phone.reports == []
    assert dict(bench.stats().sip_to_wa.dropped) == {}


def test_a_key_that_comes_back_does_not_repeat_its_key_stream() -> None:
    suites = list(KEY_BYTES)
    one = CryptoPair(Crypto(1, suites[0], bytes(range(30))), Crypto(1, suites[0], bytes(30)))
    other = CryptoPair(Crypto(1, suites[1], bytes(range(1, 31))), Crypto(1, suites[1], bytes(30)))
    guard = SrtpGuard(one)
    assert guard.protect(packet(65_535)) is not None
    first = guard.protect(packet(65_536))  # the counter rolls over
    guard.follow(other)
    assert guard.protect(packet(65_537)) is not None
    guard.follow(one)
    assert guard.protect(packet(65_536)) is None  # known to be a repetition: the counter went on
    assert guard.protect(packet(65_538)) is not None
    assert first is not None
    assert guard.protect(bytes(1400)) is None
