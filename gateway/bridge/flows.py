"""The two call flows (docs/ARCHITECTURE.md, section 4). Each gives the reason for which the call ended.

A flow never ends a leg itself: `gateway.bridge.call.Call` does, from the
termination, so that the table of who closes whom has one place.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Final

from gateway.bridge.call import Call
from gateway.bridge.events import LegEvents, leg_events
from gateway.bridge.in_call import decline, follow, in_call, observed
from gateway.domain import termination as t
from gateway.domain.errors import PonteError
from gateway.domain.page_call import PageActive, PageEnded, PageRinging
from gateway.domain.states import Answered, CallState, Dialed, EarlyMedia, RemoteRinging
from gateway.domain.termination import Termination
from gateway.page.driver import PageCall, PageDriver
from gateway.protocol.sip import events as sip
from gateway.protocol.sip.events import q850_cause
from gateway.sip.call import IncomingInvite
from gateway.sip.endpoint import Endpoint

WHATSAPP_CALL_ID_HEADER = "X-WhatsApp-Call-Id"

_PROOF_S: Final = 1.0  # longer than a test's tone lasts


async def whatsapp_to_sip(call: Call, page: PageCall, endpoint: Endpoint, extension: str) -> Termination:
    """Offer an incoming WhatsApp call to the PBX; join the two when a phone answers.

    Args:
        call: the call to run.
        page: the ringing call of the page.
        endpoint: the account's SIP side.
        extension: user part of the Request-URI.
    """
    call.trace.incoming()
    call.page = page
    async with leg_events() as events:
        events.add(page)
        local_address = endpoint.local_address_for_server()
        invite = endpoint.invite(
            user=extension,
            sdp=await call.media.offer(local_address),
            caller=call.presentation.caller(page.peer.phone, page.peer.name),
            headers=[(WHATSAPP_CALL_ID_HEADER, page.page_call_id)],
        )
        call.sip = call.leg(invite)
        events.add(invite)
        call.enter(Dialed())
        over = await _within(call.limits.ring_timeout_s, _until_phone_answers(call, events), t.NO_ANSWER)
        if over is not None:
            return over
        return await join(call, page, events, endpoint)


async def join(call: Call, page: PageCall, events: LegEvents, endpoint: Endpoint) -> Termination:
    """Answer the WhatsApp call, whose phone has answered, and follow it to its end.

    Args:
        call: the call.
        page: the ringing call of the page.
        events: of both legs.
        endpoint: the account's SIP side, for a transfer.
    """
    call.times.picked_up = datetime.now(UTC)
    await call.media.start_page()  # first: it ends a test of the sound, which the phone must not hear
    call.media.connect()
    call.page_answered = True
    with call.trace.command("accept"):
        await page.accept()
    over = await _within(call.limits.accept_timeout_s, _until_page_active(call, events), t.MEDIA_FAILED)
    if over is not None:
        return over
    call.enter(Answered())
    return await in_call(call, events, endpoint)


async def sip_to_whatsapp(
    call: Call, invite: IncomingInvite, driver: PageDriver, number: str, endpoint: Endpoint
) -> Termination:
    """Dial a WhatsApp number for the PBX; answer the INVITE when the person really answers.

    Args:
        call: the call to run.
        invite: the authenticated INVITE.
        driver: the page.
        number: digits of the E.164 number without ``+``.
        endpoint: the account's SIP side, for a transfer.
    """
    call.sip = call.leg(invite)
    call.diverted = invite.diverted
    async with leg_events() as events:
        events.add(invite)
        late_offer = invite.sdp is None
        if invite.sdp is None:
            sdp = await call.media.offer(invite.local_address, webrtc=invite.by_websocket)
        else:
            sdp = await call.media.answer(invite.sdp, invite.local_address)
        call.enter(Dialed())
        with call.trace.command("dial"):
            call.page = page = await driver.dial(number)
        events.add(page)
        if not late_offer:
            events.own(_start_page(call))
        over = await _within(call.limits.ring_timeout_s, _until_page_active(call, events), t.NO_ANSWER)
        if over is not None:
            return over
        if late_offer:
            await _within(_PROOF_S, _proven(call), t.MEDIA_FAILED)  # the phone must hear nothing of it
        else:
            await call.media.ensure_page()
        call.media.connect()
        # From here on the leg wants a BYE, also while its ACK is under way.
        call.sip.answered = True
        ack_sdp = await invite.answer(sdp)
        if late_offer:
            if ack_sdp is None:
                return t.BAD_MEDIA
            await call.media.accept(ack_sdp)
            await call.media.start_page()
        call.enter(Answered())
        return await in_call(call, events, endpoint)


async def _start_page(call: Call) -> None:
    """Have the page's audio ready for the answer, as soon as a test of its sound is over, which this would end."""
    await call.proven.wait()
    with contextlib.suppress(PonteError):  # at the answer it is tried again, and then told
        await call.media.ensure_page()


