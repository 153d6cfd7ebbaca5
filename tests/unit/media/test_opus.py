"""Opus packets taken apart and joined; wide band made narrow; silence of every codec."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.codecs import g711, opus
from gateway.codecs.narrow import NarrowBand
from gateway.codecs.payload import silent, units
from gateway.domain.codecs import CODECS, G722, OPUS
from tests.support.audio import fit_sine, level_dbfs, sine
from tests.support.audio_codecs import Decoder, Encoder

pytestmark = pytest.mark.unit


def packets(codec: str, hz: float, seconds: float, ptime_ms: int = 20) -> list[bytes]:
    encoder = Encoder(codec, ptime_ms=ptime_ms)
    sound = sine(hz, -20, seconds, encoder.codec.sample_rate_hz)
    return [
        encoder.encode(sound[at : at + encoder.frame]) for at in range(0, len(sound) - encoder.frame + 1, encoder.frame)
    ]


@pytest.mark.parametrize("ptime_ms", [10, 20, 40, 60])
def test_length_is_what_the_encoder_made(ptime_ms: int) -> None:
    for packet in packets("opus", 440, 0.5, ptime_ms):
        assert opus.units(packet) == 48 * ptime_ms
        frames = opus.frames(packet)
        assert frames is not None
        assert len(frames) * opus.frame_units(packet[0]) == 48 * ptime_ms


@pytest.mark.parametrize(
    ("packet", "length"),
    [
        (b"", 0), (b"\x00", 480), (b"\x18", 2880), (b"\x60", 480), (b"\x68", 960), (b"\x80", 120), (b"\xf8", 960),
        (b"\xf9", 1920), (b"\xfa\x00", 1920), (b"\xfb", 0), (b"\xfb\x00", 0), (b"\xfb\x06", 5760), (b"\xfb\x07", 0),
        (b"\x1b\x03", 0),
    ],
)  # fmt: skip
def test_length_by_configuration_and_count(packet: bytes, length: int) -> None:
    assert opus.units(packet) == length


@pytest.mark.parametrize(
    ("packet", "frames"),
    [
        (b"\xf8abc", [b"abc"]),
        (b"\xf9abcd", [b"ab", b"cd"]),
        (b"\xf9abc", None),
        (b"\xfa\x01abc", [b"a", b"bc"]),
        (b"\xfa\x09abc", None),
        (b"\xfa", None),
        (b"\xfb\x02abcd", [b"ab", b"cd"]),
        (b"\xfb\x02abc", None),
        (b"\xfb\x83\x01\x02abbccc", [b"a", b"bb", b"ccc"]),
        (b"\xfb\x83\x01", None),
        (b"\xfb\x82\x09abc", None),
        (b"\xfb\x42\x02abcd\0\0", [b"ab", b"cd"]),  # two bytes of padding
        (b"\xfb\x42\x09ab", None),
        (b"\xfb\x42", None),
        (b"\xfb\x41\xff\x00" + b"x" * 3 + b"\0" * 254, [b"xxx"]),
        (b"\xfa\xfc\x01" + b"a" * 256 + b"b", [b"a" * 256, b"b"]),
        (b"\xfa\xfc", None),
        (b"\xf8" + b"x" * 1276, None),
    ],
)
def test_frames_by_code(packet: bytes, frames: list[bytes] | None) -> None:
    assert opus.frames(packet) == frames


def test_joined_packets_decode_to_the_same_sound() -> None:
    made = packets("opus", 440, 0.6)
    # An encoder may change its mode between two packets; those do not share one.
    joined = [opus.join(made[at : at + 3]) for at in range(3, 30, 3)]
    assert all(joined)
    one, other = Decoder("opus"), Decoder("opus")
    for packet in made[:3]:
        other.decode(packet)
        one.decode(packet)
    whole = np.concatenate([one.decode(packet) for packet in made[3:]])
    assert np.array_equal(whole, np.concatenate([other.decode(packet or b"") for packet in joined]))
    assert {opus.units(packet or b"") for packet in joined} == {2880}


def test_what_may_not_share_a_packet_is_not_joined() -> None:
    assert opus.join([b"\xf8a"]) == b"\xf8a"
    assert opus.join([b"\xf8a", b"\xf0b"]) is None
    assert opus.join([b"\xf8a"] * 7) is None  # 140 ms
    assert opus.join([b"", b"\xf8a"]) is None
    assert opus.join([b"\xf8a", b""]) is None
    assert opus.join([b"\xf8a", b"\xf9b"]) is None  # malformed
    assert opus.frames(opus.join([b"\xf8" + b"a" * 300, b"\xf8" + b"b" * 251]) or b"") == [b"a" * 300, b"b" * 251]


@pytest.mark.parametrize("codec", list(CODECS))
def test_silence_is_silent_and_as_long(codec: str) -> None:
    decoder = Decoder(codec)
    for ptime_ms in (10, 20, 40, 60) if codec != "G722" else (20,):  # FFmpeg's encoder of G.722 knows one length
        sounding = packets(codec, 440, 0.4, ptime_ms)
        for packet in sounding:
            decoder.decode(packet)
        quiet = silent(codec, sounding[-1])
        assert units(codec, quiet) == units(codec, sounding[-1])
        decoder.decode(quiet)
        assert level_dbfs(decoder.decode(quiet)) < -55
    assert opus.units(silent("opus", b"")) == 960  # of nothing that lasts


@pytest.mark.parametrize("codec", [OPUS, G722])
def test_wide_band_becomes_g711_that_sounds_the_same(codec: object) -> None:
    assert codec in (OPUS, G722)
    name = "opus" if codec is OPUS else "G722"
    narrow = NarrowBand(CODECS[name])
    heard = b"".join(narrow.feed(packet) for packet in packets(name, 770, 1))
    assert 8000 - len(heard) < 80  # what the resampler holds back
    fit = fit_sine(np.array(g711.decode("PCMU", heard)[4000:], dtype=np.float64) / 32768, 8000)
    assert fit.hz == pytest.approx(770, abs=0.5)
    assert fit.dbfs == pytest.approx(-20, abs=0.2)


@pytest.mark.parametrize("name", ["opus", "G722"])
def test_what_cannot_be_decoded_is_no_sound_and_no_end(name: str) -> None:
    narrow = NarrowBand(CODECS[name])
    good = packets(name, 770, 0.2)
    for packet in good:
        narrow.feed(packet)
    for bad in (b"", b"\xfb", b"\xff" * 3, b"\x07\x01"):
        narrow.feed(bad)
    assert sum(len(narrow.feed(packet)) for packet in good) > 1000
