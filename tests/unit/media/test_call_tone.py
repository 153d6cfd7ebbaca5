"""Tones in place of the page's sound: their rhythm, every codec, their numbers, and how they begin and end."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from gateway.codecs.pcm import PcmDecoder
from gateway.codecs.sound import SoundCodecs
from gateway.domain import termination as t
from gateway.domain.call_tones import CadencePart, CallTones, parse_cadence
from gateway.media.call_tone import FADE_MS, LEVEL_DBFS, CadenceSound, CallTone
from gateway.media.path import PacketPath, routes
from gateway.protocol.rtp import OutgoingStream, RtpHeader, build_packet, parse_header, payload_of
from tests.support.audio import level_dbfs, tone_hz

pytestmark = pytest.mark.unit

RINGING = "425/1000,0/4000"
LIBRARY = SoundCodecs.load()
RATES_HZ = {"PCMU": 8000, "PCMA": 8000, "G722": 16_000, "opus": 48_000}


def test_a_rhythm_is_read() -> None:
    assert parse_cadence(RINGING) == (CadencePart((425,), 1000), CadencePart((), 4000))
    assert parse_cadence(" 440+480/2000, 0/4000")[0].hz == (440, 480)


@pytest.mark.parametrize(
    "text", ["", "425", "425/", "a/100", "425/1000;0/1", "425/10", "9000/100", "425/20001", "425/100," * 16 + "0/100"]
)
def test_what_is_no_rhythm_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"parts|Hz"):
        parse_cadence(text)


def test_who_is_busy_sounds_unlike_a_fault() -> None:
    tones = CallTones("", "480/250", "425/250", 3.0)
    assert [tones.of(one) for one in (t.BUSY, t.DECLINED, t.NO_ANSWER, t.PAGE_LOST, t.HANGUP)] == [
        "480/250", "480/250", "425/250", "425/250", "",
    ]  # fmt: skip
    assert not CallTones("", "480/250", "425/250", 0.0).of(t.BUSY)


def test_a_tone_has_its_level_its_pause_and_no_edge() -> None:
    sound = CadenceSound(parse_cadence("425/500,0/500"), 8000)
    samples = np.array(sound.take(16_000), dtype=np.float64)
    first, pause, second = samples[:4000], samples[4000:8000], samples[8000:12_000]
    assert abs(tone_hz(first[500:3500], 8000) - 425) < 1
    assert abs(level_dbfs(first[500:3500] / 32768) - LEVEL_DBFS) < 0.3
    assert not pause.any()
    assert (first == second).all()
    steepest = np.abs(np.diff(samples)).max()
    steady = np.abs(np.diff(first[1000:3000])).max()
    assert steepest <= steady + 1
    loud = np.abs(first).max()
    assert np.abs(first[: FADE_MS * 2]).max() < 0.3 * loud  # a quarter of the fade
    assert np.abs(first[-FADE_MS * 2 :]).max() < 0.3 * loud


def test_parts_of_a_tone_are_the_whole() -> None:
    whole = CadenceSound(parse_cadence("440+480/130,0/70"), 8000).take(4000)
    sound = CadenceSound(parse_cadence("440+480/130,0/70"), 8000)
    assert sum((sound.take(160) for _ in range(25)), array("h")) == whole


@dataclass
class Rig:
    """A tone and the path whose place it takes."""

    codec: str = "PCMU"
    cadence: str = RINGING
    sends: bool = True
    now_s: float = 5.0
    sent: list[bytes] = field(default_factory=list)
    due: tuple[float, Callable[[], None]] | None = None

    def __post_init__(self) -> None:
        bits = iter([0xBEEF, 65_530, 0xFFFFFF00])
        self.path = PacketPath(OutgoingStream(lambda width: next(bits)))
        self.path.set_routes(routes({0: "PCMU"}, {"PCMU": 0}, "PCMU"))

    def play(self) -> CallTone:
        return CallTone(
            self.path, parse_cadence(self.cadence), LIBRARY, lambda: (self.codec, 96) if self.sends else None,
            self.sent.append, self.schedule, lambda: self.now_s,
        )  # fmt: skip

    def schedule(self, at_s: float, callback: Callable[[], None]) -> Rig:
        self.due = (at_s, callback)
        return self

    def cancel(self) -> None:
        self.due = None

    def run(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while self.due is not None and self.due[0] <= until_s + 1e-6:
            at_s, turn = self.due
            self.now_s = max(self.now_s, at_s)
            turn()
        self.now_s = until_s

    def sound(self) -> np.ndarray:
        decoder = PcmDecoder(self.codec, RATES_HZ[self.codec])
        samples = array("h")
        for packet in self.sent:
            samples += decoder.feed(payload_of(packet))
        return np.array(samples, dtype=np.float64) / 32768


@pytest.mark.parametrize("codec", list(RATES_HZ))
def test_every_codec_carries_it_and_it_ends_without_a_click(codec: str) -> None:
    if codec not in LIBRARY.names:
        pytest.skip(LIBRARY.missing)
    rig = Rig(codec)
    tone = rig.play()
    rig.run(0.5)  # in the midst of a tone
    tone.stop()
    assert rig.due is None
    rig.cancel()
    sound, rate = rig.sound(), RATES_HZ[codec]
    middle = sound[rate // 10 : rate * 4 // 10]
    assert abs(tone_hz(middle, rate) - 425) < 2
    assert abs(level_dbfs(middle) - LEVEL_DBFS) < 1
    steady = np.abs(np.diff(middle)).max()
    assert np.abs(np.diff(sound)).max() < 1.3 * steady
    if codec != "opus":  # whose last samples are still in the decoder
        assert np.abs(sound[-rate // 200 :]).max() < 0.01
    headers = [parse_header(packet) for packet in rig.sent]
    assert len(headers) == 27  # 26 turns of 20 ms, and the fading
    assert [one.marker for one in headers] == [True] + [False] * 26
    assert all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in itertools.pairwise(headers))
    step = 960 if codec == "opus" else 160
    assert {(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(headers)} == {step}
    assert {(one.ssrc, one.payload_type) for one in headers} == {(0xBEEF, 96)}


def test_a_pause_is_sent_as_silence_and_ends_at_once() -> None:
    rig = Rig(cadence="425/100,0/1000")
    tone = rig.play()
    rig.run(0.5)
    count = len(rig.sent)
    tone.stop()
    assert len(rig.sent) == count == 26
    assert payload_of(rig.sent[-1]) == b"\xff" * 160


def test_the_page_goes_on_where_the_tone_ended() -> None:
    rig = Rig()
    rig.path.forward(build_packet(RtpHeader(0, 7, 700, 1), bytes(160)), 5.0)
    rig.path.closed = None
    before = parse_header(rig.path.forward(build_packet(RtpHeader(0, 8, 860, 1), bytes(160)), 5.02) or b"")
    rig.path.redirect(rig.path.outgoing)
    rig.path.closed = "tone"
    rig.now_s = 5.1
    tone = rig.play()
    rig.run(0.2)
    assert rig.path.forward(build_packet(RtpHeader(0, 9, 1020, 1), bytes(160)), rig.now_s) is None
    tone.stop()
    rig.path.closed = None
    headers = [before, *map(parse_header, rig.sent)]
    rig.now_s += 0.02
    after = rig.path.forward(build_packet(RtpHeader(0, 10, 1180, 1), bytes(160)), rig.now_s)
    assert after is not None
    headers.append(parse_header(after))
    assert all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in itertools.pairwise(headers))
    ahead = [(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(headers)]
    assert ahead[0] == 640  # 80 ms of nothing before the tone
    assert set(ahead[1:]) == {160}
    assert (headers[1].marker, headers[-1].marker) == (True, True)


def test_a_held_phone_hears_nothing_and_the_rest_afterwards() -> None:
    rig = Rig()
    rig.play()
    rig.run(0.1)
    rig.sends = False
    rig.run(1.0)
    count = len(rig.sent)
    assert count == 6
    rig.sends = True
    rig.run(0.1)
    assert parse_header(rig.sent[count]).marker
    assert (parse_header(rig.sent[count]).timestamp - parse_header(rig.sent[count - 1]).timestamp) & 0xFFFFFFFF >= 7840


def test_a_machine_that_stood_still_sends_no_burst() -> None:
    rig = Rig()
    rig.play()
    rig.run(0.1)
    rig.now_s += 2.0
    count = len(rig.sent)
    rig.run(0.1)
    assert len(rig.sent) - count in {5, 6}
    assert parse_header(rig.sent[count]).marker


def test_a_change_of_codec_begins_the_rhythm_anew() -> None:
    rig = Rig()
    rig.play()
    rig.run(0.1)
    rig.codec = "G722"
    rig.run(0.1)
    markers = [parse_header(packet).marker for packet in rig.sent]
    assert [index for index, marker in enumerate(markers) if marker] == [0, 6]


def test_what_cannot_be_coded_here_is_silence() -> None:
    rig = Rig("opus")
    bare = SoundCodecs(None)
    CallTone(
        rig.path, parse_cadence(RINGING), bare, lambda: ("opus", 96), rig.sent.append, rig.schedule, lambda: rig.now_s
    )
    rig.run(0.2)
    assert rig.sent == []
