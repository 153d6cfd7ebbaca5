"""What every backend of the media plane does, whichever process or server its packets go through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from gateway.codecs.g711 import decode
from gateway.domain.errors import LocalProtocolError, RemoteProtocolError, Unavailable
from gateway.domain.ids import CallId
from gateway.media.page_side import LegState, PageSide
from gateway.media.plane import MediaPlane, MediaStats, NoCommonCodec
from gateway.protocol.dtmf import KeyPress
from tests.support.audio import level_dbfs, tone_hz
from tests.support.far_end import HOST, PAGE_SAYS, SILENCE, SIP_SAYS, FarEnd, call_up, far_end, until
from tests.support.planes import PLANES

pytestmark = pytest.mark.integration

CALL = CallId("one")


@pytest.fixture(params=list(PLANES))
async def plane(request: pytest.FixtureRequest) -> AsyncIterator[MediaPlane]:
    # fixtures begin and end in different tasks, which a task group does not take
    opened: asyncio.Future[MediaPlane] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def hold() -> None:
        async with PLANES[request.param]() as one:
            opened.set_result(one)
            await done.wait()

    async with asyncio.TaskGroup() as group:
        holding = group.create_task(hold())
        holding.add_done_callback(lambda _: opened.done() or opened.cancel())
        yield await opened
        done.set()


@pytest.fixture
async def far() -> AsyncIterator[FarEnd]:
    async with far_end() as one:
        yield one


@pytest.fixture
async def side(plane: MediaPlane, far: FarEnd) -> AsyncIterator[PageSide]:
    """A page that is connected, and an end of it that speaks."""
    one = plane.page_side()
    assert not one.connected
    leg = await far.connect_page(one)
    assert (leg.state, one.connected) == (LegState.CONNECTED, True)
    await far.talk()
    yield one
    await leg.close()
    one.close()


async def both_hear(far: FarEnd) -> None:
    far.sip_heard.clear()
    far.page_heard.clear()
    await until(lambda: any(one.payload == PAGE_SAYS for one in far.sip_heard), "the page is heard")
    await until(lambda: any(one.payload == SIP_SAYS for one in far.page_heard), "the phone is heard")


async def test_both_hear_each_other_whoever_offers(plane: MediaPlane, far: FarEnd, side: PageSide) -> None:
    await call_up(plane, far, CALL, side)
    await both_hear(far)
    await until(lambda: plane.query(CALL).sip_to_wa.passed > 0, "figures")
    stats = await plane.delete(CALL)
    assert stats.wa_to_sip.passed > 0
    assert stats.sip_to_wa.passed >= len(far.page_heard) > 0
    assert stats.last_rtp_s is not None
    assert plane.query(CALL) == MediaStats()

    other = CallId("two")
    answer, negotiated = await plane.answer_offer(other, far.offer(), local_address=HOST, page=side)
    assert negotiated.codec == "PCMU"
    far.accept(answer)
    plane.connect(other, side)
    await both_hear(far)
    await plane.delete(other)


async def test_a_hold_and_an_offer_of_ours_in_the_call(plane: MediaPlane, far: FarEnd, side: PageSide) -> None:
    await call_up(plane, far, CALL, side)
    offer = far.offer()
    assert "a=sendrecv" in offer
    answer, negotiated = await plane.answer_offer(CALL, offer.replace("a=sendrecv", "a=sendonly"), local_address=HOST)
    assert negotiated.direction == "recvonly"
    far.accept(answer)
    offer = await plane.reoffer(CALL, local_address=HOST)
    assert (await plane.accept_answer(CALL, far.answer(offer))).direction == "sendrecv"
    await both_hear(far)
    await plane.delete(CALL)


async def test_directions_are_silenced(plane: MediaPlane, far: FarEnd, side: PageSide) -> None:
    await call_up(plane, far, CALL, side)
    await both_hear(far)
    plane.silence(CALL, wa_to_sip=True, sip_to_wa=False)
    await until(lambda: far.sip_heard[-1].payload == SILENCE, "silence towards the phone")
    assert far.page_heard[-1].payload == SIP_SAYS
    plane.silence(CALL, wa_to_sip=False, sip_to_wa=False)
    plane.mute(CALL, 0.5)
    await until(lambda: far.page_heard[-1].payload == SILENCE, "silence towards the page")
    await both_hear(far)
    await plane.delete(CALL)


async def test_keys_of_the_phone_are_told(plane: MediaPlane, far: FarEnd, side: PageSide) -> None:
    keys: list[KeyPress] = []
    await call_up(plane, far, CALL, side, on_key=keys.append)
    await both_hear(far)
    durations = [160 * n for n in range(1, 6)]
    far.events_due = [
        *(bytes([5, 10]) + duration.to_bytes(2, "big") for duration in durations),
        *[bytes([5, 0x8A]) + (960).to_bytes(2, "big")] * 3,
    ]
    await until(lambda: keys, "the key")
    assert keys == [KeyPress("5", 120)]
    await plane.delete(CALL)


async def test_a_leg_is_replaced_in_the_call(plane: MediaPlane, far: FarEnd) -> None:
    side = plane.page_side()
    first = await far.connect_page(side)
    states: list[LegState] = []
    first.on_state = states.append
    await far.talk()
    await call_up(plane, far, CALL, side)
    await both_hear(far)
    await far.close_page()
    await until(lambda: states, "the end of the leg")
    assert states[0] in {LegState.CLOSED, LegState.FAILED}
    side.use(None)
    assert not side.connected
    await first.close()
    second = await far.connect_page(side)
    await both_hear(far)
    await plane.delete(CALL)
    await second.close()
    assert second.state is LegState.CLOSED
    await second.close()
    side.close()


async def test_what_cannot_be_is_refused_and_changes_nothing(plane: MediaPlane, far: FarEnd, side: PageSide) -> None:
    with pytest.raises(RemoteProtocolError):
        await plane.answer_offer(CALL, "nonsense", local_address=HOST, page=side)
    offer = far.offer().replace("RTP/AVP 0", "RTP/AVP 18").replace("PCMU/8000", "G729/8000")
    with pytest.raises(NoCommonCodec) as refused:
        await plane.answer_offer(CALL, offer, local_address=HOST, page=side)
    assert refused.value.status == 488
    with pytest.raises(LocalProtocolError):
        await plane.accept_answer(CALL, "v=0")
    with pytest.raises(LocalProtocolError):
        plane.connect(CALL, side)
    assert await plane.delete(CALL) == MediaStats()
    await call_up(plane, far, CALL, side)
    with pytest.raises(RemoteProtocolError):
        await plane.answer_offer(CALL, "nonsense", local_address=HOST)
    await both_hear(far)
    await plane.delete(CALL)


async def test_a_leg_makes_one_offer_and_fails_alone(plane: MediaPlane, far: FarEnd) -> None:
    side = plane.page_side()
    leg = side.new_leg(addresses=[HOST], connect_timeout_s=0.3)
    with pytest.raises(LocalProtocolError):
        await leg.accept("v=0")
    offer = await leg.offer()
    with pytest.raises(LocalProtocolError):
        await leg.offer()
    with pytest.raises(RemoteProtocolError):
        await leg.accept("v=0")
    answer = (await far.answer_page(offer)).replace("a=candidate", "a=x")
    await far.close_page()
    with pytest.raises(Unavailable):  # nobody is there
        await leg.accept(answer)
    assert leg.state is LegState.FAILED
    await leg.close()

    leg = side.new_leg(addresses=[HOST], connect_timeout_s=30)
    accepting = asyncio.ensure_future(leg.accept(await far.answer_page(await leg.offer())))
    await asyncio.sleep(0)
    accepting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await accepting
    await leg.close()
    assert leg.state in {LegState.FAILED, LegState.CLOSED}
    assert not side.connected
    side.close()


async def test_the_phone_hears_a_tone_in_place_of_the_page_which_hears_nothing_of_it(
    plane: MediaPlane, far: FarEnd, side: PageSide
) -> None:
    await call_up(plane, far, CALL, side)
    await both_hear(far)
    plane.play(CALL, "425/400,0/200")
    await until(lambda: all(one.payload != PAGE_SAYS for one in far.sip_heard[-20:]), "the tone alone")
    far.sip_heard.clear()
    far.page_heard.clear()
    await until(lambda: len(far.sip_heard) > 45, "a turn of its rhythm")
    sound = decode("PCMU", b"".join(one.payload for one in far.sip_heard))
    heard = np.array(sound, dtype=np.float64) / 32768
    loud = [level_dbfs(heard[at : at + 160]) > -40 for at in range(0, len(heard), 160)]
    assert 0.4 < sum(loud) / len(loud) < 0.95
    begins = next(n for n in range(1, len(loud)) if loud[n] and not loud[n - 1])
    assert abs(tone_hz(heard[160 * begins : 160 * begins + 2400], 8000) - 425) < 8
    assert {one.payload for one in far.page_heard} <= {SIP_SAYS}
    plane.play(CALL, "")
    await both_hear(far)
    await until(lambda: all(one.payload == PAGE_SAYS for one in far.sip_heard[-20:]), "the page alone")
    await plane.delete(CALL)
