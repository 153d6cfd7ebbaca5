"""What a page says of the sound of a call, gathered over the call. No clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SILENT_DBFS: Final = -60.0  # below, nobody speaks: pauses say nothing of how loud people are


@dataclass(frozen=True, slots=True)
class PageAudio:
    """One look at a page.

    Attributes:
        mic_dbfs: level of what WhatsApp hears, None where the page does not measure.
        speaker_dbfs: level of what WhatsApp plays.
        wait_ms: how long sound waits in the jitter buffer before WhatsApp hears it; None where there is none in use.
        concealed_ms: sound that the page made up since it did not come, counted from some beginning.
        mic_packets: that came to the jitter buffer, counted from some beginning; None where there is none in use.
        speaker_frames: of sound that were taken from what WhatsApp plays, counted from the call's beginning.
        mic_frames: of sound that WhatsApp was given.
        speaker_taken: whether anything that WhatsApp plays is taken; None where the page does not tell.
    """

    mic_dbfs: float | None = None
    speaker_dbfs: float | None = None
    wait_ms: float | None = None
    concealed_ms: float | None = None
    mic_packets: int | None = None
    speaker_frames: int | None = None
    mic_frames: int | None = None
    speaker_taken: bool | None = None


@dataclass(frozen=True, slots=True)
class PageTest:
    """What a page found of a tone that it sent, and listened for.

    Attributes:
        aborted: a call began meanwhile; nothing was found.
        played: whether the media module played it.
        packets: that came back; None where Chrome's own track is heard.
        heard_dbfs: the loudest that came back.
        took_ms: from its beginning to its being noticed.
    """

    aborted: bool
    played: bool
    packets: int | None
    heard_dbfs: float | None
    took_ms: float | None


@dataclass(frozen=True, slots=True)
class PageFigures:
    """A call's page.

    Attributes:
        mic_dbfs: mean level of what WhatsApp hears while somebody speaks; None where nobody did.
        speaker_dbfs: the same of what WhatsApp plays.
        wait_ms: mean time in the jitter buffer.
        concealed_ms: sound that the page made up.
    """

    mic_dbfs: float | None = None
    speaker_dbfs: float | None = None
    wait_ms: float | None = None
    concealed_ms: float | None = None


class _Mean:
    def __init__(self) -> None:
        self._sum = 0.0
        self._count = 0

    def add(self, value: float | None) -> None:
        if value is not None:
            self._sum += value
            self._count += 1

    @property
    def value(self) -> float | None:
        return round(self._sum / self._count, 1) if self._count else None


class PageMeter:
    """Gathers looks at one page in one call."""

    def __init__(self) -> None:
        self._mic, self._speaker, self._wait = _Mean(), _Mean(), _Mean()
        self._concealed: float | None = None
        self._last: float | None = None

    def add(self, look: PageAudio) -> None:
        """Take one more look; its counters may have begun anew since the one before."""
        for mean, level in ((self._mic, look.mic_dbfs), (self._speaker, look.speaker_dbfs)):
            mean.add(level if level is not None and level > SILENT_DBFS else None)
        self._wait.add(look.wait_ms)
        if look.concealed_ms is not None:
            if self._last is not None:
                grown = look.concealed_ms - self._last
                self._concealed = (self._concealed or 0.0) + (grown if grown >= 0 else look.concealed_ms)
            else:
                self._concealed = 0.0  # what was before the first look was before the call
            self._last = look.concealed_ms

    @property
    def figures(self) -> PageFigures:
        """What was found so far."""
        concealed = None if self._concealed is None else round(self._concealed, 1)
        return PageFigures(self._mic.value, self._speaker.value, self._wait.value, concealed)
