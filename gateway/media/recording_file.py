"""A recording's file: stereo, Opus in Ogg or WAV, a whole file after every write."""

from __future__ import annotations

import os
import secrets
import sys
from array import array
from pathlib import Path
from typing import Final, Protocol

from gateway.codecs import wav
from gateway.codecs.ogg import GRANULE_HZ, OggOpus
from gateway.codecs.pcm import StereoOpus
from gateway.domain.recording import RecordingFormat

RATE_HZ: Final = 16_000
"""Of every recording: WhatsApp's own sound has no more (docs/whatsapp.md), and a call may change its codec."""

_BITRATE_BPS: Final = 48_000  # both channels: levels within 0.2 dB also for tones, and 21 MB an hour


class SoundFile(Protocol):
    """Takes stereo sound."""

    bytes: int

    def write(self, left: array[int], right: array[int]) -> None:
        """Append sound, and have the system take it.

        Raises:
            OSError: it cannot be written.
        """

    def close(self) -> None:
        """Complete the file; where that fails it stays as it was after the last write."""


def open_sound_file(folder: Path, name: str, kind: RecordingFormat) -> SoundFile:
    """Make a new file that only this user can read, and its folder where it is missing.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(folder / name, flags, 0o600)
    try:
        return OpusFile(descriptor) if kind is RecordingFormat.OPUS else WavFile(descriptor)
    except BaseException:
        os.close(descriptor)
        raise


class OpusFile:
    """Stereo Opus in Ogg (RFC 7845)."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._encoder = StereoOpus(RATE_HZ, _BITRATE_BPS)
        self._frame = self._encoder.frame
        self._units = self._frame * GRANULE_HZ // RATE_HZ
        self._ogg = OggOpus(self._encoder.head, secrets.randbits(32), ("LEFT=WhatsApp", "RIGHT=PBX"))
        self._left, self._right = array("h"), array("h")
        self._samples = 0
        self._granule = 0
        self.bytes = 0
        self._append(self._ogg.start())

    def write(self, left: array[int], right: array[int]) -> None:
        """See `SoundFile`. What is less than a packet waits for the next call."""
        self._samples += len(left)
        self._left += left
        self._right += right
        self._pages(self._encoded(), last=False)

    def _encoded(self) -> list[bytes]:
        packets: list[bytes] = []
        frame, whole = self._frame, len(self._left) // self._frame * self._frame
        for start in range(0, whole, frame):
            packets += self._encoder.encode(self._left[start : start + frame], self._right[start : start + frame])
        del self._left[:whole], self._right[:whole]
        return packets

    def _pages(self, packets: list[bytes], *, last: bool) -> None:
        if not packets:
            return
        granule = self._granule + len(packets) * self._units
        position = self._ogg.pre_skip + self._samples * GRANULE_HZ // RATE_HZ if last else granule
        self._append(self._ogg.pages(packets, position, self._units, last=last))
        self._granule = granule

    def close(self) -> None:
        """See `SoundFile`: the encoder's delay is pushed out, and the last page says where the sound ends."""
        try:
            due = self._ogg.pre_skip + self._samples * GRANULE_HZ // RATE_HZ
            frames = max(1, -(-(due - self._granule) // self._units))
            missing = bytes(2 * (frames * self._frame - len(self._left)))
            self._left.frombytes(missing)
            self._right.frombytes(missing)
            self._pages(self._encoded(), last=True)
            os.fsync(self._descriptor)
        except OSError:
            pass
        finally:
            os.close(self._descriptor)

    def _append(self, data: bytes) -> None:
        self.bytes += append(self._descriptor, data)


class WavFile:
    """Stereo PCM; the sizes in its header follow each write."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.bytes = append(descriptor, wav.header(RATE_HZ, 2, 0))

    def write(self, left: array[int], right: array[int]) -> None:
        """See `SoundFile`."""
        both = array("h", bytes(4 * len(left)))
        both[0::2], both[1::2] = left, right
        if sys.byteorder == "big":
            both.byteswap()
        data = both.tobytes()
        if self.bytes - wav.HEADER_BYTES + len(data) > wav.MAX_DATA_BYTES:
            raise OSError(27, "a WAV file holds no more than 18 hours")  # EFBIG
        self.bytes += append(self._descriptor, data)
        self._sizes()

    def _sizes(self) -> None:
        os.pwrite(self._descriptor, wav.header(RATE_HZ, 2, self.bytes - wav.HEADER_BYTES), 0)

    def close(self) -> None:
        """See `SoundFile`."""
        try:
            os.fsync(self._descriptor)
        except OSError:
            pass
        finally:
            os.close(self._descriptor)


def append(descriptor: int, data: bytes) -> int:
    """Write all of *data*, or nothing: half a page at the end would be no whole file.

    Raises:
        OSError: it does not fit; the file is as it was.
    """
    start = os.lseek(descriptor, 0, os.SEEK_END)
    written = 0
    try:
        while written < len(data):
            written += os.write(descriptor, data[written:])
    except OSError:
        if written:
            os.ftruncate(descriptor, start)
        raise
    return written
