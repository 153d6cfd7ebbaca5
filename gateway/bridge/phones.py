"""Calls for the phones that registered with us: all ring, the first that answers has the call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from gateway.bridge.call import Call
from gateway.bridge.control import Transfer
from gateway.bridge.events import LegEvents, leg_events
from gateway.bridge.flows import WHATSAPP_CALL_ID_HEADER, dial_on, join
from gateway.bridge.sip_leg import SipLeg
from gateway.domain import termination as t
from gateway.domain.errors import PonteError
from gateway.domain.ids import CallId
from gateway.domain.page_call import PageCallEvent, PageEnded
from gateway.domain.states import CallState, Dialed, RemoteRinging
from gateway.domain.termination import Termination
from gateway.page.driver import PageCall, PageDriver
from gateway.protocol.sip import events as sip
from gateway.protocol.sip.events import Caller
from gateway.protocol.sip.registrar import Binding
from gateway.sip.endpoint import Endpoint

_log = structlog.get_logger("ponte.phones")


@dataclass(frozen=True, slots=True)
class _Ringing:
    """One phone that rings.

    Attributes:
        leg: its SIP call.
        media: the name of its media.
    """

    leg: SipLeg
    media: CallId


async def whatsapp_to_phones(call: Call, page: PageCall, endpoint: Endpoint, phones: Sequence[Binding]) -> Termination:
    """Ring *phones* for an incoming WhatsApp call; join the two when one answers, and let the others know.

    Args:
        call: the call to run.
        page: the ringing call of the page.
        endpoint: the account's SIP side.
        phones: those that are registered there; at least one.
    """
    call.trace.incoming()
    call.page = page
    async with leg_events() as events:
        events.add(page)
        caller = call.presentation.caller(page.peer.phone, page.peer.name)
        header = (WHATSAPP_CALL_ID_HEADER, page.page_call_id)
        over = await _first_of(call, phones, endpoint, events, caller, [header])
        return over or await join(call, page, events, endpoint)


async def click_to_phones(
    call: Call, endpoint: Endpoint, phones: Sequence[Binding], driver: PageDriver, number: str
) -> Termination:
    """Ring *phones*; dial WhatsApp when one answers.

    Args:
        call: the call to run.
        endpoint: the account's SIP side.
        phones: those that are registered there; at least one.
        driver: the page.
        number: digits of the E.164 number without ``+``.
    """
    async with leg_events() as events:
        caller = call.presentation.caller(number, None)
        over = await _first_of(call, phones, endpoint, events, caller, [])
        return over or await dial_on(call, events, driver, number, endpoint)


async def _first_of(
    call: Call, phones: Sequence[Binding], endpoint: Endpoint, events: LegEvents, caller: Caller,
    headers: Sequence[tuple[str, str]],
) -> Termination | None:  # fmt: skip
    """Ring *phones* and make the one that answers first the call's leg; else return why there is none."""
    ringing = await _ring(call, phones, endpoint, events, caller, headers)
    call.enter(Dialed())
    try:
        async with asyncio.timeout(call.limits.ring_timeout_s):
            winner = await _until_one_answers(call, events, ringing)
    except TimeoutError:
        return t.NO_ANSWER
    if isinstance(winner, Termination):
        return winner
    call.sip, losers = winner.leg, [one for one in call.ringing if one is not winner.leg]
    call.ringing = []
    for loser in losers:
        events.own(_tell_elsewhere(call, loser))
    return None


async def _ring(
    call: Call, phones: Sequence[Binding], endpoint: Endpoint, events: LegEvents, caller: Caller,
    headers: Sequence[tuple[str, str]],
) -> list[_Ringing]:  # fmt: skip
    """Send an INVITE to each phone; one whose media cannot be had is left out.

    Raises:
        PonteError: none could be rung.
    """
    ringing: list[_Ringing] = []
    fault: PonteError | None = None
    for phone in phones:
        try:
            # a phone on a WebSocket is a browser
            media, sdp = await call.media.offer_ringing(phone.flow.local[0], webrtc=phone.flow.is_websocket)
            invite = endpoint.ring(phone, sdp=sdp, caller=caller, headers=headers)
        except PonteError as error:
            _log.warning("phone_not_rung", error=str(error), code=error.code)
            fault = error
            continue
        leg = call.leg(invite)
        ringing.append(_Ringing(leg, media))
        call.ringing.append(leg)
        events.add(invite)
    if fault is not None and not ringing:
        raise fault
    return ringing


async def _until_one_answers(call: Call, events: LegEvents, ringing: list[_Ringing]) -> _Ringing | Termination:
    """Return the phone that answered first, its media agreed on; or why there is none."""
    waiting = {one.leg.call: one for one in ringing}
    failures: list[int] = []
    while waiting:
        source, event = await events.next()
        if isinstance(event, PageCallEvent):
            call.trace.page(event)
            if isinstance(event, PageEnded):
                call.page_ended = True
                return event.termination
            continue
        phone = next((one for leg, one in waiting.items() if leg is source), None)
        if phone is None or isinstance(event, Transfer):
            continue
        phone.leg.observe(event)
        match event:
            case sip.Ringing() if call.state is CallState.CONNECTING:
                call.enter(RemoteRinging())
            case sip.Answered(sdp=sdp):
                try:
                    await call.media.take_ringing(phone.media, sdp)
                except PonteError as error:
                    _log.info("phone_answer_not_taken", code=error.code)
                    del waiting[phone.leg.call]
                    failures.append(488)
                    events.own(_hang_up(call, phone.leg))
                else:
                    return phone
            case sip.Failed(status=status):
                if status >= 600:  # RFC 3261 section 21.6: nobody else need be asked
                    return t.from_sip_failure(status)
                del waiting[phone.leg.call]
                failures.append(status)
            case sip.Ended():
                del waiting[phone.leg.call]
                failures.append(480)
            case _:
                pass
    return t.from_sip_failure(_worst(failures))


def _worst(failures: Sequence[int]) -> int:
    """Return the status that says most of why no phone answered: a person's word before a fault."""
    return next((status for status in (486, 480, 408) if status in failures), failures[-1] if failures else 480)


async def _tell_elsewhere(call: Call, leg: SipLeg) -> None:
    await call.bounded("ringing", leg.close(t.ELSEWHERE))


async def _hang_up(call: Call, leg: SipLeg) -> None:
    await call.bounded("ringing", leg.close(t.BAD_MEDIA))
