"""Files of recordings: whole at any time, and read by others."""

from __future__ import annotations

import math
import os
import stat
import struct
from array import array
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.codecs import wav
from gateway.codecs.ogg import OggOpus, checksum, duration_s
from gateway.domain.recording import RecordingFormat
from gateway.media.recording_file import RATE_HZ, SoundFile, append, open_sound_file

pytestmark = pytest.mark.unit

LEFT_HZ, RIGHT_HZ = 440, 1000


def tone(hz: float, start: int, count: int, peak: int = 8000) -> array[int]:
    return array("h", (round(peak * math.sin(2 * math.pi * hz * n / RATE_HZ)) for n in range(start, start + count)))


def write(file: SoundFile, seconds: float, *, start: int = 0, part: int = 3200) -> None:
    for at in range(start, start + int(seconds * RATE_HZ), part):
        file.write(tone(LEFT_HZ, at, part), tone(RIGHT_HZ, at, part))


def read(path: Path) -> tuple[NDArray[np.float64], int]:
    """Both channels as FFmpeg reads them, and the rate."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        parts = [
            frame.to_ndarray() if frame.format.is_planar else frame.to_ndarray().reshape(-1, 2).T
            for frame in container.decode(stream)
        ]
        sound = np.concatenate(parts, axis=1).astype(np.float64)
        return (sound if stream.codec_context.format.name.startswith("s16") else sound * 32768), stream.rate


def level_db(sound: NDArray[np.float64], rate: int, hz: float, peak: float = 8000) -> float:
    """The level of a tone in dB of *peak*."""
    n = np.arange(len(sound))
    return float(20 * np.log10(abs(np.mean(sound * np.exp(-2j * np.pi * hz * n / rate))) * 2 / peak))


@pytest.mark.parametrize("kind", list(RecordingFormat))
def test_left_is_left_right_is_right_at_their_levels(tmp_path: Path, kind: RecordingFormat) -> None:
    file = open_sound_file(tmp_path / "a" / "b", "x" + kind.suffix, kind)
    write(file, 3)
    file.close()
    path = tmp_path / "a" / "b" / ("x" + kind.suffix)
    assert path.stat().st_size == file.bytes
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    sound, rate = read(path)
    assert sound.shape[1] / rate == pytest.approx(3, abs=0.001)
    middle = sound[:, rate // 2 : rate * 5 // 2]
    assert abs(level_db(middle[0], rate, LEFT_HZ)) < 0.2
    assert abs(level_db(middle[1], rate, RIGHT_HZ)) < 0.2
    assert level_db(middle[0], rate, RIGHT_HZ) < -50
    assert level_db(middle[1], rate, LEFT_HZ) < -50


@pytest.mark.parametrize("kind", list(RecordingFormat))
def test_what_is_on_the_disk_is_a_whole_file_at_any_time(tmp_path: Path, kind: RecordingFormat) -> None:
    path = tmp_path / ("x" + kind.suffix)
    file = open_sound_file(tmp_path, path.name, kind)
    write(file, 1)
    data = path.read_bytes()
    left = tmp_path / ("left" + kind.suffix)
    left.write_bytes(data)
    sound, rate = read(left)
    assert sound.shape[1] / rate == pytest.approx(1, abs=0.021)
    if kind is RecordingFormat.OPUS:
        assert duration_s(data) == pytest.approx(1, abs=0.01)
    else:
        assert data[:4] + data[8:16] == b"RIFFWAVEfmt "
        assert struct.unpack_from("<I", data, 40)[0] == len(data) - wav.HEADER_BYTES
    file.close()


def test_both_channels_are_aligned(tmp_path: Path) -> None:
    file = open_sound_file(tmp_path, "x.opus", RecordingFormat.OPUS)
    silence, click = array("h", bytes(2 * 3200)), tone(2000, 0, 3200)
    for part in (silence, click, silence):
        file.write(part, part)
    file.close()
    sound, rate = read(tmp_path / "x.opus")
    starts = [int(np.argmax(np.abs(channel) > 2000)) / rate for channel in sound]
    assert starts[0] == starts[1] == pytest.approx(0.2, abs=0.003)  # the encoder's delay is no part of the sound


def test_pages_are_numbered_and_their_checksums_hold(tmp_path: Path) -> None:
    file = open_sound_file(tmp_path, "x.opus", RecordingFormat.OPUS)
    write(file, 1)
    file.close()
    data = (tmp_path / "x.opus").read_bytes()
    pages, at = [], 0
    while at < len(data):
        _, version, flags, granule, _, number, found, count = struct.unpack_from("<4sBBqIIIB", data, at)
        size = 27 + count + sum(data[at + 27 : at + 27 + count])
        page = bytearray(data[at : at + size])
        page[22:26] = bytes(4)
        assert (version, found) == (0, checksum(page))
        pages.append((number, flags, granule))
        at += size
    assert [number for number, _, _ in pages] == list(range(len(pages)))
    assert [flags for _, flags, _ in pages] == [2] + [0] * (len(pages) - 2) + [4]
    assert [granule for _, _, granule in pages] == sorted(granule for _, _, granule in pages)
    assert pages[-1][2] == 48_000 + 312  # the pre-skip, and a second


def test_many_packets_are_put_on_several_pages() -> None:
    ogg = OggOpus(b"OpusHead\x01\x02\x38\x01" + bytes(7), 7)
    data = ogg.pages([bytes(300)] * 200, 200 * 960, 960)
    assert data.count(b"OggS") == 2  # 2 lacing values each, 255 on a page
    assert struct.unpack_from("<q", data, 6)[0] == 127 * 960
    assert ogg.pages([], 5, 960) == b""


def test_a_tail_without_a_page_has_no_length() -> None:
    assert duration_s(b"") == 0
    assert duration_s(b"xxOggS\0") == 0


def test_no_file_is_written_over_and_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "x.wav").symlink_to("/dev/null")
    (tmp_path / "y.wav").write_text("here")
    for name in ("x.wav", "y.wav"):
        with pytest.raises(FileExistsError):
            open_sound_file(tmp_path, name, RecordingFormat.WAV)


def test_a_write_that_does_not_fit_leaves_the_file_as_it_was() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="No space left"):
            append(descriptor, b"xx")
    finally:
        os.close(descriptor)
