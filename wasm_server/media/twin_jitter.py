"""Python twin of the jitter buffer of ``media.wasm``: G.711 by timestamp in, sound at the context's rate out.

The C code is the one that runs. Both work on doubles up to the resampler and take the same decisions, so that their
sound is the same. Names follow ``jitter.c``, ``g711.h`` and ``resample.c``.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

RATE_HZ: Final = 8000
SPAN: Final = 8192  # 1 s of samples by timestamp
MARGIN: Final = 80
LEAST_MARGIN: Final = 24
LESS: Final = 8
CALM: Final = 4
HURRY: Final = 160
LEAP: Final = 2400
REST: Final = 800
LONG_REST: Final = 3200
LOOK: Final = 40
FORGET: Final = 3200
HOLD: Final = 160
FADED: Final = 640
MERGE: Final = 40
MEND: Final = 16
LEAST_PITCH: Final = 40
LEAST_LAG: Final = 20
MOST_LAG: Final = 120
SLOTS: Final = 8
SLOT: Final = 4000
ALIKE: Final = 0.7
QUIET: Final = 1e-5
PAST: Final = 512
TAPS: Final = 24
BETA: Final = 5.65


def decode(byte: int, law: int) -> float:
    """Return the sample of one byte of G.711, full scale 1.0.

    Args:
        byte: 0 to 255.
        law: RTP payload type, 0 for PCMU and 8 for PCMA.
    """
    if law == 0:
        bits = ~byte & 0xFF
        magnitude = ((((bits & 15) << 3) + 0x84) << ((bits >> 4) & 7)) - 0x84
        return (-magnitude if bits & 0x80 else magnitude) / 32768
    bits = byte ^ 0x55
    segment = (bits >> 4) & 7
    magnitude = ((bits & 15) << 4) + 8
    if segment:
        magnitude = (magnitude + 0x100) << (segment - 1)
    return (magnitude if bits & 0x80 else -magnitude) / 32768


def apart(later: int, earlier: int) -> int:
    """Return how far one timestamp is behind another, within half the circle of 32 bits."""
    return (later - earlier + 0x80000000) % 0x100000000 - 0x80000000


class Concealment:
    """Repeats the last period of what went out, without a step at either end, and fades."""

    def __init__(self, past: deque[float]) -> None:
        """Find the period in *past*, newest last."""
        back = list(reversed(past))  # back[0] went out last
        lag, likest = LEAST_PITCH, -2.0
        for other in range(LEAST_PITCH, MOST_LAG + 1):
            product = energy = 0.0
            for i in range(MOST_LAG):
                product += back[i] * back[i + other]
                energy += back[i + other] * back[i + other]
            found = product / math.sqrt(energy) if energy > 0 else 0.0
            if found > likest:
                lag, likest = other, found
        seam = lag // 4
        self._period = []
        for i in range(lag):
            x = back[lag - i - 1]
            if i >= lag - seam:
                rising = (i - (lag - seam) + 1) / (seam + 1)
                x += rising * (back[2 * lag - i - 1] - x)
            self._period.append(x)
        self._step = back[0] - back[lag]
        self._at = 0
        self.concealed = 0
        self.merged = 0

    def next(self) -> float:
        """Return the next sample."""
        x = self._period[self._at]
        self._at = (self._at + 1) % len(self._period)
        if self.concealed < MEND:
            x += self._step * (MEND - self.concealed) / (MEND + 1)
        if self.concealed >= FADED:
            return 0.0
        gain = 1.0 if self.concealed < HOLD else (FADED - self.concealed) / (FADED - HOLD)
        self.concealed += 1
        return x * gain


class Jitter:
    """The buffer itself, at 8 kHz.

    Attributes:
        packets: that came and were of a known law.
        wait: samples that a packet waits for its turn, on average over the last 16.
        margin: samples that the latest of the packets shall come before its turn.
        concealed, late, taken, put, given_up: samples, by what became of them.
        restarts: how often the line was learnt anew.
    """

    def __init__(self) -> None:
        """Begin with silence."""
        self._sound: dict[int, float] = {}  # by timestamp
        self._past = deque([0.0] * PAST, maxlen=PAST)
        self._stream: int | None = None
        self._next = self._end = self._played = self._dry = 0
        self._latest: list[int | None] = [None] * SLOTS
        self._slot = self._slot_since = self._looked = self._changed = 0
        self._made: deque[float] = deque()
        self._concealment: Concealment | None = None
        self.packets = self.restarts = 0
        self.wait = 0.0
        self.margin = MARGIN
        self._tightest: int | None = None
        self._calm = 0
        self.concealed = self.late = self.taken = self.put = self.given_up = 0

    @property
    def _behind(self) -> int:
        return apart(self._played, self._next)

    def aim(self) -> int:
        """Return how far the reading position should be behind what was played, in samples."""
        known = sorted((x for x in self._latest if x is not None), reverse=True)
        if not known:
            return self._behind
        return known[min(1, len(known) - 1)] + self.margin

    def push(self, data: bytes, law: int, timestamp: int, stream: int) -> None:
        """Take a packet.

        Args:
            data: G.711, one byte a sample.
            law: RTP payload type.
            timestamp: of its first sample.
            stream: another number says that the timestamps have nothing to do with the earlier ones.
        """
        if not data or len(data) > SPAN // 4 or law not in (0, 8):
            return
        self.packets += 1
        early = apart(timestamp, self._next)
        if stream != self._stream or self._dry > FORGET or early > SPAN // 2 or early < -SPAN:
            self._restart(timestamp, stream)
        elif self._dry > 0 and early > 0:
            self._skip(min(early, self._dry))
            self._dry = 0
        early = apart(timestamp, self._next)
        self.wait += (early - self.wait) / 16
        self._note_lateness(apart(self._played, timestamp))
        self._note_spare(early)
        for i, byte in enumerate(data):
            if early + i < 0:
                self.late += 1
            else:
                self._sound[(timestamp + i) & 0xFFFFFFFF] = decode(byte, law)
        end = (timestamp + len(data)) & 0xFFFFFFFF
        if apart(end, self._end) > 0:
            self._end = end

    def _restart(self, timestamp: int, stream: int) -> None:
        self._sound.clear()
        self._latest = [None] * SLOTS
        self.restarts += self._stream is not None
        self._stream = stream
        self._next = (timestamp - MARGIN) & 0xFFFFFFFF
        self._end = timestamp
        self._dry = 0
        self._slot_since = self._played
        self.wait = self.margin = MARGIN
        self._tightest = None
        self._calm = 0

    def _note_spare(self, early: int) -> None:
        if early < 0:
            self.margin = MARGIN
            self._calm = 0
        self._tightest = early if self._tightest is None else min(self._tightest, early)

    def _judge_margin(self) -> None:
        if self._tightest is None:
            return
        if 2 * self._tightest < self.margin:
            self._calm = 0
            self.margin = min(self.margin + LESS, MARGIN)
        else:
            self._calm += 1
            if self._calm >= CALM:
                self._calm = 0
                self.margin = max(self.margin - LESS, LEAST_MARGIN)
        self._tightest = None

    def _note_lateness(self, lateness: int) -> None:
        for _ in range(SLOTS):
            if self._played - self._slot_since < SLOT:
                break
            self._judge_margin()
            self._slot_since += SLOT
            self._slot = (self._slot + 1) % SLOTS
            self._latest[self._slot] = None
        known = self._latest[self._slot]
        self._latest[self._slot] = lateness if known is None else max(known, lateness)

    def _skip(self, samples: int) -> None:
        for i in range(samples):
            self._sound.pop((self._next + i) & 0xFFFFFFFF, None)
        self._next = (self._next + samples) & 0xFFFFFFFF

    def _run(self, most: int) -> list[float]:
        ahead: list[float] = []
        while len(ahead) < most and (x := self._sound.get((self._next + len(ahead)) & 0xFFFFFFFF)) is not None:
            ahead.append(x)
        return ahead

    @staticmethod
    def _likeness(one: list[float], other: list[float]) -> float:
        product = first = second = 0.0
        for x, y in zip(one, other, strict=True):
            product += x * y
            first += x * x
            second += y * y
        if first + second < 2.0 * QUIET * len(one):
            return 1.0
        return product / math.sqrt(first * second) if first * second > 0 else 0.0

    def _change(self, off: int) -> None:
        """Take a period out (*off* > 0) or put one in by a cross-fade as long as the period."""
        shrinking = off > 0
        ahead = self._run(2 * MOST_LAG)
        past = list(self._past)
        most = min(len(ahead) // 2 if shrinking else len(ahead), MOST_LAG, abs(off) + self.margin * 3 // 10)
        best, likest = 0, -2.0
        for lag in range(LEAST_LAG, most + 1):
            found = self._likeness(ahead[:lag], ahead[lag : 2 * lag] if shrinking else past[-lag:])
            if found >= likest:
                best, likest = lag, found
        if best == 0 or (likest < ALIKE and abs(off) <= HURRY):
            return
        goal = ahead[best : 2 * best] if shrinking else past[-best:]
        for i in range(best):
            self._made.append(ahead[i] + (i + 1) / (best + 1) * (goal[i] - ahead[i]))
        self._changed = self._played
        if shrinking:
            self._skip(2 * best)
            self.taken += best
        else:
            self.put += best

    def _look(self) -> None:
        off = self._behind - self.aim()
        self._looked = self._played
        stored = apart(self._end, self._next)
        if off > LEAP and stored > 0:
            if self._concealment is None:
                self._concealment = Concealment(self._past)
            self._skip(min(off, stored))
            self.given_up += min(off, stored)
            return
        if self._concealment is not None or -(self.margin * 2 // 5) <= off <= 20 + self.margin // 4:
            return
        if self._played - self._changed >= (LONG_REST if off > 0 else REST) or abs(off) > HURRY:
            self._change(off)

    def _sound_now(self) -> float:
        if self._stream is None:
            return 0.0
        if not self._made and self._played - self._looked >= LOOK:
            self._look()
        if self._made:
            return self._made.popleft()
        x = self._sound.get(self._next)
        if x is not None:
            self._skip(1)
            self._dry = 0
            if self._concealment is None:
                return x
            mending = self._concealment
            mended = mending.next()
            mending.merged += 1
            if mending.merged >= MERGE:
                self._concealment = None
            return mended + (x - mended) * mending.merged / (MERGE + 1)
        if self._concealment is None:
            self._concealment = Concealment(self._past)
        self._concealment.merged = 0
        self.concealed += self._concealment.concealed < FADED
        if apart(self._end, self._next) > 0:
            self._skip(1)
        else:
            self._dry += 1
        return self._concealment.next()

    def next(self) -> float:
        """Return the next sample."""
        x = self._sound_now()
        self._past.append(x)
        self._played += 1
        return x

    def stats(self) -> list[float]:
        """Return the figures in the order of ``abi.h``, in ms where they are times."""
        ms = 1000 / RATE_HZ
        short = self.aim() - self._behind if self._stream is not None else 0
        counts = (self.concealed, self.late, self.taken, self.put, self.given_up)
        return [float(self.packets), self.wait * ms, short * ms, *(n * ms for n in counts), float(self.restarts)]


def bessel_0(x: float) -> float:
    """Return the modified Bessel function of the first kind, order 0."""
    total = term = 1.0
    for k in range(1, 24):
        term *= (x / (2 * k)) ** 2
        total += term
    return total


def weight(at: float) -> float:
    """Return the filter's impulse response *at* samples of 8 kHz off its middle."""
    edge = at / (TAPS / 2)
    if not -1 <= edge <= 1:
        return 0.0
    sinc = math.sin(math.pi * at) / (math.pi * at) if at else 1.0
    return sinc * bessel_0(BETA * math.sqrt(1 - edge * edge))


class Resampler:
    """From 8 kHz to another rate by a windowed sinc, 1.5 ms long; exact where the module has all phases."""

    def __init__(self, source: Jitter, rate_hz: int) -> None:
        """Read from *source* for a context of *rate_hz*."""
        common = math.gcd(rate_hz, RATE_HZ)
        self._source = source
        self._in_step, self._out_step = RATE_HZ // common, rate_hz // common
        self._position = 0
        self._window = deque([0.0] * TAPS, maxlen=TAPS)  # newest first
        self._taps: dict[int, list[float]] = {}

    def _row(self, phase: int) -> list[float]:
        if phase not in self._taps:
            row = [weight(k - TAPS / 2 + phase / self._out_step) for k in range(TAPS)]
            self._taps[phase] = [x / sum(row) for x in row]
        return self._taps[phase]

    def read(self, frames: int) -> list[float]:
        """Return the next *frames* at the context's rate."""
        sound = []
        for _ in range(frames):
            row = self._row(self._position)
            sound.append(sum(w * x for w, x in zip(row, self._window, strict=True)))
            self._position += self._in_step
            while self._position >= self._out_step:
                self._position -= self._out_step
                self._window.appendleft(self._source.next())
        return sound
