"""What happens in a call that is up: its end, changes of its media, and its transfer to another SIP leg."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

import structlog

from gateway.bridge.call import Call
from gateway.bridge.control import Transfer, TransferState
from gateway.bridge.events import LegEvent, LegEvents
from gateway.bridge.sip_leg import SipLeg
from gateway.bridge.watchdog import watch
from gateway.domain import termination as t
from gateway.domain.errors import PonteError
from gateway.domain.page_call import PageCallEvent, PageEnded
from gateway.domain.termination import Termination
from gateway.protocol.dtmf import parse_info
from gateway.protocol.sip import events as sip
from gateway.protocol.sip.events import Reason, q850_cause
from gateway.sip.call import CallEvent, IncomingInvite, OutgoingInvite, Replaced
from gateway.sip.endpoint import Endpoint

_log = structlog.get_logger("ponte.transfer")


@dataclass(frozen=True, slots=True)
class OtherLeg:
    """An event of the leg beside the call's own: the one that a transfer rings, or the one that it left."""

    event: CallEvent


async def observed(call: Call, events: LegEvents) -> LegEvent | OtherLeg:
    """Wait for the next event and note what it says of its leg."""
    while True:
        leg, event = await events.next()
        if isinstance(event, PageCallEvent):
            call.trace.page(event)
            call.page_ended = call.page_ended or isinstance(event, PageEnded)
            return event
        if isinstance(event, Transfer):
            return event
        if call.sip is not None and leg is call.sip.call:
            call.sip.observe(event)
            return event
        if call.other is not None and leg is call.other.call:
            call.other.observe(event)
            return OtherLeg(event)


async def in_call(call: Call, events: LegEvents, endpoint: Endpoint) -> Termination:
    """Follow a call until it ends.

    Args:
        call: the call.
        events: of its legs.
        endpoint: the account's SIP side, which places the call of a transfer.
    """
    events.own(call.media.keys.run())
    events.add(call.control)
    events.own(watch(call))
    events.own(_hang_up_without_media(call))
    while True:
        event = await observed(call, events)
        over: Termination | None = None
        match event:
            case PageEnded(termination=termination):
                return termination
            case sip.Ended(reason=Reason(protocol="SIP", cause=408 | 481)):
                return t.PHONE_LOST  # no answer to a refresh of the session, or none came
            case sip.Ended(reason=reason) | sip.Cancelled(reason=reason):
                return call.media.lost_by if call.media.lost.is_set() else t.hung_up(q850_cause(reason))
            case sip.ReInvite() as reinvite:
                await follow(call, reinvite)
            case sip.Info(content_type=content_type, body=body):
                if (key := parse_info(content_type, body)) is not None:
                    call.media.keys.press(key, "info")
            case sip.Refer() as refer:
                over = await _transfer(call, events, refer, endpoint)
            case Transfer() as wanted:
                before = call.sip
                over = await _transfer(call, events, wanted.refer(), endpoint)
                wanted.state = TransferState.FAILED if call.sip is before else TransferState.DONE
            case Replaced(invite=invite):
                await _take_over(call, events, invite)
            case _:
                pass
        if over is not None:
            return over


async def _hang_up_without_media(call: Call) -> None:
    """Wait until the SIP side's media is lost, then end that leg; its event ends the call."""
    await call.media.lost.wait()
    if call.sip is not None and not call.sip.ended:
        lost_by = call.media.lost_by
        reason = Reason("Q.850", lost_by.q850_cause or 0, lost_by.text)
        await call.sip.call.bye(reason)


async def follow(call: Call, reinvite: sip.ReInvite) -> None:
    """Answer a re-INVITE: hold, resume, another codec, another address. A bad one leaves the call as it was."""
    if call.sip is None:
        return
    leg = call.sip.call
    try:
        if reinvite.sdp is None:
            ack_sdp = await leg.answer_reinvite(reinvite, await call.media.reoffer(leg.local_address))
            if ack_sdp is not None:
                await call.media.accept(ack_sdp)
                await call.media.follow_codec()
        else:
            answer = await call.media.answer(reinvite.sdp, leg.local_address)
            # Before the peer has the answer and may send another codec: the page then has both ears open.
            await call.media.follow_codec()
            await leg.answer_reinvite(reinvite, answer)
    except PonteError as error:
        leg.refuse_reinvite(reinvite, getattr(error, "status", error.sip_status))


def decline(call: Call, event: LegEvent | OtherLeg) -> None:
    """Refuse to move the call now: it is not wholly up yet, or is being moved already."""
    match event:
        case sip.Refer() as refer if call.sip is not None:
            call.sip.call.refer_progress(refer, 491)
        case Replaced(invite=invite):
            invite.reject(491)
        case Transfer() as wanted:
            wanted.state = TransferState.FAILED
        case _:
            pass


