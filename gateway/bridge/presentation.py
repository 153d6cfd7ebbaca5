"""How the WhatsApp side of a call is shown to the PBX."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.domain.numbers import CallerIdentity, NumberPolicy, presented_name
from gateway.protocol.sip.dialog_info import DialogView, dialog_state
from gateway.protocol.sip.events import ANONYMOUS, Caller
from gateway.protocol.sip.text import sip_uri

if TYPE_CHECKING:
    from gateway.bridge.call import Call


@dataclass(frozen=True, slots=True)
class Presentation:
    """The rules of one account.

    Attributes:
        numbers: how its numbers are written.
        identity: in which headers.
        watchers_see_numbers: whether those who watch the account (RFC 4235) are told who is at the other end.
    """

    numbers: NumberPolicy = field(default_factory=NumberPolicy)
    identity: CallerIdentity = CallerIdentity.ASSERTED
    watchers_see_numbers: bool = False

    def caller(self, phone: str | None, name: str | None) -> Caller:
        """Return the caller that the PBX is shown; anonymous where WhatsApp gives no number (a LID peer).

        Args:
            phone: E.164 digits without the plus.
            name: as WhatsApp has it.
        """
        return Caller(self.numbers.presented(phone) or ANONYMOUS, presented_name(name), self.identity)

    def line(self, call: Call, domain: str) -> DialogView:
        """Return a call as those see it who watch the account.

        Args:
            call: the call.
            domain: host part of the URI that names the other end; empty: it is named by a tel URI.
        """
        state, direction = dialog_state(call.direction, call.state)
        if not (self.watchers_see_numbers and call.peer.phone) or self.identity is CallerIdentity.PRIVATE:
            return DialogView(call.call_id, state, direction)
        caller = self.caller(call.peer.phone, call.peer.name)
        remote = sip_uri(caller.user, domain) if domain else f"tel:+{call.peer.phone}"
        return DialogView(call.call_id, state, direction, remote, caller.name)