async def _proven(call: Call) -> None:
    await call.proven.wait()


async def click_to_call(call: Call, extension: str, driver: PageDriver, number: str, endpoint: Endpoint) -> Termination:
    """Ring a phone by the PBX; dial WhatsApp when it answers.

    Args:
        call: the call to run.
        extension: user part of the Request-URI.
        driver: the page.
        number: digits of the E.164 number without ``+``.
        endpoint: the account's SIP side.
    """
    async with leg_events() as events:
        local_address = endpoint.local_address_for_server()
        invite = endpoint.invite(
            user=extension,
            sdp=await call.media.offer(local_address),
            caller=call.presentation.caller(number, None),
        )
        call.sip = call.leg(invite)
        events.add(invite)
        call.enter(Dialed())
        over = await _within(call.limits.ring_timeout_s, _until_phone_answers(call, events), t.NO_ANSWER)
        if over is not None:
            return over
        return await dial_on(call, events, driver, number, endpoint)


async def dial_on(call: Call, events: LegEvents, driver: PageDriver, number: str, endpoint: Endpoint) -> Termination:
    """Dial WhatsApp for a phone that has answered, and follow the call to its end.

    Args:
        call: the call.
        events: of the phone's leg.
        driver: the page.
        number: digits of the E.164 number without ``+``.
        endpoint: the account's SIP side, for a transfer.
    """
    call.times.picked_up = datetime.now(UTC)
    await call.media.start_page()
    call.media.connect()
    try:
        with call.trace.command("dial"):
            call.page = page = await driver.dial(number)
    except PonteError as refused:
        await _tell_failure(call, events, call.explain(refused))
        raise
    events.add(page)
    waiting = _until_page_active(call, events, ringing=call.tones.ringing)
    over = await _within(call.limits.ring_timeout_s, waiting, t.NO_ANSWER)
    if over is not None:
        await _tell_failure(call, events, over)
        return over
    call.media.play("")
    call.enter(Answered())
    return await in_call(call, events, endpoint)


async def _tell_failure(call: Call, events: LegEvents, why: Termination) -> None:
    """Let the phone that waits hear that WhatsApp's call came to nothing, until it is hung up."""
    call.media.play("")
    tone = call.tones.of(why)
    if not tone or call.sip is None or call.sip.ended:
        return
    events.own(call.hang_up_page())  # what still rings there must not be answered now
    call.media.play(tone)
    await _within(call.tones.failure_s, _until_phone_is_gone(call, events), why)
    call.media.play("")


async def _until_phone_is_gone(call: Call, events: LegEvents) -> None:
    while call.sip is not None and not call.sip.ended:
        event = await observed(call, events)
        if isinstance(event, sip.ReInvite):
            await follow(call, event)
        else:
            decline(call, event)


async def _within(
    timeout_s: float, waiting: Awaitable[Termination | None], too_late: Termination
) -> Termination | None:
    """Wait, at most *timeout_s*; give *too_late* where that was not enough."""
    try:
        async with asyncio.timeout(timeout_s):
            return await waiting
    except TimeoutError:
        return too_late


async def _until_phone_answers(call: Call, events: LegEvents) -> Termination | None:
    while True:
        event = await observed(call, events)
        match event:
            case PageEnded(termination=termination):
                return termination
            case sip.Ringing(sdp=sdp):
                # WhatsApp has no audio before its call is accepted: what the PBX plays meanwhile is heard by nobody
                call.enter(RemoteRinging() if sdp is None else EarlyMedia())
            case sip.Answered(sdp=sdp):
                await call.media.accept(sdp)
                return None
            case sip.Failed(status=status, reason=reason):
                return t.from_sip_failure(status, q850_cause(reason))
            case sip.Ended():
                return t.HANGUP
            case _:
                pass


async def _until_page_active(call: Call, events: LegEvents, ringing: str = "") -> Termination | None:
    """Wait for the person's answer; a phone that has answered hears *ringing* while the person's rings."""
    while True:
        event = await observed(call, events)
        match event:
            case PageEnded(termination=termination):
                return termination
            case PageRinging():
                _tell_ringing(call)
                call.media.play(ringing)
            case PageActive():
                return None
            case sip.Cancelled():
                return t.CANCELLED
            case sip.Ended():
                return t.HANGUP
            case sip.ReInvite() as reinvite:
                await follow(call, reinvite)
            case _:
                decline(call, event)


def _tell_ringing(call: Call) -> None:
    if call.state is CallState.CONNECTING:
        call.enter(RemoteRinging())
        if call.sip is not None and isinstance(call.sip.call, IncomingInvite):
            call.sip.call.ringing()
