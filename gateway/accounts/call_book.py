"""Where calls are written down: their records and their metrics."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

import structlog

from gateway.accounts.call_path import Trouble
from gateway.accounts.call_quality import quality_of
from gateway.accounts.call_spans import spans_of
from gateway.bridge.call import Call
from gateway.bridge.call_trace import CallTrace
from gateway.bridge.recording import Told
from gateway.domain import termination as t
from gateway.domain.ids import CallId
from gateway.domain.recording import RecordingState
from gateway.domain.states import CallState, Origin
from gateway.domain.trace import TraceKind
from gateway.events.hub import EventHub
from gateway.events.models import AudioOneWay, CallEnded, CallIncoming, CallRecording, CallStateChanged
from gateway.ops.metrics import Metrics
from gateway.ops.spans import TellSpans
from gateway.store.calls import CallRecord, merge_record
from gateway.store.journal import Journal
from gateway.store.traces import merge_trace

_RECORDING_OVER = frozenset({RecordingState.DONE, RecordingState.FAILED})
_PERSONAL = frozenset({"whatsapp_number", "whatsapp_name", "sip_user", "sip_name"})


class CallBook:
    """Writes calls down. No call waits for the database: the journal commits when it can.

    Args:
        journal: the store's journal.
        metrics: the process's metrics.
        events: where it is told of.
        tell_spans: sends calls as traces.
    """

    def __init__(
        self, journal: Journal, metrics: Metrics, events: EventHub, tell_spans: TellSpans = lambda call: None
    ) -> None:
        self._tell_spans = tell_spans
        self._journal = journal
        self._metrics = metrics
        self._events = events
        self._recorded: dict[CallId, int] = {}  # bytes that were counted, of recordings that may go on
        self._log = structlog.get_logger("ponte.calls")

    def begin(self, call: Call) -> None:
        """Write down that *call* began, so that a crash leaves a trace of it."""
        self._metrics.calls_active.inc()
        self._save(call)
        if call.origin is Origin.WHATSAPP:
            self._events.publish(call.account_id, CallIncoming(**parties(call)))

    def end(self, call: Call) -> None:
        """Write down how *call* ended."""
        self._metrics.calls_active.dec()
        self._recorded.pop(call.call_id, None)
        if call.recording.status is not None and call.recording.status.dropped:
            dropped = call.recording.status.dropped
            self._metrics.audio_frames_dropped.labels("recording", "disk_slow").inc(dropped)
        self._count(call)
        self._save(call)
        self._save_trace(call.call_id, call.trace)
        call.trace.when_late(partial(self._save_trace, call.call_id, call.trace))
        self._events.publish(call.account_id, _ended(call))  # after the record: the journal keeps the order
        try:
            self._tell_spans(spans_of(call))
        except Exception:
            self._log.exception("call_not_traced", call_id=call.call_id)  # a library's fault is not the call's

    def recording(self, call: Call, told: Told) -> None:
        """Write down and tell what becomes of the recording of *call*."""
        metrics, status = self._metrics, call.recording.status
        if status is None:
            return
        if told != "started":
            metrics.recording_bytes.inc(max(0, status.bytes - self._recorded.pop(call.call_id, 0)))
            if status.state not in _RECORDING_OVER:
                self._recorded[call.call_id] = status.bytes
        metrics.recordings.labels(told, status.reason).inc()
        call.trace.note(TraceKind.MEDIA, f"recording {told}", status.reason or "")
        self._save(call)
        self._events.publish(
            call.account_id,
            CallRecording(
                **parties(call),
                state=told,
                file=status.file,
                format=status.format.value,
                duration_s=status.duration_s,
                bytes=status.bytes,
                reason=status.reason,
                detail=status.detail,
            ),
        )

    def changed(self, call: Call) -> None:
        """Tell that *call* came into another state; its end is told by `end`."""
        if call.state is not CallState.ENDED:
            self._save(call)
            self._events.publish(call.account_id, CallStateChanged(**parties(call), state=call.state))

    def one_way(self, call: Call, trouble: Trouble | None) -> None:
        """Tell that one side is not heard in a call that is up, and where its sound gets lost; or that it is again."""
        silent, hop, why = (trouble.silent, trouble.hop, trouble.why) if trouble else (None, None, None)
        if trouble:
            self._log.warning("audio_one_way", call_id=call.call_id, silent=silent, hop=trouble.hop.value, why=why)
        else:
            self._log.info("audio_both_ways", call_id=call.call_id)
        call.trace.note(TraceKind.MEDIA, "audio one way" if trouble else "audio both ways", _where(trouble))
        self._events.publish(call.account_id, AudioOneWay(**parties(call), silent=silent, hop=hop, why=why))

    def _count(self, call: Call) -> None:
        metrics, times, end = self._metrics, call.times, call.termination
        if end is not None:
            metrics.calls.labels(call.direction.value, end.result.value, end.reason).inc()
        for stage, instant in (("ringing", times.ringing), ("answered", times.answered)):
            if instant is not None:
                metrics.call_setup_seconds.labels(stage).observe((instant - times.created).total_seconds())
        if times.answered is not None and times.ended is not None:
            metrics.call_duration_seconds.observe((times.ended - times.answered).total_seconds())
        if call.stats is not None:
            for name, figures in (("wa_to_sip", call.stats.wa_to_sip), ("sip_to_wa", call.stats.sip_to_wa)):
                metrics.rtp_packets.labels("page" if name == "wa_to_sip" else "sip", name).inc(figures.packets)
                metrics.rtp_packets_lost.inc(figures.lost)
                for cause, count in figures.dropped.items():
                    metrics.audio_frames_dropped.labels(name, cause).inc(count)
                metrics.audio_latency_seconds.labels(name).observe(call.stats.late_ms / 1000)
            metrics.rtp_jitter_seconds.set(call.stats.sip_to_wa.jitter_ms / 1000)
            self._count_quality(call)

    def _count_quality(self, call: Call) -> None:
        figures = quality_of(call)
        if figures is None or call.times.answered is None:
            return
        for name, direction in (("wa_to_sip", figures.wa_to_sip), ("sip_to_wa", figures.sip_to_wa)):
            if direction.mos is not None and direction.scale is not None:
                self._metrics.call_mos.labels(name, direction.scale).observe(direction.mos)
            if direction.delay_ms is not None:
                self._metrics.call_delay_seconds.labels(name).observe(direction.delay_ms / 1000)

    def _save_trace(self, call_id: CallId, trace: CallTrace) -> None:
        view = trace.view()
        self._journal.add(
            lambda session: merge_trace(session, call_id, view),
            lost=lambda why: self._log.warning("call_trace_not_saved", error=why, call_id=call_id),
        )

    def _save(self, call: Call) -> None:
        record = record_of(call)
        self._journal.add(
            lambda session: merge_record(session, record),
            # The call mattered more than its record: the log keeps what the store could not.
            lost=lambda why: self._log.error("call_record_not_saved", error=why, **_loggable(record)),
        )


def _where(trouble: Trouble | None) -> str:
    return f"{trouble.silent} silent at {trouble.hop.value}" if trouble else ""


def parties(call: Call) -> dict[str, Any]:
    """Return what every event of a call says of it."""
    return {
        "call_id": call.call_id,
        "direction": call.direction,
        "origin": call.origin,
        "whatsapp_number": call.peer.phone,
        "whatsapp_name": call.peer.name,
        "sip_user": call.parties.sip_user or None,
    }


def _ended(call: Call) -> CallEnded:
    times, end = call.times, call.termination or t.INTERNAL
    duration_s = None
    if times.answered and times.ended:
        duration_s = round((times.ended - times.answered).total_seconds(), 3)
    return CallEnded(
        **parties(call),
        created_at=times.created,
        answered_at=times.answered,
        ended_at=times.ended,
        duration_s=duration_s,
        result=end.result,
        reason=end.reason,
        sip_status=end.sip_status,
        q850_cause=end.q850_cause,
        quality=quality_of(call) if call.stats is not None else None,
    )


def record_of(call: Call) -> CallRecord:
    """Return what is written down of *call* as it is now."""
    end, times = call.termination, call.times
    quality = quality_of(call) if call.stats is not None else None
    return CallRecord(
        id=call.call_id,
        account=call.account_id,
        direction=call.direction,
        origin=call.origin,
        state=call.state,
        created_at=times.created,
        ringing_at=times.ringing,
        answered_at=times.answered,
        ended_at=times.ended,
        result=end.result.value if end else None,
        reason=end.reason if end else None,
        sip_status=end.sip_status if end else None,
        q850_cause=end.q850_cause if end else None,
        whatsapp_number=call.peer.phone,
        whatsapp_name=call.peer.name,
        sip_user=call.parties.sip_user or None,
        sip_name=call.parties.sip_name or None,
        quality=quality.model_dump(mode="json") if quality is not None else None,
        recording=recording_of(call),
    )


def recording_of(call: Call) -> dict[str, object] | None:
    """What is kept of a call's recording; `gateway.api.schemas.Recording` is its schema."""
    status = call.recording.refresh(call.media.query().recording)
    started = call.recording.started_at
    if status is None:
        return None
    return {
        "file": status.file,
        "format": status.format.value,
        "state": status.state.value,
        "duration_s": status.duration_s,
        "bytes": status.bytes,
        "started_at": started.isoformat() if started is not None else None,
        "reason": status.reason,
        "detail": status.detail,
    }


def _loggable(record: CallRecord) -> dict[str, object]:
    """The record for the log, personal data under the keys that a processor can drop."""
    return {("pii." + name if name in _PERSONAL else name): value for name, value in asdict(record).items()}
