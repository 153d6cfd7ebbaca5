"""The two call flows (docs/ARCHITECTURE.md, section 4). Each gives the reason for which the call ended.

A flow never ends a leg itself: `gateway.bridge.call.Call` does, from the
termination, so that the table of who closes whom has one place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from gateway.bridge.call import Call
from gateway.bridge.events import LegEvent, LegEvents, leg_events
from gateway.bridge.sip_leg import SipLeg
from gateway.domain import termination as t
from gateway.domain.errors import PonteError
from gateway.domain.page_call import PageActive, PageCallEvent, PageEnded, PageRinging
from gateway.domain.states import Answered, CallState, Dialed, RemoteRinging
from gateway.domain.termination import Termination
from gateway.page.driver import PageCall, PageDriver
from gateway.protocol.dtmf import parse_info
from gateway.protocol.sip import events as sip
from gateway.protocol.sip.events import Caller
from gateway.sip.call import IncomingInvite
from gateway.sip.endpoint import Endpoint

WHATSAPP_CALL_ID_HEADER = "X-WhatsApp-Call-Id"


async def whatsapp_to_sip(call: Call, page: PageCall, endpoint: Endpoint, extension: str) -> Termination:
    """Offer an incoming WhatsApp call to the PBX; join the two when a phone answers.

    Args:
        call: the call to run.
        page: the ringing call of the page.
        endpoint: the account's SIP side.
        extension: user part of the Request-URI.
    """
    call.page = page
    call.peer_phone = page.peer.phone
    async with leg_events() as events:
        events.add(page)
        local_address = endpoint.local_address_for_server()
        invite = endpoint.invite(
            user=extension,
            sdp=await call.media.offer(local_address),
            caller=Caller(page.peer.phone or "anonymous", page.peer.name or ""),
            headers=[(WHATSAPP_CALL_ID_HEADER, page.page_call_id)],
        )
        call.sip = SipLeg(invite)
        events.add(invite)
        call.enter(Dialed())
        over = await _within(call.limits.ring_timeout_s, _until_phone_answers(call, events), t.NO_ANSWER)
        if over is not None:
            return over
        call.media.connect()
        await call.media.start_page()
        call.page_answered = True
        await page.accept()
        over = await _within(call.limits.accept_timeout_s, _until_page_active(call, events), t.MEDIA_FAILED)
        if over is not None:
            return over
        call.enter(Answered())
        return await _in_call(call, events)


async def sip_to_whatsapp(call: Call, invite: IncomingInvite, driver: PageDriver, number: str) -> Termination:
    """Dial a WhatsApp number for the PBX; answer the INVITE when the person really answers.

    Args:
        call: the call to run.
        invite: the authenticated INVITE.
        driver: the page.
        number: digits of the E.164 number without ``+``.
    """
    call.sip = SipLeg(invite)
    call.peer_phone = number
    async with leg_events() as events:
        events.add(invite)
        late_offer = invite.sdp is None
        if invite.sdp is None:
            sdp = await call.media.offer(invite.local_address)
        else:
            sdp = await call.media.answer(invite.sdp, invite.local_address)
            await call.media.start_page()
        call.enter(Dialed())
        call.page = page = await driver.dial(number)
        events.add(page)
        over = await _within(call.limits.ring_timeout_s, _until_page_active(call, events), t.NO_ANSWER)
        if over is not None:
            return over
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
        return await _in_call(call, events)


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
        event = await _observed(call, events)
        match event:
            case PageEnded(termination=termination):
                return termination
            case sip.Ringing():
                call.enter(RemoteRinging())
            case sip.Answered(sdp=sdp):
                await call.media.accept(sdp)
                return None
            case sip.Failed(status=status):
                return t.from_sip_failure(status)
            case sip.Ended():
                return t.HANGUP
            case _:
                pass


async def _until_page_active(call: Call, events: LegEvents) -> Termination | None:
    while True:
        event = await _observed(call, events)
        match event:
            case PageEnded(termination=termination):
                return termination
            case PageRinging():
                _tell_ringing(call)
            case PageActive():
                return None
            case sip.Cancelled():
                return t.CANCELLED
            case sip.Ended():
                return t.HANGUP
            case sip.ReInvite() as reinvite:
                await _follow(call, reinvite)
            case _:
                pass


async def _in_call(call: Call, events: LegEvents) -> Termination:
    events.own(call.media.keys.run())
    while True:
        event = await _observed(call, events)
        match event:
            case PageEnded(termination=termination):
                return termination
            case sip.Ended() | sip.Cancelled():
                return t.HANGUP
            case sip.ReInvite() as reinvite:
                await _follow(call, reinvite)
            case sip.Info(content_type=content_type, body=body):
                if (key := parse_info(content_type, body)) is not None:
                    call.media.keys.press(key, "info")
            case _:
                pass


async def _observed(call: Call, events: LegEvents) -> LegEvent:
    event = await events.next()
    match event:
        case PageEnded():
            call.page_ended = True
        case PageCallEvent():
            pass
        case _:
            if call.sip is not None:
                call.sip.observe(event)
    return event


def _tell_ringing(call: Call) -> None:
    if call.state is CallState.CONNECTING:
        call.enter(RemoteRinging())
        if call.sip is not None and isinstance(call.sip.call, IncomingInvite):
            call.sip.call.ringing()


async def _follow(call: Call, reinvite: sip.ReInvite) -> None:
    """Answer a re-INVITE: hold, resume, another codec, another address. A bad one leaves the call as it was."""
    if call.sip is None:
        return
    leg = call.sip.call
    try:
        if reinvite.sdp is None:
            ack_sdp = await leg.answer_reinvite(reinvite, await call.media.reoffer(leg.local_address))
            if ack_sdp is not None:
                await call.media.accept(ack_sdp)
        else:
            await leg.answer_reinvite(reinvite, await call.media.answer(reinvite.sdp, leg.local_address))
        await call.media.follow_codec()
    except PonteError as error:
        leg.refuse_reinvite(reinvite, getattr(error, "status", error.sip_status))
