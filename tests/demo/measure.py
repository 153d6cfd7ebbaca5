"""From what was seen and heard of a call to its figures, and from the figures to a verdict.

What each figure is:

- tone, level, SINAD: of the other side's tone in what a listener really heard (the phone's recording; the far end's),
  the first and last 0.4 s of the tone left out, as a conversation begins before both directions are up.
- longest gap: of the speech. Towards the phone the larger one of two: in the phone's recording, and in what a phone
  with a jitter buffer of 60 ms would have played of the packets as they were on the wire, late ones counting as lost.
- latency, WhatsApp to SIP: from the page's playback worklet emitting a burst's first sample to the RTP packet with it
  being on the wire, and so with the 20 ms that it takes to fill a packet.
- latency, SIP to WhatsApp: from the packet with a burst's first sample being on the wire to the page's capture worklet
  receiving it.
- answer to first audio: from the phone's 200 OK being on the wire, or from the far end taking the call, to the first
  audible packet on its way to the phone and to the first sound in the page's microphone, whichever is later.
- set-up: from one side calling to the other side's phone ringing (INVITE at the phone; 180 at the phone).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tests.demo.call import CallRecord
from tests.support.audio import (
    Samples,
    Timeline,
    find_offset,
    fit_sine,
    longest_gap_ms,
    match_latencies,
    onsets,
    resample,
    sinad,
)
from tests.support.wire import RtpPacket, SipMessage, Stream, narrowed, stream_of

PHONE_BUFFER_S: Final = 0.06
RATE_HZ: Final = 8000


class Unmeasurable(Exception):
    """What was heard does not hold what a figure is taken from."""


@dataclass(frozen=True, slots=True)
class AudioFigures:
    """One direction of one call. Milliseconds, Hz and dB as the names say; errors are signed."""

    tone_hz: float
    tone_error_hz: float
    level_error_db: float
    sinad_db: float
    sinad_db_p10: float
    longest_gap_ms: float
    gap_recorded_ms: float
    latency_ms_p50: float
    latency_ms_p95: float
    latency_count: int
    first_audio_ms: float
    packets_lost: int


@dataclass(frozen=True, slots=True)
class CallFigures:
    """One call.

    Attributes:
        direction: who called.
        setup_ms: see above.
        instants_ms: what happened when, from the answer on.
        stand_in: how often the stand-in's own audio ran dry, or was too much for it.
    """

    direction: str
    setup_ms: float
    instants_ms: dict[str, float]
    stand_in: dict[str, float]
    answer_to_audio_ms: float
    wa_to_sip: AudioFigures
    sip_to_wa: AudioFigures


@dataclass(frozen=True, slots=True)
class Limits:
    """What must hold. Names as in :class:`AudioFigures` and :class:`CallFigures`."""

    tone_error_hz: float = 1.0
    level_error_db: float = 1.5
    sinad_db: float = 30.0
    longest_gap_ms: float = 60.0
    wa_to_sip_latency_ms_p50: float = 60.0
    sip_to_wa_latency_ms_p50: float = 120.0
    latency_count: int = 20
    answer_to_audio_ms: float = 300.0


def measure(record: CallRecord) -> CallFigures:
    """Measure a call.

    Raises:
        Unmeasurable: something that must be there was not heard at all.
    """
    answered_s = _answered_s(record)
    heard, heard_rate_hz = record.heard_by_whatsapp
    to_phone = _stream(narrowed(record.to_phone, record.codec), "to the phone")
    from_phone = _stream(narrowed(record.from_phone, record.codec), "from the phone")
    emitted, received = _instants(record, "emitted"), _instants(record, "received")

    first_at_phone_s = _first_audible_s(to_phone, answered_s)
    first_at_page_s = min((at for at in received if at >= answered_s), default=float("nan"))
    wire_gap_ms = _gap_ms(record.spoken.whatsapp, played_out(to_phone, PHONE_BUFFER_S), RATE_HZ)
    wa_to_sip = _audio(
        record.spoken.whatsapp, record.heard_by_phone, RATE_HZ,
        latencies=match_latencies(_of_bursts(emitted, record.spoken.whatsapp), _on_wire(to_phone)),
        first_audio_ms=1000 * (first_at_phone_s - answered_s), other_gap_ms=wire_gap_ms, lost=to_phone.lost,
    )  # fmt: skip
    sent = _of_bursts(_on_wire(from_phone), record.spoken.phone)
    sip_to_wa = _audio(
        record.spoken.phone, heard, heard_rate_hz,
        latencies=match_latencies(sent, received),
        first_audio_ms=1000 * (first_at_page_s - answered_s), other_gap_ms=0.0, lost=from_phone.lost,
    )  # fmt: skip
    later_ms = max(wa_to_sip.first_audio_ms, sip_to_wa.first_audio_ms)
    instants_ms = _instants_ms(
        record, answered_s, audible_at_phone=first_at_phone_s, audible_at_page=first_at_page_s,
        emitted_by_page=min((at for at in emitted if at >= answered_s), default=float("nan")),
    )  # fmt: skip
    return CallFigures(
        record.direction, _setup_ms(record), instants_ms, record.stand_in, later_ms, wa_to_sip, sip_to_wa
    )


def failures(figures: CallFigures, limits: Limits) -> list[str]:
    """Say which figures do not hold; NaN never does."""
    found: list[str] = []

    def check(holds: bool, what: str, value: float, limit: str) -> None:
        if not holds:
            found.append(f"{figures.direction}: {what} is {value:.4g}, must be {limit}")

    for name, audio, latency in (
        ("wa_to_sip", figures.wa_to_sip, limits.wa_to_sip_latency_ms_p50),
        ("sip_to_wa", figures.sip_to_wa, limits.sip_to_wa_latency_ms_p50),
    ):
        for what in ("tone_error_hz", "level_error_db"):
            value, limit = abs(getattr(audio, what)), getattr(limits, what)
            check(value <= limit, f"{name}.{what}", value, f"at most {limit:g}")
        check(audio.sinad_db >= limits.sinad_db, f"{name}.sinad_db", audio.sinad_db, f"at least {limits.sinad_db:g}")
        gap = audio.longest_gap_ms
        check(gap <= limits.longest_gap_ms, f"{name}.longest_gap_ms", gap, f"at most {limits.longest_gap_ms:g}")
        check(audio.latency_ms_p50 <= latency, f"{name}.latency_ms_p50", audio.latency_ms_p50, f"at most {latency:g}")
        count, wanted = audio.latency_count, limits.latency_count
        check(count >= wanted, f"{name}.latency_count", count, f"at least {wanted}")
    later, limit = figures.answer_to_audio_ms, limits.answer_to_audio_ms
    check(0 <= later <= limit, "answer_to_audio_ms", later, f"at most {limit:g}")
    return found


def played_out(stream: Stream, buffer_s: float) -> Samples:
    """What a phone with a jitter buffer of this depth would have played; a late packet is as good as a lost one.

    The buffer's clock is set by the fastest packet, as an adaptive one's comes to be.
    """
    first = stream.packets[0].timestamp

    def position(packet: RtpPacket) -> int:
        return (packet.timestamp - first) & 0xFFFFFFFF

    fastest_s = min(packet.at_s - position(packet) / RATE_HZ for packet in stream.packets)
    samples = stream.samples.copy()
    for packet in stream.packets:
        start = position(packet)
        if packet.at_s > fastest_s + start / RATE_HZ + buffer_s:
            samples[start : start + len(packet.payload)] = 0
    return samples


def _audio(
    said: Timeline,
    heard: Samples,
    rate_hz: int,
    *,
    latencies: Sequence[float],
    first_audio_ms: float,
    other_gap_ms: float,
    lost: int,
) -> AudioFigures:
    start_s = _start_s(said, heard, rate_hz)
    first, last = (round((start_s + edge) * rate_hz) for edge in (said.tone_s[0] + 0.4, said.tone_s[1] - 0.4))
    tone = heard[max(0, first) : max(0, last)]
    if len(tone) < rate_hz // 5 or not np.any(tone):
        raise Unmeasurable("the tone was not heard at all")
    sent = fit_sine(said.part((said.tone_s[0] + 0.1, said.tone_s[1] - 0.1)), said.rate_hz)
    # From the strongest line of the spectrum: a foreign tone that drowns ours must be found, not overlooked.
    found = fit_sine(tone, rate_hz)
    quality = sinad(tone, rate_hz, said.tone_hz)
    gap_ms = _gap_ms(said, heard, rate_hz)
    latency_ms = 1000 * np.asarray(latencies) if latencies else np.asarray([np.nan])
    return AudioFigures(
        tone_hz=found.hz,
        tone_error_hz=found.hz - said.tone_hz,
        level_error_db=found.dbfs - sent.dbfs,
        sinad_db=quality.median_db,
        sinad_db_p10=quality.p10_db,
        longest_gap_ms=max(gap_ms, other_gap_ms),
        gap_recorded_ms=gap_ms,
        latency_ms_p50=float(np.percentile(latency_ms, 50)),
        latency_ms_p95=float(np.percentile(latency_ms, 95)),
        latency_count=len(latencies),
        first_audio_ms=first_audio_ms,
        packets_lost=lost,
    )


def _start_s(said: Timeline, heard: Samples, rate_hz: int) -> float:
    """Where in a recording the timeline begins; its beginning itself may not have been heard."""
    speech = resample(said.part(said.speech_s), said.rate_hz, RATE_HZ)
    at, likeness = find_offset(speech, _padded(resample(heard, rate_hz, RATE_HZ), len(speech)))
    if likeness < 0.3:
        raise Unmeasurable(f"the speech was not heard (likeness {likeness:.2f} of 1)")
    return at / RATE_HZ - said.speech_s[0]


def _gap_ms(said: Timeline, heard: Samples, rate_hz: int) -> float:
    speech = resample(said.part(said.speech_s), said.rate_hz, RATE_HZ)
    return longest_gap_ms(speech, _padded(resample(heard, rate_hz, RATE_HZ), len(speech)), RATE_HZ)


def _padded(samples: Samples, least: int) -> Samples:
    return samples if len(samples) >= least else np.concatenate([samples, np.zeros(least - len(samples))])


def _stream(packets: Sequence[RtpPacket], which: str) -> Stream:
    try:
        return stream_of(packets)
    except ValueError as error:
        raise Unmeasurable(f"{which}: {error}") from None


def _on_wire(stream: Stream) -> list[float]:
    """When the packet with the first sample of each sound was on the wire."""
    return [stream.on_wire_s(at) for at in onsets(stream.samples, RATE_HZ)]


def _of_bursts(instants: Sequence[float], said: Timeline) -> list[float]:
    """Those that belong to the bursts: the last ones, as the bursts come last."""
    return sorted(instants)[-len(said.bursts_s) :]


def _first_audible_s(stream: Stream, since_s: float) -> float:
    loud = np.flatnonzero(np.abs(stream.samples) > 10 ** (-40 / 20))
    for at in loud:
        on_wire_s = stream.on_wire_s(int(at))
        if on_wire_s >= since_s:
            return on_wire_s
    raise Unmeasurable("nothing audible was sent to the phone")


def _instants(record: CallRecord, kind: str) -> list[float]:
    return sorted(float(mark["at"]) for mark in record.marks[kind])


def _instants_ms(record: CallRecord, answered_s: float, **others: float) -> dict[str, float]:
    """What happened when, in milliseconds from the answer: says where the time went."""
    found = {f"whatsapp_{event['event']}": float(event["at"]) for event in record.marks["events"]}
    for message in record.sip:
        which = str(message.status) if message.status else message.method
        whom = "to_phone" if message.datagram.target[1] == record.phone_port else "from_phone"
        if record.phone_port in (message.datagram.source[1], message.datagram.target[1]) and which != "REGISTER":
            of = f"_to_{message.method}" if message.status else ""
            found.setdefault(f"sip_{which}{of}_{whom}".lower(), message.datagram.at_s)
    found |= others
    return {name: 1000 * (at_s - answered_s) for name, at_s in sorted(found.items(), key=lambda item: item[1])}


def _event_s(record: CallRecord, name: str) -> float:
    for event in record.marks["events"]:
        if event["event"] == name:
            return float(event["at"])
    raise Unmeasurable(f"the stand-in has no event {name!r}")


def _sip_s(messages: Sequence[SipMessage], wanted: Any, what: str) -> float:
    for message in messages:
        if wanted(message):
            return message.datagram.at_s
    raise Unmeasurable(f"no {what} was on the wire")


def _answered_s(record: CallRecord) -> float:
    if record.direction == "sip_to_whatsapp":
        return _event_s(record, "accepted")
    return _sip_s(record.sip, lambda message: (message.method, message.status) == ("INVITE", 200), "200 to an INVITE")


def _setup_ms(record: CallRecord) -> float:
    port = record.phone_port
    if record.direction == "whatsapp_to_sip":
        rang_s = _sip_s(
            record.sip,
            lambda message: (message.method, message.status) == ("INVITE", None) and message.datagram.target[1] == port,
            "INVITE to the phone",
        )
        return 1000 * (rang_s - _event_s(record, "ring"))
    dialled_s = _sip_s(
        record.sip,
        lambda message: (message.method, message.status) == ("INVITE", None) and message.datagram.source[1] == port,
        "INVITE of the phone",
    )
    rang_s = _sip_s(
        record.sip, lambda message: message.status in (180, 183) and message.datagram.target[1] == port, "180"
    )
    return 1000 * (rang_s - dialled_s)
