"""What is heard when a recording begins."""

from __future__ import annotations

import math
from array import array
from pathlib import Path

import pytest

from gateway.codecs import opus, wav
from gateway.codecs.g711 import decode
from gateway.domain.codecs import CODECS
from gateway.domain.errors import ConfigError
from gateway.media.announcement import RATE_HZ, Announcement, Playing, load_sound, make_tone

pytestmark = pytest.mark.unit


def sound_file(path: Path, seconds: float, rate_hz: int = 8000) -> Path:
    samples = array("h", (round(9000 * math.sin(n / 3)) for n in range(int(seconds * rate_hz))))
    path.write_bytes(wav.header(rate_hz, 1, 2 * len(samples)) + samples.tobytes())
    return path


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "G722"])
def test_a_sound_takes_the_place_of_payloads_of_its_own_length(codec: str) -> None:
    playing = Playing(make_tone())
    spoken = bytes((0x55,)) * 80  # 10 ms
    heard = [playing.instead(codec, spoken) for _ in range(60)]
    assert all(len(payload) == 80 for payload in heard)
    assert [payload is spoken for payload in heard] == [False] * 50 + [True] * 10
    assert playing.over


def test_it_is_heard_at_its_level_in_the_law() -> None:
    playing = Playing(make_tone())
    payload = b"".join(playing.instead("PCMU", bytes(160)) for _ in range(20))
    samples = decode("PCMU", payload)[400:]
    assert max(samples) == pytest.approx(3277, rel=0.05)  # -20 dBFS


def test_in_opus_whole_packets_take_the_place_of_as_many() -> None:
    playing = Playing(make_tone())
    twenty, forty = opus.silence(960), opus.silence(1920)
    first, second = playing.instead("opus", twenty), playing.instead("opus", forty)
    assert (opus.units(first), opus.units(second)) == (960, 1920)
    assert first != twenty
    assert second != forty
    ten = opus.silence(480)
    assert playing.instead("opus", ten) is ten  # there is no such packet to put there, and time goes on


def test_a_change_of_codec_goes_on_where_it_was() -> None:
    playing = Playing(Announcement(array("h", bytes(2 * RATE_HZ // 10))))  # 100 ms
    for codec in CODECS:
        playing.instead(codec, opus.silence(960) if codec == "opus" else bytes(160))
    assert not playing.over
    playing.instead("PCMU", bytes(160))
    assert playing.over


def test_a_file_of_any_rate_is_read(tmp_path: Path) -> None:
    assert load_sound(sound_file(tmp_path / "a.wav", 0.5)).length_ms == 500
    assert load_sound(sound_file(tmp_path / "b.wav", 0.3, 44_100)).length_ms == pytest.approx(300, abs=1)


@pytest.mark.parametrize(
    ("content", "why"), [(b"not a sound", "cannot be read"), (None, "cannot be read"), (b"RIFF", "cannot be read")]
)
def test_what_is_no_sound_is_refused(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "x.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=why):
        load_sound(path)


def test_a_file_that_holds_nothing_or_too_much_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no sound"):
        load_sound(sound_file(tmp_path / "empty.wav", 0))
    with pytest.raises(ConfigError, match="longer than 30 s"):
        load_sound(sound_file(tmp_path / "long.wav", 31))
