"""WAV files in and out, tones, and the page's own noises. Everything is mono s16 at 16 kHz once it is inside."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from math import gcd
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

Samples = NDArray[np.int16]

SAMPLE_RATE_HZ: Final = 16_000
FRAME: Final = 320  # 20 ms

# What the page makes heard beside a call. No two share a frequency, and none is one that a test should speak with.
PAGE_SOUNDS_HZ: Final[dict[str, tuple[float, ...]]] = {
    "ring": (1210.0, 1570.0),
    "received": (2130.0,),
    "sent": (2690.0,),
    "end": (3110.0,),
}


class BadSound(ValueError):
    """A sound that cannot be spoken; the message is a sentence for the caller."""


def tone(hz: Sequence[float], seconds: float, level_dbfs: float, *, sample_rate_hz: int = SAMPLE_RATE_HZ) -> Samples:
    """Return a tone of one or more sines.

    Args:
        hz: the frequencies; the level is that of their sum's loudest sine on its own, shared evenly.
        seconds: length.
        level_dbfs: level in dB, 0 being a sine that just does not clip.
        sample_rate_hz: of the samples.
    """
    time_s = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    amplitude = 32767 * 10 ** (level_dbfs / 20) / len(hz)
    wave_form = sum(amplitude * np.sin(2 * np.pi * one * time_s) for one in hz)
    return np.round(wave_form).astype(np.int16)


def wav_bytes(samples: Samples, *, sample_rate_hz: int = SAMPLE_RATE_HZ) -> bytes:
    """Return *samples* as a mono 16 bit WAV file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
    return out.getvalue()


def read_wav(data: bytes, *, max_seconds: float) -> Samples:
    """Return a WAV file's sound as mono samples at 16 kHz.

    Args:
        data: the file; PCM of 16 bit, one or two channels, any rate from 4 to 192 kHz.
        max_seconds: a longer one is refused.

    Raises:
        BadSound: it is not such a file.
    """
    try:
        with wave.open(io.BytesIO(data), "rb") as file:
            channels, width, rate_hz = file.getnchannels(), file.getsampwidth(), file.getframerate()
            if width != 2:
                raise BadSound(f"The WAV file has {8 * width} bits per sample; 16 are needed.")
            if channels not in (1, 2):
                raise BadSound(f"The WAV file has {channels} channels; one or two are needed.")
            if not 4_000 <= rate_hz <= 192_000:
                raise BadSound(f"The WAV file's rate of {rate_hz} Hz is outside 4000 to 192000 Hz.")
            if file.getnframes() > max_seconds * rate_hz:
                raise BadSound(f"The WAV file is longer than {max_seconds:g} seconds.")
            raw = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise BadSound(f"The body is not a WAV file: {error or 'it ends too early'}.") from None
    samples = np.frombuffer(raw[: len(raw) // (2 * channels) * 2 * channels], dtype="<i2").astype(np.float64)
    if samples.size == 0:
        raise BadSound("The WAV file is empty.")
    if channels == 2:
        samples = samples.reshape(-1, 2).mean(axis=1)
    if rate_hz != SAMPLE_RATE_HZ:
        divisor = gcd(rate_hz, SAMPLE_RATE_HZ)
        samples = resample_poly(samples, SAMPLE_RATE_HZ // divisor, rate_hz // divisor)
    clipped: Samples = np.clip(np.round(samples), -32768, 32767).astype(np.int16)
    return clipped


def page_sound(name: str) -> bytes:
    """Return the WAV file of one of :data:`PAGE_SOUNDS_HZ`."""
    rate_hz = 48_000
    seconds = 0.9 if name == "ring" else 0.25
    # The ring tone is longer than it sounds, so that it loops as a telephone's does: on, off, on.
    samples = tone(PAGE_SOUNDS_HZ[name], seconds, -12.0, sample_rate_hz=rate_hz)
    pause = np.zeros(int(0.3 * rate_hz) if name == "ring" else 0, dtype=np.int16)
    return wav_bytes(np.concatenate([samples, pause]), sample_rate_hz=rate_hz)
