"""The verdict of a test call, and the ear that hears for it."""

from __future__ import annotations

import random
from array import array

import pytest

from gateway.codecs import g711
from gateway.codecs.tone_ear import BURST, SILENCE, TONE, ToneEar, frame_to_play, tone_share
from gateway.codecs.tones import tone
from gateway.events.quality import DirectionQuality, Quality
from gateway.tone_phone import Phoned
from gateway.tone_verdict import judge

pytestmark = pytest.mark.unit

WELL = Phoned(
    rang_s=0.4, answered_s=2.1, codec="PCMU", sent=500, received=498, lost=2, jitter_ms=0.8, heard_share=0.6,
    heard_dbfs=-14.2, echo_ms=310.5,
)  # fmt: skip


def quality(level_dbfs: float | None = -14.0, packets: int = 500, page_dbfs: float | None = -20.0) -> Quality:
    def way(level: float | None, count: int) -> DirectionQuality:
        return DirectionQuality(
            packets=count, lost=0, jitter_ms=0.1, dropped=0, keys=0, level_dbfs=level, delay_ms=50.0
        )

    return Quality(
        codec="PCMU", wa_to_sip=way(page_dbfs, 500), sip_to_wa=way(level_dbfs, packets), round_trip_ms=None,
        peer_lost=0, peer_jitter_ms=0,
    )  # fmt: skip


def failed(found: Phoned, figures: Quality | None = None, **how: bool) -> list[str]:
    return [one.check for one in judge(found, figures, **how) if not one.ok]


def changed(**figures: object) -> Phoned:
    from dataclasses import replace

    return replace(WELL, **figures)  # type: ignore[arg-type]


def test_a_call_that_went_well() -> None:
    findings = judge(WELL, quality(), echo=True)
    assert all(one.ok for one in findings)
    assert [one.check for one in findings] == ["call", "to WhatsApp", "packets", "from WhatsApp", "echo"]
    assert "310.5 ms" in findings[-1].detail
    assert "hears -14 dBFS" in findings[1].detail


def test_what_is_not_well() -> None:
    assert failed(Phoned(failure="the gateway answered 603 Decline")) == ["call"]
    assert failed(changed(failure="it was hung up before the test was over"), quality()) == ["call"]
    assert failed(changed(received=0, lost=0, heard_share=0.0)) == ["packets", "from WhatsApp"]
    assert failed(changed(lost=100), quality()) == ["packets"]
    assert failed(changed(heard_share=0.0), quality()) == ["from WhatsApp"]
    assert failed(changed(heard_share=0.0), quality(), silent=True) == []
    assert failed(changed(echo_ms=None), quality(), echo=True) == ["echo"]
    assert failed(changed(echo_ms=None), quality()) == []


@pytest.mark.parametrize(
    ("figures", "well"),
    [
        (quality(None), False),  # the page tells of its speaker, and its microphone heard nothing
        (quality(-60.0), False),
        (quality(None, page_dbfs=None), True),  # a page that tells nothing of its sound
        (quality(None, packets=0, page_dbfs=None), False),
        (None, True),
    ],
)
def test_what_whatsapps_microphone_heard(figures: Quality | None, well: bool) -> None:
    assert ("to WhatsApp" in failed(WELL, figures)) is not well


def test_the_tone_is_known_again_after_a_codec_and_at_any_phase_and_nothing_else_is() -> None:
    shifted = tone([800], -20, 160, start=37)
    for codec in ("PCMU", "PCMA"):
        assert tone_share(g711.decode(codec, g711.encode(codec, shifted))) > 0.95
    noise = random.Random(7)
    for other in (
        tone([1000], -14, 160),
        tone([440], -14, 160),
        array("h", [noise.randint(-9000, 9000) for _ in TONE]),
    ):
        assert tone_share(other) < 0.2
    assert tone_share(SILENCE) == 0.0


def test_an_echo_is_timed_from_burst_to_burst() -> None:
    ear, late = ToneEar(), 15  # frames: 300 ms
    for number in range(6 * BURST):
        at_s = number * 0.02
        if number % (2 * BURST) == 0:
            ear.played(at_s)
        ear.hear(frame_to_play(number - late) if number >= late else SILENCE, at_s)
    assert ear.echo_ms == 300.0
    assert (ear.frames, ear.loud) == (6 * BURST, 3 * BURST)
    assert -15 < ear.level_dbfs < -13


def test_a_voice_is_heard_and_is_no_echo() -> None:
    ear = ToneEar()
    ear.played(0.0)
    for number in range(100):
        ear.hear(tone([1000], -12, 160), number * 0.02)
    assert (ear.loud, ear.echo_ms) == (100, None)
