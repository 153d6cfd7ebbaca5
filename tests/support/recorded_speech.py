"""Recorded speech that Debian packages carry, for whatever judges sound; where none is installed, espeak-ng's.

Nothing of it is in this repository. `pocketsphinx-testdata`: a reader of LibriVox (public domain), 16 kHz, 25 s,
sentences with pauses. `alsa-utils`: "Front left" and the like, 48 kHz, 12 s.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from tests.support.audio import Samples, read_wav, resample, speech

_READER: Final = Path("/usr/share/pocketsphinx/test/data/librivox")
_SPEAKERS: Final = Path("/usr/share/sounds/alsa")
_PEAK: Final = 0.5  # -6 dBFS
_TEXT: Final = (
    "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. It is easy to tell the "
    "depth of a well. These days a chicken leg is a rare dish."
)


@dataclass(frozen=True, slots=True)
class Speech:
    """A voice.

    Attributes:
        samples: between -1 and 1.
        rate_hz: of them.
        source: who speaks, for people.
    """

    samples: Samples
    rate_hz: int
    source: str

    def at(self, rate_hz: int) -> Samples:
        """Return it at another rate."""
        return self.samples if rate_hz == self.rate_hz else resample(self.samples, self.rate_hz, rate_hz)


def recorded() -> Speech:
    """Return the best that is installed."""
    for folder, pattern, source in (
        (_READER, "*.wav", "a reader of LibriVox (Debian's pocketsphinx-testdata)"),
        (_SPEAKERS, "[FRS]*_*.wav", "a speaker of Debian's alsa-utils"),
    ):
        found = [read_wav(path) for path in sorted(folder.glob(pattern))]
        if found:
            whole = np.concatenate([samples for samples, _ in found])
            return Speech(whole * (_PEAK / np.max(np.abs(whole))), found[0][1], source)
    return Speech(speech(_TEXT, 16_000, seconds=12), 16_000, "espeak-ng: no recorded speech is installed")
