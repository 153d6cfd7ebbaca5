"""A call's figures, from a call that was made up: perfect first, then with one thing wrong at a time."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.demo import report
from tests.demo.call import CallRecord, Direction, Spoken
from tests.demo.measure import Limits, Unmeasurable, failures, measure, played_out
from tests.support.audio import Samples, Timeline, resample, silence, sine
from tests.support.audio_g711 import decode_g711
from tests.support.wire import Datagram, RtpPacket, SipMessage, stream_of

pytestmark = pytest.mark.unit

ANSWERED_S = 1_700_000_000.0
PHONE, PONTE = ("127.0.0.1", 5000), ("127.0.0.1", 5080)
LIMITS = Limits(latency_count=10)


def voice(seconds: float, rate_hz: int, seed: int) -> Samples:
    """Noise in the rhythm of speech: quick to make, and alike only itself."""
    random = np.random.default_rng(seed)
    noise = resample(random.normal(0, 0.1, round(seconds * 8000)), 8000, rate_hz)
    envelope = 0.6 + 0.4 * np.sin(2 * np.pi * 3 * np.arange(len(noise)) / rate_hz)
    return np.asarray(noise * envelope, dtype=np.float64)


def said(tone_hz: float, rate_hz: int, seed: int) -> Timeline:
    random = np.random.default_rng(seed)
    tone_s, speech_s = (0.0, 2.0), (2.5, 5.5)
    bursts = tuple(np.round(6.0 + np.cumsum(random.uniform(0.24, 0.48, 12)), 3))
    samples = silence(bursts[-1] + 1, rate_hz)
    for what, at_s in (
        (sine(tone_hz, -12, 2, rate_hz), 0.0),
        (voice(3, rate_hz, seed), speech_s[0]),
        *((sine(1000, -6, 0.06, rate_hz), at_s) for at_s in bursts),
    ):
        first = round(at_s * rate_hz)
        samples[first : first + len(what)] = what
    return Timeline(tone_hz, tone_s, speech_s, bursts, samples, rate_hz)


def encode(samples: Samples) -> bytes:
    """PCMU by looking for the nearest value."""
    codes = np.arange(256, dtype=np.uint8)
    values = decode_g711(codes.tobytes(), 0)
    order = np.argsort(values, kind="stable")
    edges = (values[order][1:] + values[order][:-1]) / 2
    return codes[order][np.searchsorted(edges, samples)].tobytes()


def packets(samples: Samples, start_s: float, ssrc: int) -> tuple[RtpPacket, ...]:
    coded = encode(samples)
    found = []
    for number in range(len(coded) // 160):
        # A packet is on the wire when its last sample was there.
        datagram = Datagram(start_s + (number + 1) * 0.02, PONTE, PHONE, b"")
        found.append(
            RtpPacket(datagram, 0, False, number, 160 * number, ssrc, coded[160 * number : 160 * number + 160])
        )
    return tuple(found)


def message(at_s: float, method: str, status: int | None, *, to_phone: bool = True) -> SipMessage:
    ends = (PONTE, PHONE) if to_phone else (PHONE, PONTE)
    return SipMessage(Datagram(at_s, *ends, b""), method, status, "x", {}, "")


def call(direction: Direction = "whatsapp_to_sip") -> CallRecord:
    """A call without a fault: 30 ms from page to wire, 50 ms from wire to page, audio 100 ms after the answer."""
    spoken = Spoken(said(437.0, 16_000, 1), said(1013.0, 8000, 2))
    whatsapp_s, phone_s = ANSWERED_S + 0.1, ANSWERED_S + 0.02
    at_phone = resample(spoken.whatsapp.samples, 16_000, 8000)
    to_phone = packets(at_phone, whatsapp_s, 7)
    from_phone = packets(spoken.phone.samples, phone_s, 9)
    marks: dict[str, list[dict[str, Any]]] = {
        "emitted": [{"at": whatsapp_s + at_s - 0.01} for at_s in (0.0, *spoken.whatsapp.bursts_s)],
        "received": [{"at": phone_s + at_s + 0.06} for at_s in (0.0, *spoken.phone.bursts_s)],
        "events": [{"event": "ring", "at": ANSWERED_S - 1.2}, {"event": "accepted", "at": ANSWERED_S}],
    }
    sip = (
        message(ANSWERED_S - 1.0, "INVITE", None, to_phone=direction == "whatsapp_to_sip"),
        message(ANSWERED_S - 0.4, "INVITE", 180),
        message(ANSWERED_S, "INVITE", 200, to_phone=False),
    )
    heard = np.concatenate([silence(0.5, 16_000), resample(spoken.phone.samples, 8000, 16_000)])
    return CallRecord(
        direction, spoken, stream_of(to_phone).samples, (heard, 16_000), to_phone, from_phone, sip, PHONE[1], marks, {}
    )


@pytest.fixture(scope="module")
def perfect() -> CallRecord:
    return call()


@pytest.mark.parametrize("direction", ["whatsapp_to_sip", "sip_to_whatsapp"])
def test_every_figure_of_a_call_without_fault_holds(direction: Direction) -> None:
    figures = measure(call(direction))
    assert failures(figures, LIMITS) == []
    assert figures.setup_ms == pytest.approx(200 if direction == "whatsapp_to_sip" else 600, abs=1)
    assert figures.wa_to_sip.tone_hz == pytest.approx(437, abs=0.1)
    assert figures.sip_to_wa.tone_hz == pytest.approx(1013, abs=0.1)
    assert abs(figures.wa_to_sip.level_error_db) < 0.1
    # The sample's place in its packet, 0 to 20 ms, is part of the delay.
    assert 10 <= figures.wa_to_sip.latency_ms_p50 <= 30
    assert 40 <= figures.sip_to_wa.latency_ms_p50 <= 60
    assert figures.answer_to_audio_ms == pytest.approx(120, abs=2)
    assert figures.wa_to_sip.latency_count == 12


def worse(name: str, record: CallRecord) -> CallRecord:
    phone, whatsapp = record.heard_by_phone.copy(), record.heard_by_whatsapp[0].copy()
    marks = {kind: [dict(mark) for mark in found] for kind, found in record.marks.items()}
    match name:
        case "quiet":
            phone *= 0.7
        case "noisy":
            whatsapp += np.random.default_rng(1).normal(0, 0.02, len(whatsapp))
        case "off pitch":
            tone = record.spoken.whatsapp.tone_s
            phone[: round(tone[1] * 8000)] = sine(439.0, -12, tone[1], 8000)[: round(tone[1] * 8000)]
        case "gap":
            middle = round((0.5 + 4.0) * 16_000)
            whatsapp[middle : middle + 1600] = 0
        case "late marks":
            marks["received"] = [{"at": mark["at"] + 0.1} for mark in marks["received"]]
        case "lost marks":
            marks["emitted"] = marks["emitted"][:3]
    return dataclasses.replace(
        record, heard_by_phone=phone, heard_by_whatsapp=(whatsapp, record.heard_by_whatsapp[1]), marks=marks
    )


@pytest.mark.parametrize(
    ("fault", "figure"),
    [
        ("quiet", "wa_to_sip.level_error_db"),
        ("noisy", "sip_to_wa.sinad_db"),
        ("off pitch", "wa_to_sip.tone_error_hz"),
        ("gap", "sip_to_wa.longest_gap_ms"),
        ("late marks", "sip_to_wa.latency_ms_p50"),
        ("lost marks", "wa_to_sip.latency_count"),
    ],
)
def test_each_fault_fails_its_figure(perfect: CallRecord, fault: str, figure: str) -> None:
    found = failures(measure(worse(fault, perfect)), LIMITS)
    assert any(figure in sentence for sentence in found), found


def late(record: CallRecord, delayed: Callable[[int], float]) -> CallRecord:
    moved = tuple(
        dataclasses.replace(
            packet, datagram=dataclasses.replace(packet.datagram, at_s=packet.datagram.at_s + delayed(packet.sequence))
        )
        for packet in record.to_phone
    )
    return dataclasses.replace(record, to_phone=moved)


def test_packets_that_come_too_late_are_a_gap_though_the_recording_is_whole(perfect: CallRecord) -> None:
    held_up = late(perfect, lambda number: max(0.0, (200 - number) * 0.02) if 190 <= number < 200 else 0.0)
    assert measure(held_up).wa_to_sip.longest_gap_ms >= 100
    assert measure(perfect).wa_to_sip.longest_gap_ms < 20


def test_a_phone_with_a_buffer_bears_a_little_jitter(perfect: CallRecord) -> None:
    shaken = late(perfect, lambda number: 0.04 * (number % 2))
    stream = stream_of(shaken.to_phone)
    assert np.array_equal(played_out(stream, 0.06), stream.samples)


def test_audio_that_comes_late_after_the_answer_fails(perfect: CallRecord) -> None:
    found = failures(measure(late(perfect, lambda _: 0.4)), LIMITS)
    assert any("answer_to_audio_ms" in sentence for sentence in found)


def test_silence_is_not_measured_but_said(perfect: CallRecord) -> None:
    with pytest.raises(Unmeasurable, match="speech was not heard"):
        measure(dataclasses.replace(perfect, heard_by_phone=silence(20, 8000)))
    with pytest.raises(Unmeasurable, match="to the phone"):
        measure(dataclasses.replace(perfect, to_phone=()))


def test_the_file_has_the_shape_that_was_agreed(perfect: CallRecord, tmp_path: Path) -> None:
    figures = measure(perfect)
    report.write(tmp_path / "build" / "demo.json", report.document([figures], failed=[], limits=LIMITS))
    content = json.loads((tmp_path / "build" / "demo.json").read_text())
    assert content["ok"] is True
    (one,) = content["calls"]
    assert one["direction"] == "whatsapp_to_sip"
    assert {"setup_ms", "answer_to_audio_ms"} <= one.keys()
    wanted = {"tone_hz", "tone_error_hz", "level_error_db", "sinad_db", "longest_gap_ms", "latency_ms_p50"}
    for way in ("wa_to_sip", "sip_to_wa"):
        assert wanted | {"latency_ms_p95"} <= one["audio"][way].keys()


def test_a_figure_that_could_not_be_taken_fails_and_is_null(perfect: CallRecord) -> None:
    no_marks = dataclasses.replace(perfect, marks={**perfect.marks, "emitted": []})
    figures = measure(no_marks)
    assert math.isnan(figures.wa_to_sip.latency_ms_p50)
    assert any("wa_to_sip.latency_ms_p50 is nan" in sentence for sentence in failures(figures, LIMITS))
    content = report.document([figures], failed=["x"], limits=LIMITS)
    assert content["calls"][0]["audio"]["wa_to_sip"]["latency_ms_p50"] is None
    assert content["ok"] is False


def test_the_table_has_a_column_for_each_direction_of_each_call(perfect: CallRecord) -> None:
    figures = measure(perfect)
    lines = report.table([figures, dataclasses.replace(figures, direction="sip_to_whatsapp")], LIMITS).splitlines()
    assert lines[1].split() == ["wa→sip", "sip→wa", "wa→sip", "sip→wa", "limit"]
    assert any(line.startswith("SINAD, dB") and "≥ 30" in line for line in lines)
