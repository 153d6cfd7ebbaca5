"""Tones that tell how a call gets on: their rhythm, written as Asterisk's ``indications.conf`` writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gateway.domain.termination import Result, Termination

_PART: Final = re.compile(r"(\d{1,4})(?:\+(\d{1,4}))?/(\d{1,5})")
_HIGHEST_HZ: Final = 3400  # of the telephone's band
_MAX_PARTS: Final = 16
_SHORTEST_MS: Final = 20
_LONGEST_MS: Final = 20_000
_TAKEN: Final = frozenset({"busy", "declined"})


@dataclass(frozen=True, slots=True)
class CadencePart:
    """A piece of a rhythm.

    Attributes:
        hz: frequencies that are heard together; none in a pause.
        ms: how long.
    """

    hz: tuple[int, ...]
    ms: int


def parse_cadence(text: str) -> tuple[CadencePart, ...]:
    """Return the parts of a rhythm, which is repeated: ``425/1000,0/4000`` is a tone of 1 s and a pause of 4 s.

    Args:
        text: parts separated by commas, each one or two frequencies in Hz (``440+480``), a slash, and milliseconds.

    Raises:
        ValueError: it is none.
    """
    parts: list[CadencePart] = []
    for piece in text.split(","):
        found = _PART.fullmatch(piece.strip())
        if found is None:
            raise ValueError("parts look like 425/1000 or 440+480/2000: Hz and milliseconds, a pause has 0 Hz")
        hz = tuple(int(one) for one in found.group(1, 2) if one is not None and int(one))
        ms = int(found[3])
        if any(one > _HIGHEST_HZ for one in hz) or not _SHORTEST_MS <= ms <= _LONGEST_MS:
            raise ValueError(f"up to {_HIGHEST_HZ} Hz, and {_SHORTEST_MS} to {_LONGEST_MS} ms")
        parts.append(CadencePart(hz, ms))
    if len(parts) > _MAX_PARTS:
        raise ValueError(f"has more than {_MAX_PARTS} parts")
    return tuple(parts)


@dataclass(frozen=True, slots=True)
class CallTones:
    """What a phone that we rang hears of the WhatsApp call that is placed for it; an empty rhythm is silence.

    Attributes:
        ringing: while the other's phone rings.
        busy: where somebody is busy or declined.
        congestion: where the call could not be had for another reason.
        failure_s: how long one of the last two is heard before the phone is hung up.
    """

    ringing: str = ""
    busy: str = ""
    congestion: str = ""
    failure_s: float = 0.0

    def of(self, termination: Termination) -> str:
        """Return what is heard at the end of a call that was never answered by the other; empty: nothing."""
        if not self.failure_s or termination.result is Result.SUCCESS:
            return ""
        return self.busy if termination.reason in _TAKEN else self.congestion
