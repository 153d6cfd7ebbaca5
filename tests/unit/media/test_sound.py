"""Decoders and encoders of every codec: exact frames, level, copies of lost packets."""

from __future__ import annotations

import math
from array import array

import numpy as np
import pytest

from gateway.codecs import payload as payloads
from gateway.codecs.libopus import OpusDecoder, OpusEncoder, OpusLibrary
from gateway.codecs.sound import OpusSettings, Resampler, SoundCodecs, meeting_rate_hz
from gateway.domain.codecs import CODECS, G711
from gateway.domain.errors import Unavailable
from tests.support.audio import Samples

pytestmark = pytest.mark.unit

ALL = sorted(CODECS)


@pytest.fixture(scope="module")
def codecs() -> SoundCodecs:
    return SoundCodecs.load()


def noise_of(rate_hz: int, seconds: float, level: float = 3000) -> Samples:
    """Noise up to 3 kHz that comes and goes as speech does, the same on each call."""
    random = np.random.default_rng(7)
    count = round(seconds * rate_hz)
    spectrum = np.fft.rfft(random.normal(size=count))
    hz = np.fft.rfftfreq(count, 1 / rate_hz)
    spectrum[(hz < 200) | (hz > 3000)] = 0
    sound = np.fft.irfft(spectrum, count)
    sound *= 0.6 + 0.4 * np.sin(2 * np.pi * 4 * np.arange(count) / rate_hz)
    return np.asarray(level * sound / np.sqrt(np.mean(sound**2)), dtype=np.float64)


def raw(samples: Samples) -> bytes:
    return array("h", [max(-32768, min(32767, round(float(x)))) for x in samples]).tobytes()


def cooked(sound: bytes) -> Samples:
    return np.frombuffer(sound, dtype=np.int16).astype(float)


def db(one: Samples, other: Samples) -> float:
    return float(10 * np.log10(np.mean(one**2) / np.mean(other**2)))


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 50, 60])
@pytest.mark.parametrize("codec", ALL)
@pytest.mark.parametrize("rate_hz", [8000, 16000])
def test_frames_are_exact(codecs: SoundCodecs, codec: str, ptime_ms: int, rate_hz: int) -> None:
    if codec != "opus":
        rate_hz = CODECS[codec].sample_rate_hz
    encoder, decoder = codecs.encoder(codec, rate_hz, ptime_ms), codecs.decoder(codec, rate_hz)
    samples = rate_hz * encoder.frame_ms // 1000
    assert encoder.frame_ms == ptime_ms
    for _ in range(3):
        payload = encoder.encode(raw(noise_of(rate_hz, ptime_ms / 1000)))
        assert payloads.units(codec, payload) == CODECS[codec].clock_rate_hz * ptime_ms // 1000
        sound = decoder.decode(payload)
        assert sound is not None
        assert len(sound) == 2 * samples


def test_opus_has_multiples_of_10_ms_only(codecs: SoundCodecs) -> None:
    assert codecs.encoder("opus", 8000, 35).frame_ms == 30
    assert codecs.encoder("PCMU", 8000, 35).frame_ms == 35


@pytest.mark.parametrize("codec", ALL)
def test_a_decoder_makes_as_much_as_was_lost(codecs: SoundCodecs, codec: str) -> None:
    for rate_hz in (8000, 16000):
        native = rate_hz if codec == "opus" else CODECS[codec].sample_rate_hz
        decoder = codecs.decoder(codec, rate_hz)
        decoder.decode(codecs.encoder(codec, native, 20).encode(raw(noise_of(native, 0.02))))
        for samples in (20, 80, 160, 234, 480):
            assert len(decoder.conceal(samples)) == 2 * samples
            assert len(decoder.recover(b"\x00", samples)) == 2 * samples


@pytest.mark.parametrize("codec", ALL)
def test_what_is_malformed_is_told_and_does_not_raise(codecs: SoundCodecs, codec: str) -> None:
    decoder = codecs.decoder(codec, 8000)
    assert decoder.decode(b"") is None
    if codec == "opus":
        assert decoder.decode(b"\xff\xff\xff") is None


@pytest.mark.parametrize(("source", "target"), [(a, b) for a in ALL for b in ALL if a != b and {a, b} != G711])
def test_the_level_is_kept_within_a_fifth_of_a_decibel(codecs: SoundCodecs, source: str, target: str) -> None:
    """Of telephony's tone for levels. At others, and of speech, Opus itself is off by up to half a decibel."""
    rate_hz = meeting_rate_hz(source, target)
    native = rate_hz if source == "opus" else CODECS[source].sample_rate_hz
    sound = 8000 * np.sin(2 * np.pi * 1004 * np.arange(native * 2) / native)
    coder, decoder = codecs.encoder(source, native, 20), codecs.decoder(source, rate_hz)
    encoder, back = codecs.encoder(target, rate_hz, 20), codecs.decoder(target, rate_hz)
    step = native // 50
    came, left = [], []
    for at in range(0, len(sound), step):
        decoded = decoder.decode(coder.encode(raw(sound[at : at + step])))
        assert decoded is not None
        heard = back.decode(encoder.encode(decoded))
        assert heard is not None
        came.append(cooked(decoded))
        left.append(cooked(heard))
    settled = slice(50, None)
    assert db(np.concatenate(left[settled]), np.concatenate(came[settled])) == pytest.approx(0, abs=0.2)


