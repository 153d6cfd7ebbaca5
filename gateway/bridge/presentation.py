"""How the WhatsApp side of a call is shown to the PBX."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.domain.numbers import CallerIdentity, NumberPolicy, presented_name
from gateway.protocol.sip.events import ANONYMOUS, Caller


@dataclass(frozen=True, slots=True)
class Presentation:
    """The rules of one account.

    Attributes:
        numbers: how its numbers are written.
        identity: in which headers.
    """

    numbers: NumberPolicy = field(default_factory=NumberPolicy)
    identity: CallerIdentity = CallerIdentity.ASSERTED

    def caller(self, phone: str | None, name: str | None) -> Caller:
        """Return the caller that the PBX is shown; anonymous where WhatsApp gives no number (a LID peer).

        Args:
            phone: E.164 digits without the plus.
            name: as WhatsApp has it.
        """
        return Caller(self.numbers.presented(phone) or ANONYMOUS, presented_name(name), self.identity)
