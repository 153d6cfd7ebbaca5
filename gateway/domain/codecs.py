"""The audio codecs that Ponte speaks, by the names and clock rates of their standards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class AudioCodec:
    """One codec.

    Attributes:
        name: as in ``a=rtpmap``, and of our API.
        clock_rate_hz: of RTP timestamps; 8000 for G.722, whose sound has 16000 (RFC 3551 section 4.5.2).
        sample_rate_hz: of its sound.
        channels: of the ``a=rtpmap`` line; always 2 for Opus, whatever is sent (RFC 7587 section 7).
        payload_type: static (RFC 3551 section 6), or ours where it is dynamic.
    """

    name: str
    clock_rate_hz: int
    sample_rate_hz: int
    channels: int
    payload_type: int

    @property
    def rtpmap(self) -> str:
        """What stands after the payload type in ``a=rtpmap``."""
        return f"{self.name}/{self.clock_rate_hz}" + (f"/{self.channels}" if self.channels > 1 else "")


OPUS: Final = AudioCodec("opus", 48000, 48000, 2, 111)
G722: Final = AudioCodec("G722", 8000, 16000, 1, 9)
PCMU: Final = AudioCodec("PCMU", 8000, 8000, 1, 0)
PCMA: Final = AudioCodec("PCMA", 8000, 8000, 1, 8)

CODECS: Final[Mapping[str, AudioCodec]] = {codec.name: codec for codec in (OPUS, G722, PCMU, PCMA)}
"""Every codec, by name."""

G711: Final = frozenset({PCMU.name, PCMA.name})
"""Those that are turned into each other by table."""

EVENTS: Final[Mapping[int, str]] = {8000: "telephone-event", 48000: "telephone-event/48000"}
"""Names of telephone-event by its clock rate, which is that of the audio beside it (RFC 4733 section 2.1)."""

EVENT_CLOCKS_HZ: Final[Mapping[str, int]] = {name: rate for rate, name in EVENTS.items()}
"""Clock rate by such a name."""

COMFORT_NOISE: Final = "CN"