def test_rates_meet_where_neither_wastes_any() -> None:
    found = {(a, b): meeting_rate_hz(a, b) for a in ALL for b in ALL}
    assert found["opus", "PCMU"] == found["PCMA", "opus"] == 8000
    assert found["opus", "G722"] == found["G722", "opus"] == 16000
    assert found["G722", "PCMA"] == 8000
    assert found["PCMU", "G722"] == 16000


def test_a_copy_in_the_next_packet_is_better_than_what_is_made_up() -> None:
    library = OpusLibrary()
    sound = noise_of(8000, 3)
    encoder = OpusEncoder(library, 8000, bitrate_bps=24_000, complexity=5)
    encoder.expect_loss(20)
    packets = [encoder.encode(raw(sound[at : at + 160])) for at in range(0, len(sound) - 160, 160)]
    whole, copied, made = (OpusDecoder(library, 8000) for _ in range(3))
    errors: dict[str, list[float]] = {"copied": [], "made": []}
    for n, packet in enumerate(packets[:-1]):
        truth = cooked(whole.decode(packet) or b"")
        if n % 10 == 5:
            errors["copied"].append(float(np.mean((cooked(copied.recover(packets[n + 1], 160) or b"") - truth) ** 2)))
            errors["made"].append(float(np.mean((cooked(made.conceal(160)) - truth) ** 2)))
        else:
            copied.decode(packet)
            made.decode(packet)
    assert sum(errors["copied"]) < 0.5 * sum(errors["made"])


def test_expected_loss_costs_bits_only_where_it_is_expected(codecs: SoundCodecs) -> None:
    library = OpusLibrary()
    sound = raw(noise_of(8000, 1))
    packet_sizes = []
    for loss in (0, 20):
        encoder = OpusEncoder(library, 8000, bitrate_bps=20_000, complexity=5)
        encoder.expect_loss(loss)
        packet_sizes.append(sum(len(encoder.encode(sound[at : at + 320])) for at in range(0, len(sound), 320)))
    assert all(size * 8 < 24_000 for size in packet_sizes)


def test_without_libopus_the_others_are_converted_and_opus_is_refused_by_name() -> None:
    codecs = SoundCodecs(None)
    assert codecs.names == frozenset({"G722", "PCMU", "PCMA"})
    assert "libopus" in codecs.missing
    with pytest.raises(Unavailable, match="libopus"):
        codecs.decoder("opus", 8000)
    with pytest.raises(Unavailable, match="libopus"):
        codecs.encoder("opus", 8000, 20)
    assert codecs.encoder("G722", 16000, 20).encode(bytes(640))


def test_a_library_that_is_not_there_is_named_with_what_to_install() -> None:
    with pytest.raises(Unavailable, match="libopus0"):
        OpusLibrary("/nowhere/libopus.so")


@pytest.mark.parametrize(("from_hz", "to_hz"), [(8000, 16000), (16000, 8000)])
def test_a_resampler_gives_as_much_as_it_takes_and_keeps_the_level(from_hz: int, to_hz: int) -> None:
    resampler = Resampler(from_hz, to_hz)
    tone = 8000 * np.sin(2 * np.pi * 1000 * np.arange(from_hz) / from_hz)
    out = []
    for at in range(0, len(tone), from_hz // 100):
        got = resampler.feed(raw(tone[at : at + from_hz // 100]))
        assert len(got) == 2 * (to_hz // 100)
        out.append(cooked(got))
    assert db(np.concatenate(out)[to_hz // 10 :], tone) == pytest.approx(0, abs=0.1)


def test_settings_cap_the_bit_rate() -> None:
    codecs = SoundCodecs(OpusLibrary(), OpusSettings(narrow_bps=40_000))
    sound = raw(noise_of(8000, 2))

    def size(limit: int | None) -> int:
        encoder = codecs.encoder("opus", 8000, 20, limit)
        return sum(len(encoder.encode(sound[at : at + 320])) for at in range(0, len(sound), 320))

    assert size(12_000) < 0.5 * size(None)
    assert math.isclose(size(12_000) * 8 / 2, 12_000, rel_tol=0.3)
