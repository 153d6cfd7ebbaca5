"""Telephone keys heard in G.711 audio (ITU-T Q.23, Q.24), cheap enough for every call.

Nearly all audio is dismissed by what costs next to nothing: its level and how often it crosses zero, both by look-ups
in the G.711 codes themselves. What is left is looked at coarsely, 13 ms in 20, for one frequency of each group; only
where these two hold most of the power, windows of 30 ms, one every 10, are measured: the frequencies by how far the
phase turns between two parts of the window, and how much of the whole power the two tones are. Two windows in a row
with the same key make it heard, so that 40 ms are enough. All loops run in `sum`, `map` and `bytes.translate`.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from typing import Final

from gateway.codecs.g711 import ALAW_LEVELS, ULAW_LEVELS, decode
from gateway.protocol.dtmf import HIGH_HZ, KEYPAD, LOW_HZ

RATE_HZ: Final = 8000
BLOCK: Final = 160  # 20 ms: what is looked at at once
HOP: Final = 80
WINDOW: Final = 240
PART: Final = 140  # samples of each of the two parts of a window; they overlap
APART: Final = 100  # samples between their starts: unambiguous to 40 Hz, 2.4 % of the highest frequency

FREQUENCY_TOLERANCE: Final = 0.023  # Q.24: 1.5 to 1.8 % must be heard, 3.0 to 3.5 % must not
MIN_LEVEL_DBFS: Final = -36.0  # of each tone; Q.24 asks for -24 to -29 dBm, which is 3 dB more in dBFS
MIN_TWIST_DB: Final = -10.0  # high group over low group; Q.24: -8 (AT&T) to +5 (NTT) must be heard
MAX_TWIST_DB: Final = 6.5
# Share of the power that the two tones are: noise 12 dB below them leaves 0.94, overtones 8 dB below 0.86.
MIN_PURITY: Final = 0.88
MIN_EVENNESS: Final = 0.55  # of a tone's strength in the two parts; its neighbour, 8 dB stronger, disturbs to 0.71
ENDING_HOPS: Final = 4  # windows without the key until it is over: a hole of 10 ms spoils three, a pause of 40 six

_SCALE: Final = 1 << 12  # tables of whole numbers: small enough for CPython's fast ways to multiply and add
_COARSE_STEP: Final = 2
_COARSE: Final = 52  # samples, every second one of 13 ms: the high group off by 1.8 % loses no more than a third
_COARSE_PART: Final = slice(28, 28 + _COARSE * _COARSE_STEP, _COARSE_STEP)  # in the middle of the block
_COARSE_LOW: Final = 0.12  # share of the power; a high group 6.5 dB stronger leaves 0.18
_COARSE_BOTH: Final = 0.50
# Crossings in 20 ms: twice the frequency of the stronger tone, with the weaker one and noise adding and taking some.
_CROSSINGS: Final = range(22, 74)
# Every DTMF frequency turns by 94 to 220 degrees in three samples, so most samples differ in sign from the one three
# before (of 157 at least 78, measured with all that Q.24 allows and noise 12 dB below). Speech, mostly below 667 Hz,
# does not.
_LAG: Final = 3
_MIN_DIFFERENT: Final = 72
_LAG_MASK: Final = (1 << 8 * (BLOCK - _LAG)) - 1

_MAGNITUDES: Final = {
    codec: bytes(min(255, abs(level) >> 5) for level in levels)
    for codec, levels in (("PCMU", ULAW_LEVELS), ("PCMA", ALAW_LEVELS))
}
_SIGNS: Final = {
    codec: bytes(level < 0 for level in levels) for codec, levels in (("PCMU", ULAW_LEVELS), ("PCMA", ALAW_LEVELS))
}
# Mean magnitude of a sine at the least level, in the steps of the table; a second tone only adds to it.
_QUIET: Final = int(BLOCK * 32768 * 10 ** (MIN_LEVEL_DBFS / 20) * 2 / math.pi / 32)
_MIN_POWER: Final = (32768 * 10 ** (MIN_LEVEL_DBFS / 20)) ** 2 / 2

Table = tuple[int, ...]


def _wave(hz: float, start: int, count: int, step: int = 1) -> tuple[Table, Table]:
    turns = [2 * math.pi * hz / RATE_HZ * n for n in range(start, start + count * step, step)]
    return tuple(round(_SCALE * math.cos(t)) for t in turns), tuple(round(_SCALE * math.sin(t)) for t in turns)


_COARSE_LOWS: Final = tuple((hz, *_wave(hz, 0, _COARSE, _COARSE_STEP)) for hz in LOW_HZ)
_COARSE_HIGHS: Final = tuple((hz, *_wave(hz, 0, _COARSE, _COARSE_STEP)) for hz in HIGH_HZ)
_FINE_WAVES: Final = {hz: (_wave(hz, 0, PART), _wave(hz, APART, PART)) for hz in (*LOW_HZ, *HIGH_HZ)}


@dataclass(frozen=True, slots=True)
class Heard:
    """A key began or is over.

    Attributes:
        digit: which.
        samples: how long it sounded, None where it has begun.
    """

    digit: str
    samples: int | None = None


class DtmfDetector:
    """Hears the keys in one stream of G.711."""

    __slots__ = ("_before", "_candidate", "_digit", "_hits", "_last", "_missed", "_rest")

    def __init__(self) -> None:
        self._rest = b""  # less than a block
        self._before = b""  # the last samples before the block, for the windows that begin there
        self._candidate: tuple[int, int] | None = None  # frequencies that the last block may have
        self._last: str | None = None  # key of the last window
        self._digit: str | None = None  # key that sounds
        self._hits = 0  # windows of it, holes included
        self._missed = 0  # windows since it was last there

    def feed(self, codec: str, payload: bytes) -> list[Heard]:
        """Listen to *payload*; return what began and what is over, in order.

        Args:
            codec: ``PCMU`` or ``PCMA``.
            payload: the next samples of the stream.
        """
        if self._rest:
            payload = self._rest + payload
        heard: list[Heard] = []
        start = 0
        while len(payload) - start >= BLOCK:
            block = payload[start : start + BLOCK]
            start += BLOCK
            if self._digit is None or not self._goes_on(codec, block):
                candidate = self._coarse(codec, block)
                if candidate is not None or self._candidate is not None or self._digit is not None:
                    self._look(codec, block, candidate or self._candidate, heard)
                else:
                    self._last = None
                self._candidate = candidate
            self._before = block
        self._rest = payload[start:]
        return heard

    def _goes_on(self, codec: str, block: bytes) -> bool:
        """Whether the key that sounds fills the last window as well; a held key costs no more than that."""
        if self._candidate is None or self._missed:
            return False
        if _measure(decode(codec, self._before + block)[-WINDOW:], self._candidate) != self._digit:
            return False
        self._hits += BLOCK // HOP
        return True

    def _coarse(self, codec: str, block: bytes) -> tuple[int, int] | None:
        """Return the two frequencies that may be in *block*, None where there are surely none."""
        signs = block.translate(_SIGNS[codec])
        bits = int.from_bytes(signs, "little")  # one byte a sample, of which only the lowest bit may be set
        if ((bits ^ bits >> 8 * _LAG) & _LAG_MASK).bit_count() < _MIN_DIFFERENT:
            return None
        if signs.count(b"\0\1") + signs.count(b"\1\0") not in _CROSSINGS:
            return None
        if sum(block.translate(_MAGNITUDES[codec])) < _QUIET:
            return None
        samples = decode(codec, block[_COARSE_PART]).tolist()
        # Power that a sine has, in the units of _power: half of its amplitude times the count, squared.
        whole = sum(map(mul, samples, samples)) * _COARSE / 2
        low, low_power = _strongest(samples, _COARSE_LOWS)
        if low_power < _COARSE_LOW * whole:
            return None
        high, high_power = _strongest(samples, _COARSE_HIGHS)
        return (low, high) if low_power + high_power >= _COARSE_BOTH * whole else None

    def _look(self, codec: str, block: bytes, candidate: tuple[int, int] | None, heard: list[Heard]) -> None:
        samples = decode(codec, self._before + block)
        for end in range(len(samples) - BLOCK + HOP, len(samples) + 1, HOP):
            window = samples[max(0, end - WINDOW) : end]
            digit = _measure(window, candidate) if candidate is not None and len(window) == WINDOW else None
            self._step(digit, heard)

    def _step(self, digit: str | None, heard: list[Heard]) -> None:
        """Take the key of the next window."""
        if self._digit is not None:
            if digit == self._digit:
                self._hits += 1 + self._missed
                self._missed = 0
            else:
                self._missed += 1
                if self._missed >= ENDING_HOPS or (digit is not None and digit == self._last):
                    heard.append(Heard(self._digit, WINDOW + HOP * (self._hits - 1)))
                    self._digit = None
        if self._digit is None and digit is not None and digit == self._last:
            self._digit, self._hits, self._missed = digit, 2, 0
            heard.append(Heard(digit))
        self._last = digit


def _strongest(samples: Sequence[int], group: Sequence[tuple[int, Table, Table]]) -> tuple[int, float]:
    best, best_power = 0, -1
    for hz, cosine, sine in group:
        real, imaginary = sum(map(mul, samples, cosine)), sum(map(mul, samples, sine))
        power = real * real + imaginary * imaginary
        if power > best_power:
            best, best_power = hz, power
    return best, best_power / (_SCALE * _SCALE)


def _measure(window: array[int], candidate: tuple[int, int]) -> str | None:
    """Return the key in *window*, None where it does not hold the tones of *candidate* and little else."""
    samples = window.tolist()
    first, second = samples[:PART], samples[APART:]
    whole = sum(map(mul, samples, samples)) / WINDOW
    powers = []
    for hz in candidate:
        power = _tone_power(first, second, hz)
        if power is None or power < _MIN_POWER:
            return None
        powers.append(power)
    low, high = powers
    if not MIN_TWIST_DB <= 10 * math.log10(high / low) <= MAX_TWIST_DB or low + high < MIN_PURITY * whole:
        return None
    return KEYPAD[LOW_HZ.index(candidate[0])][HIGH_HZ.index(candidate[1])]


def _tone_power(first: list[int], second: list[int], hz: int) -> float | None:
    """Return the mean power of the tone near *hz*, None where it is uneven or off by too much."""
    (cosine_1, sine_1), (cosine_2, sine_2) = _FINE_WAVES[hz]
    one = complex(sum(map(mul, first, cosine_1)), -sum(map(mul, first, sine_1)))
    two = complex(sum(map(mul, second, cosine_2)), -sum(map(mul, second, sine_2)))
    if not MIN_EVENNESS <= abs(one) / (abs(two) or 1.0) <= 1 / MIN_EVENNESS:
        return None  # it begins or ends here
    turned = two * one.conjugate()
    off_hz = math.atan2(turned.imag, turned.real) * RATE_HZ / (2 * math.pi * APART)
    if abs(off_hz) > hz * FREQUENCY_TOLERANCE:
        return None
    turns = math.pi * off_hz * PART / RATE_HZ
    lost = (math.sin(turns) / turns) ** 2 if turns else 1.0  # a part beside the frequency sees less of the tone
    return (abs(one) ** 2 + abs(two) ** 2) / (_SCALE * PART) ** 2 / lost
