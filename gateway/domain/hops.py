"""The way of a call's sound hop by hop, and which one is broken where nothing is heard. Pure."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SILENT_DBFS: Final = -55.0  # peak; G.711's own noise is at -72, the room of a person who listens at -50
LOUD_DBFS: Final = -45.0  # above it somebody speaks; between the two nothing is said


class Hop(enum.StrEnum):
    """Where sound passes, in the order of its way: the first three from WhatsApp to the phone, the others back."""

    PAGE_SPEAKER = "page_speaker"
    PAGE_TO_GATEWAY = "page_to_gateway"
    GATEWAY_TO_PHONE = "gateway_to_phone"
    PHONE_TO_GATEWAY = "phone_to_gateway"
    GATEWAY_TO_PAGE = "gateway_to_page"
    PAGE_BUFFER = "page_buffer"
    PAGE_MICROPHONE = "page_microphone"


WHY: Final = {
    Hop.PAGE_SPEAKER: "WhatsApp's page plays nothing, or what it plays is not taken",
    Hop.PAGE_TO_GATEWAY: "the page's sound does not come over WebRTC to Ponte",
    Hop.GATEWAY_TO_PHONE: "Ponte gets the page's sound and does not pass it to the phone",
    Hop.PHONE_TO_GATEWAY: "no packets of the phone come; is its RTP sent to this host, and let in?",
    Hop.GATEWAY_TO_PAGE: "Ponte gets the phone's sound and does not pass it to the page",
    Hop.PAGE_BUFFER: "Ponte sends the phone's sound, and it does not come over WebRTC into the page",
    Hop.PAGE_MICROPHONE: "the phone's sound comes into the page and is not heard in its microphone",
}
"""What is wrong where a hop is named, as a sentence for people."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One hop over about a second.

    Attributes:
        hop: which.
        packets: that passed it; of the page's own hops, frames of sound. None where nobody counts.
        level_dbfs: how loud it was; None where nobody can tell.
        delay_ms: that it adds, or half of the round trip to its end; None where nobody can tell.
    """

    hop: Hop
    packets: int | None = None
    level_dbfs: float | None = None
    delay_ms: float | None = None

    @property
    def silent(self) -> bool | None:
        """Whether nothing was to be heard; None where that cannot be told."""
        if self.level_dbfs is None:
            return None
        if self.level_dbfs >= LOUD_DBFS:
            return False
        return True if self.level_dbfs <= SILENT_DBFS else None


def broken(way: Sequence[Reading]) -> Hop | None:
    """Return the first hop that nothing comes to, or at which sound becomes silence.

    A way that is silent from its beginning is not broken: nobody speaks.

    Args:
        way: the readings of one direction, in the order of its hops.
    """
    heard = False
    for reading in way:
        if reading.packets == 0 or (heard and reading.silent):
            return reading.hop
        heard = heard or reading.silent is False
    return None


@dataclass(frozen=True, slots=True)
class CallPath:
    """Every hop of a call over about the last second.

    Attributes:
        wa_to_sip: in the order of the way.
        sip_to_wa: the same.
    """

    wa_to_sip: tuple[Reading, ...]
    sip_to_wa: tuple[Reading, ...]

    @property
    def broken(self) -> list[Hop]:
        """The broken hops, at most one a direction."""
        return [hop for way in (self.wa_to_sip, self.sip_to_wa) if (hop := broken(way)) is not None]
