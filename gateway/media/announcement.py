"""What both sides of a call hear when its recording begins: a tone or a sound file, in place of what is said then."""

from __future__ import annotations

import math
from array import array
from pathlib import Path
from typing import Final

import av
from av.audio.resampler import AudioResampler
from av.error import FFmpegError

from gateway.codecs import opus
from gateway.codecs.g711 import encode
from gateway.codecs.levels import from_dbfs
from gateway.codecs.pcm import encoded, resampled
from gateway.domain.codecs import CODECS, G711, G722, OPUS
from gateway.domain.errors import ConfigError

RATE_HZ: Final = 16_000
MAX_S: Final = 30.0  # people wait for its end before they speak
_TONE_HZ: Final = 1400  # what is usual for recordings (FCC 47 CFR 64.501)
_TONE_S: Final = 0.5
_TONE_DBFS: Final = -20.0
_FADE_S: Final = 0.01
_OPUS_MS: Final = 20


class Announcement:
    """A sound in every codec, made once; each direction of each call plays it by a `Playing` of its own.

    Args:
        samples: of `RATE_HZ`.
    """

    def __init__(self, samples: array[int]) -> None:
        narrow = resampled(samples, RATE_HZ, 8000)
        self._bytes = {codec: encode(codec, narrow) for codec in G711}
        self._bytes[G722.name] = b"".join(encoded(G722.name, samples, RATE_HZ))
        self._packets = encoded(OPUS.name, samples, RATE_HZ)
        self.length_ms = len(samples) * 1000 // RATE_HZ

    def part(self, codec: str, start_ms: int, payload: bytes) -> bytes | None:
        """Return what takes the place of *payload*, as long as that; None where there is nothing.

        Args:
            codec: of *payload*.
            start_ms: where in the sound.
            payload: what would be heard else.
        """
        if codec != OPUS.name:
            found = self._bytes[codec][start_ms * 8 : start_ms * 8 + len(payload)]
            return found if len(found) == len(payload) else None
        count, rest = divmod(length_ms(codec, payload), _OPUS_MS)
        if not count or rest:
            return None
        return opus.join(self._packets[start_ms // _OPUS_MS : start_ms // _OPUS_MS + count] or [payload])


class Playing:
    """One direction that hears an announcement."""

    __slots__ = ("_announcement", "_at_ms", "over")

    def __init__(self, announcement: Announcement) -> None:
        self._announcement = announcement
        self._at_ms = 0
        self.over = False

    def instead(self, codec: str, payload: bytes) -> bytes:
        """Return what is heard instead of *payload*; *payload* itself once it is over."""
        part = None if self.over else self._announcement.part(codec, self._at_ms, payload)
        self._at_ms += length_ms(codec, payload)
        self.over = self.over or self._at_ms >= self._announcement.length_ms
        return payload if part is None else part


def length_ms(codec: str, payload: bytes) -> int:
    """Return how long *payload* lasts."""
    units = opus.units(payload) if codec == OPUS.name else len(payload)
    return units * 1000 // CODECS[codec].clock_rate_hz


def make_tone() -> Announcement:
    """Return the tone."""
    count, fade, peak = int(_TONE_S * RATE_HZ), int(_FADE_S * RATE_HZ), from_dbfs(_TONE_DBFS)
    step = 2 * math.pi * _TONE_HZ / RATE_HZ
    return Announcement(
        array("h", (round(peak * min(1.0, n / fade, (count - n) / fade) * math.sin(step * n)) for n in range(count)))
    )


def load_sound(path: Path) -> Announcement:
    """Return what a sound file holds, of any format that FFmpeg reads.

    Raises:
        ConfigError: it cannot be read, holds no sound, or too much.
    """
    samples = array("h")
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise ConfigError(f"{path} holds no sound", "recording_sound")
            resampler = AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
            for frame in [*container.decode(audio=0), None]:
                for done in resampler.resample(frame):
                    samples.frombytes(memoryview(done.planes[0])[: 2 * done.samples])
                if len(samples) > MAX_S * RATE_HZ:
                    raise ConfigError(f"{path} is longer than {MAX_S:g} s", "recording_sound")
    except (OSError, FFmpegError) as error:
        raise ConfigError(f"{path} cannot be read as sound: {error.strerror}", "recording_sound") from None
    if not samples:
        raise ConfigError(f"{path} holds no sound", "recording_sound")
    return Announcement(samples)
