"""DTMF as it is signalled: telephone-events (RFC 4733) both ways, and INFO bodies. No clock, no sockets.

A digit is one of the sixteen keys of ITU-T Q.23. Its event code is its index in `DIGITS` (RFC 4733 section 3.2).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

DIGITS: Final = "0123456789*#ABCD"
LOW_HZ: Final = (697, 770, 852, 941)
HIGH_HZ: Final = (1209, 1336, 1477, 1633)
KEYPAD: Final = ("123A", "456B", "789C", "*0#D")
"""Rows by low frequency, columns by high (ITU-T Q.23)."""

PAYLOAD: Final = struct.Struct("!BBH")
"""Event, E/R/volume, duration (RFC 4733 section 2.3)."""

END_REPEATS: Final = 3  # RFC 4733 section 2.5.1.4: the last packet is sent three times
MAX_DURATION: Final = 0xFFFF  # of one segment; longer events go on in another (section 2.5.1.3)
SILENT_S: Final = 0.3  # without a packet of an event that has not ended: its end was lost. Six packets of 50 ms
LATE_S: Final = 2.0  # a timestamp that goes back by then is a new time base, as of a codec with another clock
DEFAULT_INFO_MS: Final = 160  # of an INFO without a duration; what phones put there by themselves
MAX_KEY_MS: Final = 10_000  # longest tone that a peer may ask for
_VOLUME: Final = 10  # -10 dBm0, what gateways commonly put there
_END: Final = 0x80


def frequencies(digit: str) -> tuple[int, int]:
    """Return the two frequencies of *digit* in hertz, the low one first.

    Raises:
        ValueError: it is no DTMF digit.
    """
    for row, keys in enumerate(KEYPAD):
        column = keys.find(digit) if len(digit) == 1 else -1
        if column >= 0:
            return LOW_HZ[row], HIGH_HZ[column]
    raise ValueError("not a DTMF digit")


@dataclass(frozen=True, slots=True)
class KeyPress:
    """A digit and how long it was held."""

    digit: str
    duration_ms: int


_SIGNAL: Final = re.compile(r"^\s*signal\s*=\s*([0-9*#a-d]|1[0-5])\s*$", re.IGNORECASE | re.MULTILINE)
_DURATION: Final = re.compile(r"^\s*duration\s*=\s*([0-9]{1,6})\s*$", re.IGNORECASE | re.MULTILINE)
_BARE: Final = re.compile(r"\s*([0-9*#a-d]|1[0-5])\s*", re.IGNORECASE)


def parse_info(content_type: str, body: bytes) -> KeyPress | None:
    """Return the digit in an INFO, None where there is none.

    ``application/dtmf-relay`` has lines ``Signal=5`` and ``Duration=160`` (ms), ``application/dtmf`` the digit alone.
    Some peers write * and # as the event codes 10 and 11, and some the lines of the one under the other's name.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in {"application/dtmf-relay", "application/dtmf"}:
        return None
    text = body[:256].decode("ascii", "replace")
    found = _SIGNAL.search(text.replace("\r", "\n")) or _BARE.fullmatch(text)
    if found is None:
        return None
    signal = found[1].upper()
    length = _DURATION.search(text.replace("\r", "\n"))
    duration_ms = int(length[1]) if length else DEFAULT_INFO_MS
    digit = DIGITS[int(signal)] if len(signal) == 2 else signal
    return KeyPress(digit, min(duration_ms, MAX_KEY_MS) or DEFAULT_INFO_MS)


class EventReceiver:
    """Telephone-events of one peer, each key told once, when it is over (RFC 4733 sections 2.5 and 2.6).

    Packets of an event share its timestamp, and their duration grows; the last one comes three times. A packet that
    is lost, late or doubled changes nothing, and an event whose end was lost ends with the next one, or by `expire`.
    """

    __slots__ = ("_before", "_clock_rate_hz", "_code", "_duration", "_ended", "_heard_at_s", "_ssrc", "_start")

    def __init__(self) -> None:
        self._clock_rate_hz = 8000
        self._ssrc: int | None = None
        self._start = 0  # timestamp of the segment
        self._before = 0  # units of earlier segments of a long event
        self._duration = 0
        self._code = 0
        self._ended = True
        self._heard_at_s = 0.0

    @property
    def active(self) -> bool:
        """Whether a key is being held."""
        return not self._ended

    def receive(
        self, ssrc: int, timestamp: int, marker: bool, payload: bytes, now_s: float, clock_rate_hz: int = 8000
    ) -> tuple[KeyPress, ...]:
        """Take one packet; return the keys that are over by it: two where all of one but its end was lost.

        Args:
            ssrc: of the RTP header.
            timestamp: of the RTP header.
            marker: of the RTP header: the first packet of an event.
            payload: of the packet; what follows its first event is not read.
            now_s: monotonic instant of its arrival.
            clock_rate_hz: of the payload type that it came by.
        """
        if len(payload) < PAYLOAD.size:
            return ()
        code, flags, duration = PAYLOAD.unpack_from(payload)
        if code >= len(DIGITS):  # flash hook and other events are no keys
            return ()
        pressed: tuple[KeyPress, ...] = ()
        ahead = (timestamp - self._start) & 0xFFFFFFFF
        if ssrc != self._ssrc or ahead:
            if ssrc == self._ssrc and ahead >= 0x80000000 and now_s - self._heard_at_s < LATE_S:
                return ()  # a late packet of an earlier event
            if self._continues(ssrc, code, ahead, marker):
                self._before += ahead
            else:
                pressed = self._finish()
                self._before = 0
            self._ssrc, self._start, self._code = ssrc, timestamp, code
            self._duration, self._ended = 0, False
            self._clock_rate_hz = clock_rate_hz
        elif self._ended or code != self._code:
            return ()  # an end that was sent again
        self._heard_at_s = now_s
        self._duration = max(self._duration, duration)
        if flags & _END:
            pressed += self._finish()
        return pressed

    def expire(self, now_s: float) -> tuple[KeyPress, ...]:
        """Return the key whose end was lost, if its last packet is long ago."""
        return self._finish() if now_s - self._heard_at_s >= SILENT_S else ()

    def _continues(self, ssrc: int, code: int, ahead: int, marker: bool) -> bool:
        """Whether a packet begins the next segment of an event that is too long for one."""
        if self._ended or marker or ssrc != self._ssrc or code != self._code:
            return False
        return ahead == self._duration or 0xF000 <= ahead <= 0x10000

    def _finish(self) -> tuple[KeyPress, ...]:
        if self._ended:
            return ()
        self._ended = True
        held_ms = (self._before + self._duration) * 1000 // self._clock_rate_hz
        return (KeyPress(DIGITS[self._code], min(held_ms, MAX_KEY_MS)),)