async def _transfer(call: Call, events: LegEvents, refer: sip.Refer, endpoint: Endpoint) -> Termination | None:
    """Call whom the PBX names and put that phone in the place of the one that asked (RFC 3515).

    Until the new phone answers, the old leg stays as it is; the PBX may hang it up at once, as it does after a blind
    transfer, and then the WhatsApp side waits for the new phone alone.

    Returns:
        How the call ended; None when it goes on, with the new phone or, where that cannot be had, with the old one.
    """
    old = call.sip
    assert old is not None
    try:
        address = endpoint.local_address_for_server()
        headers = [("Replaces", refer.replaces)] if refer.replaces else []
        headers += [("Referred-By", refer.referred_by)] if refer.referred_by else []
        invite = endpoint.invite(
            uri=refer.uri,
            sdp=await call.media.offer_beside(address),
            caller=call.presentation.caller(call.peer.phone, call.peer.name),
            headers=headers,
        )
    except PonteError as error:
        _log.info("transfer_not_placed", code=error.code)
        old.call.refer_progress(refer, error.sip_status)
        return None
    call.other = call.leg(invite)
    events.add(invite)
    _log.info("transfer_started", attended=bool(refer.replaces))
    try:
        async with asyncio.timeout(call.limits.ring_timeout_s) as limit:
            events.own(_until_media_is_lost(call, limit))
            over = await _until_target_answers(call, events, refer, old)
    except TimeoutError:
        over = t.NO_ANSWER
    if over is None:
        try:
            await _move_to(call, invite)
        except PonteError:
            over = t.BAD_MEDIA
    lost = call.media.lost.is_set()
    if lost:
        over = call.media.lost_by
    if over is None:
        old.call.refer_progress(refer, 200)
        _log.info("transfer_done")
        await _leave(call, old)
        return None
    status = over.sip_status or 487
    _log.info("transfer_failed", status=status)
    old.call.refer_progress(refer, status)
    await call.media.drop_beside()
    await _leave(call, call.other)
    return over if old.ended or call.page_ended or lost else None


async def _until_media_is_lost(call: Call, limit: asyncio.Timeout) -> None:
    """Let *limit* end then: there is nothing left to be transferred."""
    await call.media.lost.wait()
    with contextlib.suppress(RuntimeError):  # the transfer was over before
        limit.reschedule(asyncio.get_running_loop().time())


async def _until_target_answers(call: Call, events: LegEvents, refer: sip.Refer, old: SipLeg) -> Termination | None:
    """Wait for the new phone; None when it answered and its answer is taken."""
    while True:
        event = await observed(call, events)
        match event:
            case PageEnded(termination=termination):
                return termination
            case OtherLeg(event=sip.Ringing(status=status)):
                old.call.refer_progress(refer, status)
            case OtherLeg(event=sip.Answered(sdp=sdp)):
                try:
                    await call.media.accept_beside(sdp)
                except PonteError:
                    return t.BAD_MEDIA
                return None
            case OtherLeg(event=sip.Failed(status=status, reason=reason)):
                return t.from_sip_failure(status, q850_cause(reason))
            case OtherLeg(event=sip.Ended()):
                return t.HANGUP
            case sip.ReInvite() as reinvite:
                await follow(call, reinvite)
            case _:
                decline(call, event)


async def _move_to(call: Call, target: IncomingInvite | OutgoingInvite) -> None:
    """Make the leg beside the call's own."""
    assert call.other is not None
    assert call.other.call is target
    await call.media.move_beside()
    call.sip, call.other = call.other, call.sip
    await call.media.follow_codec()


async def _leave(call: Call, leg: SipLeg) -> None:
    """End a leg that the call does not need any more, while the call goes on."""
    try:
        async with asyncio.timeout(call.limits.close_timeout_s):
            await leg.close(t.HANGUP)
    except TimeoutError:
        _log.warning("leg_close_timeout", leg="other")


async def _take_over(call: Call, events: LegEvents, invite: IncomingInvite) -> None:
    """Answer an INVITE that replaces the call's SIP leg (RFC 3891), and end that leg."""
    old = call.sip
    assert old is not None
    new = call.other = call.leg(invite)
    try:
        if invite.sdp is None:
            offer = await call.media.offer_beside(invite.local_address)
            new.answered = True  # from here on it wants a BYE, also while its ACK is under way
            await call.media.accept_beside(await invite.answer(offer) or "")
        else:
            sdp = await call.media.answer_beside(invite.sdp, invite.local_address)
            new.answered = True
            await invite.answer(sdp)
        await _move_to(call, invite)
    except PonteError as error:
        _log.info("replacing_failed", code=error.code)
        invite.reject(getattr(error, "status", error.sip_status))
        await call.media.drop_beside()
        await _leave(call, new)
        return
    events.add(invite)
    _log.info("replaced")
    await _leave(call, old)
