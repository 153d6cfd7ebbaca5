"""The packets of one direction laid on a recording's clock: by their timestamps, held to the clock of arrival.

Timestamps place each packet to the sample and leave loss and pauses as silence; the instants of arrival say where that
is on the clock that both directions share, and how fast the sender's own clock runs. No I/O, no clock.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable
from typing import Final, Protocol

from gateway.codecs.payload import units
from gateway.domain.codecs import CODECS

WINDOW_S: Final = 2.0  # the least late packet of so long a time tells where the stream stands: jitter only adds
SETTLED_S: Final = 0.003  # nearer than this to where it should be, a stream is left alone
JUMP_S: Final = 0.08  # further off than this it is moved at once: there was a pause that no timestamp tells of
AHEAD_S: Final = 1.0  # nothing comes from further in the future or the past: its sender has new numbers
SLIP: Final = 2  # samples by which a packet is made longer or shorter: 6 ms in a second, and nobody hears it
_EARLY_S: Final = 0.04  # decoded ahead of where the recording is written, so that no packet is cut in two
_CONTIGUOUS_S: Final = 0.0025  # off by less, a packet follows the one before; one that was lost leaves 10 ms and more
_MAX_WAITING: Final = 500  # packets: 10 s of them, ten times what waits in the worst case


class Decoder(Protocol):
    """Turns payloads of one stream into samples."""

    def feed(self, payload: bytes) -> array[int]:
        """Return the samples that are ready."""

    def flush(self) -> array[int]:
        """Return those that were held back."""


class Timeline:
    """One direction.

    Args:
        rate_hz: of the recording.
        decoder: makes a decoder of a codec.

    Attributes:
        late: packets that came when their place was written.
        slipped: samples put in (or taken out: negative) to follow the sender's clock.
        jumps: times that the stream was moved at once.
    """

    def __init__(self, rate_hz: int, decoder: Callable[[str, int], Decoder]) -> None:
        self._rate_hz = rate_hz
        self._make = decoder
        self._decoder: Decoder | None = None
        self._codec = ""
        self._out = array("h")
        self._emitted = 0  # samples given out so far
        self._due: int | None = None  # position that follows what was placed last; None: nothing goes on from there
        self._waiting: list[tuple[int, int, str, bytes]] = []  # position, count, codec, payload
        self._count = 0
        self._seen: set[int] = set()
        self._ssrc: int | None = None
        self._clock_hz = 0
        self._timestamp = 0  # of the newest packet
        self._position = 0.0  # of the newest packet
        self._owed = 0.0  # samples by which the stream is to be moved, little by little
        self._least: float | None = None  # how late the least late packet of the window was, in samples
        self._window_end_s = 0.0
        self.late = 0
        self.slipped = 0
        self.jumps = 0

    def restart(self) -> None:
        """Forget where the stream is: what comes next is placed by its arrival alone."""
        self._ssrc = None
        self._waiting.clear()

    # packets come

    def add(self, codec: str, ssrc: int, sequence: int, timestamp: int, payload: bytes, at_s: float) -> None:
        """Take a packet.

        Args:
            codec: of its payload.
            ssrc: its source.
            sequence: its number.
            timestamp: its RTP timestamp.
            payload: what it carries.
            at_s: when it came, in seconds of the recording.
        """
        arrival = at_s * self._rate_hz
        clock_hz = CODECS[codec].clock_rate_hz
        position: float | None = None
        if ssrc == self._ssrc and clock_hz == self._clock_hz:
            if sequence in self._seen:
                return
            position = self._by_timestamp(timestamp, arrival, at_s)
        if position is None:
            position = arrival
            self._ssrc, self._clock_hz, self._timestamp = ssrc, clock_hz, timestamp
            self._position, self._owed, self._least = arrival, 0.0, None
            self._seen.clear()
        if len(self._seen) >= _MAX_WAITING:
            self._seen.clear()
        self._seen.add(sequence)
        if position < self._emitted - self._rate_hz * _EARLY_S or len(self._waiting) >= _MAX_WAITING:
            self.late += 1
            return
        self._count += 1
        heapq.heappush(self._waiting, (round(position), self._count, codec, payload))

    def _by_timestamp(self, timestamp: int, arrival: float, at_s: float) -> float | None:
        """Return where a packet belongs; None where its numbers do not tell."""
        step = ((timestamp - self._timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000
        position = self._position + step * self._rate_hz / self._clock_hz
        ahead = AHEAD_S * self._rate_hz
        if position > arrival + ahead or position < self._emitted - ahead:
            return None
        if step <= 0:
            return position
        if position < self._emitted:  # it waited somewhere, and what follows comes as late
            self.jumps += 1
            return None
        slip = max(-SLIP, min(SLIP, round(self._owed)))
        self._owed -= slip
        self.slipped += slip
        if self._least is not None:
            self._least -= slip  # seen from where the stream is now
        self._timestamp, self._position = timestamp, position + slip
        self._follow(arrival, at_s)
        return self._position

    def _follow(self, arrival: float, at_s: float) -> None:
        """Find out whether the sender's clock runs away from ours."""
        behind = arrival - self._position
        if self._least is None:
            self._least, self._window_end_s = behind, at_s + WINDOW_S
            return
        self._least = min(self._least, behind)
        if at_s < self._window_end_s:
            return
        off, self._least = self._least, None
        if abs(off) > JUMP_S * self._rate_hz:
            self.jumps += 1
            self._position += off
            self._owed = 0.0
        elif abs(off) > SETTLED_S * self._rate_hz:
            self._owed = off

    # samples go

    def take(self, until: int, *, last: bool = False) -> array[int]:
        """Return the samples from where the last call ended up to *until*: what did not come is silence.

        Args:
            until: in samples from the start, not before the last one.
            last: a pause or the end follows; nothing is held back for what comes next.
        """
        ahead = until if last else until + int(_EARLY_S * self._rate_hz)
        while self._waiting and self._waiting[0][0] < ahead:
            position, _, codec, payload = heapq.heappop(self._waiting)
            self._place(position, codec, payload)
        if last or self._cursor < until:
            self._break()
            self._fill(until)
        given = self._out[: until - self._emitted]
        self._out = array("h") if last else self._out[until - self._emitted :]
        self._emitted = until
        return given

    @property
    def _cursor(self) -> int:
        return self._emitted + len(self._out)

    def _place(self, position: int, codec: str, payload: bytes) -> None:
        if codec != self._codec:
            self._break()
            self._codec, self._decoder = codec, self._make(codec, self._rate_hz)
        assert self._decoder is not None
        length = units(codec, payload) * self._rate_hz // CODECS[codec].clock_rate_hz
        if self._due is not None and abs(position - self._due) <= _CONTIGUOUS_S * self._rate_hz:
            off = max(-2 * SLIP, min(2 * SLIP, position - self._due))
            samples = self._decoder.feed(payload)
            self._out += stretched(samples, off) if off and len(samples) > 1 else samples
            self._due += length + off
            return
        self._break()
        self._fill(position)
        samples = self._decoder.feed(payload)
        del samples[: max(0, self._cursor - position)]  # the stream was moved back: what overlaps is left out
        self._out += samples
        self._due = max(self._cursor, position + length)

    def _break(self) -> None:
        """End what goes on: the next packet is placed by itself."""
        if self._due is not None and self._decoder is not None:
            self._out += self._decoder.flush()
        self._due = None

    def _fill(self, position: int) -> None:
        missing = position - self._cursor
        if missing > 0:
            self._out.frombytes(bytes(2 * missing))


def stretched(samples: array[int], by: int) -> array[int]:
    """Return *samples* as *by* more (or less: negative) of them, by straight lines between neighbours."""
    count = len(samples) + by
    if count < 2:
        return samples
    step = (len(samples) - 1) / (count - 1)
    out = array("h", samples[:1])
    for n in range(1, count - 1):
        whole = int(n * step)
        part = n * step - whole
        out.append(round(samples[whole] + part * (samples[whole + 1] - samples[whole])))
    out.append(samples[-1])
    return out