class EventSender:
    """One key at a time as telephone-events that take the place of audio packets (RFC 4733 section 2.5.1).

    Each packet of audio asks `next` what goes in its place, so that the numbers and the pace stay those of the audio.

    Args:
        payload_type: of telephone-event towards the peer.
        clock_rate_hz: of telephone-event.
        audio_clock_rate_hz: of the audio beside it. RFC 4733 section 2.1 has them equal; a peer that has
            telephone-event at 8000 only, beside Opus, is told durations by that clock.
    """

    __slots__ = (
        "_audio_clock_rate_hz", "_code", "_format", "_held", "_repeats", "_sent", "_start", "_wanted", "clock_rate_hz",
        "events", "payload_type",
    )  # fmt: skip

    def __init__(self, payload_type: int, clock_rate_hz: int = 8000, audio_clock_rate_hz: int = 8000) -> None:
        self.events = 0
        self._format: tuple[int, int, int] | None = None
        self.use(payload_type, clock_rate_hz, audio_clock_rate_hz)

    def use(self, payload_type: int, clock_rate_hz: int, audio_clock_rate_hz: int) -> None:
        """Send with these from now on; where that is a change, a key that is held ends untold."""
        if (payload_type, clock_rate_hz, audio_clock_rate_hz) == self._format:
            return
        self._format = payload_type, clock_rate_hz, audio_clock_rate_hz
        self.payload_type = payload_type
        self.clock_rate_hz = clock_rate_hz
        self._audio_clock_rate_hz = audio_clock_rate_hz
        self._code: int | None = None
        self._start: int | None = None
        self._wanted: int | None = None  # length of the key, None while it is held
        self._sent = 0  # duration so far
        self._held = 0  # of earlier segments
        self._repeats = 0

    @property
    def active(self) -> bool:
        """Whether events take the place of audio now."""
        return self._code is not None

    def press(self, digit: str) -> None:
        """Begin *digit* with the next packet. What was still going on ends without its repeated last packets."""
        self._code = DIGITS.index(digit)
        self._start = self._wanted = None
        self._sent = self._held = self._repeats = 0
        self.events += 1

    def release(self, duration: int) -> None:
        """Let the key end when it lasted *duration* timestamp units of telephone-event."""
        if self._code is not None and self._wanted is None:
            self._wanted = max(1, duration)

    def next(self, timestamp: int, units: int) -> tuple[bytes, int, bool] | None:
        """Return payload, timestamp and marker of what goes in place of an audio packet; None: the audio itself.

        Args:
            timestamp: of the audio packet.
            units: timestamp units that it lasts, by the clock of the audio.
        """
        if self._code is None:
            return None
        marker = self._start is None
        if self._start is None:
            self._start = timestamp
        if not self._repeats:
            self._sent = self._units(timestamp + units)
            if self._sent > MAX_DURATION:  # the next segment, without a marker (section 2.5.1.3)
                self._held += self._units(timestamp)
                self._start = timestamp
                self._sent = self._units(timestamp + units)
        start, flags = self._start, _VOLUME
        if self._repeats or (self._wanted is not None and self._held + self._sent >= self._wanted):
            flags |= _END
            self._repeats += 1
        payload = PAYLOAD.pack(self._code, flags, min(self._sent, MAX_DURATION))
        if self._repeats >= END_REPEATS:
            self._code = None
        return payload, start, marker

    def _units(self, timestamp: int) -> int:
        """Return how long the segment has lasted at *timestamp*, by the clock of telephone-event."""
        assert self._start is not None
        return ((timestamp - self._start) & 0xFFFFFFFF) * self.clock_rate_hz // self._audio_clock_rate_hz
