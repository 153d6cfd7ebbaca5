"""The SIP leg of a call: knows how far it got, so that it can be ended in the right way."""

from __future__ import annotations

from gateway.domain.termination import Termination
from gateway.protocol.sip.events import Answered, Cancelled, Ended, Failed, Reason
from gateway.sip.call import CallEvent, IncomingInvite, OutgoingInvite


class SipLeg:
    """One SIP call and how far it got.

    Args:
        call: the user agent's call.
    """

    def __init__(self, call: IncomingInvite | OutgoingInvite) -> None:
        self.call = call
        self.answered = False
        self.ended = False

    def observe(self, event: CallEvent) -> None:
        """Note what *event* says of the leg's progress."""
        match event:
            case Answered():
                self.answered = True
            case Cancelled() | Ended() | Failed():
                self.ended = True
            case _:
                pass

    async def close(self, termination: Termination) -> None:
        """Tell the SIP side that the call is over: BYE, CANCEL or a final answer, whichever fits."""
        if self.ended:
            return
        self.ended = True
        if self.answered:
            await self.call.bye(_reason(termination))
        elif isinstance(self.call, IncomingInvite):
            refuse(self.call, termination)
        else:
            await self.call.cancel(_cancel_reason(termination))


def refuse(invite: IncomingInvite, termination: Termination) -> None:
    """Give an INVITE its final answer."""
    invite.reject(termination.sip_status or 500, reason=_reason(termination), retry_after_s=termination.retry_after_s)


def _reason(termination: Termination) -> Reason | None:
    """RFC 3326: the Q.850 cause is what PBXes map to their own hang-up causes."""
    if termination.q850_cause is None:
        return None
    return Reason("Q.850", termination.q850_cause, termination.text)


def _cancel_reason(termination: Termination) -> Reason | None:
    """A phone shows no missed call for a CANCEL with cause 200 (RFC 3326 section 2, TS 24.229)."""
    if termination.reason == "answered_elsewhere":
        return Reason("SIP", 200, "Call completed elsewhere")
    return _reason(termination)
