"""Lost sound made good from what came before it, in the manner of ITU-T G.711 Appendix I, and comfort noise.

The last period of the voice goes on, from 20 ms on two of them in turn, so that it does not buzz, ever softer until
120 ms, which PESQ likes better than the Appendix' 10 and 60. Unlike there nothing is delayed on a clean line: where it
fades what has been sent over into the repeated period, here the step between the two is taken out of the first quarter
of the period.
"""

from __future__ import annotations

import math
import random
from array import array
from operator import mul
from typing import Final

from gateway.codecs.levels import FULL_SCALE

_LOWEST_HZ: Final = 66
_HIGHEST_HZ: Final = 200  # of periods that are looked for; two or more of a higher voice are as good
_WINDOW_S: Final = 0.02  # that two stretches are compared over
_FULL_S: Final = 0.02  # of a loss that is made good at full level
_GONE_S: Final = 0.12
_RETURN_S: Final = 0.004  # over which sound that came is faded in, and as much more for each 10 ms that were lost
_RETURN_PER_S: Final = 0.01
_LONGEST_RETURN_S: Final = 0.01
_SEARCH_HZ: Final = 4000  # the coarse search is made on samples this far apart
_NOISE_S: Final = 1.0
_NOISE_SEED: Final = 3389


class Concealer:
    """Watches one decoded stream.

    Args:
        rate_hz: of its samples, 16-bit and in this machine's byte order as everywhere here.
    """

    __slots__ = ("_at", "_kept_bytes", "_last", "_lost", "_period", "_rate_hz", "_recent")

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        longest = rate_hz // _LOWEST_HZ
        self._kept_bytes = 2 * (2 * longest + round(_WINDOW_S * rate_hz))
        self._recent = bytes(self._kept_bytes)
        self._lost = 0  # samples made since the last that came
        self._period = array("h")  # what is repeated
        self._at = 0  # of which the next sample is
        self._last = 0.0  # step to the repeated period that is still to be taken out

    def came(self, sound: bytes) -> bytes:
        """Return *sound*, which goes on from what came or was made before; its beginning faded in after a loss."""
        if self._lost:
            sound = self._return(sound)
        kept = self._kept_bytes
        self._recent = sound[-kept:] if len(sound) >= kept else (self._recent + sound)[-kept:]
        return sound

    def conceal(self, samples: int) -> bytes:
        """Return *samples* in the place of as many that were lost."""
        made = array("h", self._repeat(samples))
        self._lost += samples
        return made.tobytes()

    def _repeat(self, samples: int) -> list[int]:
        """Return what follows, and stand behind it, except that `_lost` is the caller's to count."""
        rate = self._rate_hz
        out: list[int] = []
        while len(out) < samples:
            lost = self._lost + len(out)
            full = round(_FULL_S * rate)
            if not lost:
                self._find()
            elif lost == full:
                self._alternate()
            left = samples - len(out)
            if lost < full:
                left = min(left, full - lost)
            out += self._stretch(lost, left)
        return out

    def _stretch(self, lost: int, samples: int) -> list[int]:
        period, at, rate = self._period, self._at, self._rate_hz
        length = len(period)
        count = -(-(at + samples) // length)
        raw = (period * count)[at : at + samples]
        self._at = (at + samples) % length
        full, gone = _FULL_S * rate, _GONE_S * rate
        if lost + samples <= full:
            fade = length // 4
            if lost < fade and self._last:
                step = self._last
                return [
                    _clip(round(value + step * (1 - (lost + n) / fade))) if lost + n < fade else value
                    for n, value in enumerate(raw)
                ]
            return list(raw)
        slope = 1 / (gone - full)
        return [round(value * max(0.0, 1 - (lost + n - full) * slope)) for n, value in enumerate(raw)]

    def _find(self) -> None:
        """Take the last period of the sound for what is repeated."""
        sound = array("h", self._recent)
        length = self._pitch(sound)
        self._period = _looped(sound, length)
        self._at = 0
        self._last = float(sound[-1] - sound[-1 - length])

    def _alternate(self) -> None:
        """Repeat two periods from now on, going on in the first of them."""
        sound = array("h", self._recent)
        length = len(self._period)
        at = self._at
        self._period = _looped(sound, 2 * length)
        self._at = at + length if at else 0

    def _pitch(self, sound: array[int]) -> int:
        """Return the period, in samples, by which the end of *sound* is most like what came before it."""
        rate = self._rate_hz
        window = round(_WINDOW_S * rate)
        shortest, longest = rate // _HIGHEST_HZ, rate // _LOWEST_HZ
        step = rate // _SEARCH_HZ
        coarse = max(range(shortest, longest + 1, step), key=lambda lag: _likeness(sound, lag, window, step))
        near = range(max(shortest, coarse - step + 1), min(longest, coarse + step - 1) + 1)
        return max(near, key=lambda lag: _likeness(sound, lag, window, 1))

    def _return(self, sound: bytes) -> bytes:
        """Fade from what would have gone on to *sound*."""
        came = array("h", sound)
        rate = self._rate_hz
        fade = round(min(_LONGEST_RETURN_S, _RETURN_S * (1 + self._lost / (_RETURN_PER_S * rate))) * rate)
        fade = min(fade, len(came))
        made = self._repeat(fade)
        self._lost = 0
        for n in range(fade):
            share = (n + 1) / (fade + 1)
            came[n] = _clip(round(came[n] * share + made[n] * (1 - share)))
        return came.tobytes()


def _looped(sound: array[int], length: int) -> array[int]:
    """Return the last *length* samples, their end faded into what comes before them, so that they may follow itself."""
    loop = sound[-length:]
    fade = length // 4
    before = sound[-length - fade : -length]
    for n in range(fade):
        share = (n + 1) / (fade + 1)
        at = length - fade + n
        loop[at] = round(loop[at] * (1 - share) + before[n] * share)
    return loop


def _likeness(sound: array[int], lag: int, window: int, step: int) -> float:
    end = sound[-window::step]
    before = sound[-window - lag : -lag : step]
    power = sum(map(mul, before, before))
    return sum(map(mul, end, before)) / math.sqrt(power) if power else 0.0


def _clip(value: int) -> int:
    return max(-32768, min(32767, value))


class ComfortNoise:
    """White noise for pauses in which the peer sends no packets (RFC 3389).

    Args:
        rate_hz: of the samples.
    """

    __slots__ = ("_at", "_level_db", "_noise", "_shape")

    def __init__(self, rate_hz: int) -> None:
        source = random.Random(_NOISE_SEED)
        self._shape = [source.gauss(0, 1) for _ in range(round(_NOISE_S * rate_hz))]
        self._noise = b""
        self._level_db: int | None = None
        self._at = 0

    def samples(self, count: int, level_db: int) -> bytes:
        """Return *count* samples, at most a second, at -*level_db* dBov (RFC 3389 section 3.1)."""
        if level_db != self._level_db:
            # 0 dBov is the power of a square wave of full amplitude (RFC 6464)
            scale = FULL_SCALE * math.pow(10, -level_db / 20)
            self._noise = array("h", [_clip(round(scale * value)) for value in self._shape]).tobytes() * 2
            self._level_db = level_db
        start = self._at
        self._at = (start + count) % len(self._shape)
        return self._noise[2 * start : 2 * (start + count)]
