"""Where calls are written down: their records and their metrics."""

from __future__ import annotations

from dataclasses import asdict

import structlog

from gateway.bridge.call import Call
from gateway.domain.errors import PonteError
from gateway.ops.metrics import Metrics
from gateway.store.calls import CallRecord, CallRecords

_PERSONAL = frozenset({"whatsapp_number", "whatsapp_name", "sip_user"})


class CallBook:
    """Writes calls down.

    Args:
        records: the store's call records.
        metrics: the process's metrics.
    """

    def __init__(self, records: CallRecords, metrics: Metrics) -> None:
        self._records = records
        self._metrics = metrics
        self._log = structlog.get_logger("ponte.calls")

    async def begin(self, call: Call, sip_user: str) -> None:
        """Write down that *call* began, so that a crash leaves a trace of it."""
        self._metrics.calls_active.inc()
        await self._save(call, sip_user)

    async def end(self, call: Call, sip_user: str) -> None:
        """Write down how *call* ended."""
        self._metrics.calls_active.dec()
        self._count(call)
        await self._save(call, sip_user)

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
            metrics.rtp_jitter_seconds.set(call.stats.sip_to_wa.jitter_ms / 1000)

    async def _save(self, call: Call, sip_user: str) -> None:
        end = call.termination
        record = CallRecord(
            id=call.call_id,
            account=call.account_id,
            direction=call.direction,
            state=call.state,
            created_at=call.times.created,
            answered_at=call.times.answered,
            ended_at=call.times.ended,
            result=end.result.value if end else None,
            reason=end.reason if end else None,
            sip_status=end.sip_status if end else None,
            q850_cause=end.q850_cause if end else None,
            whatsapp_number=call.peer_phone,
            whatsapp_name=call.page.peer.name if call.page else None,
            sip_user=sip_user,
        )
        try:
            await self._records.save(record)
        except PonteError as error:
            # The call matters more than its record: it goes on, and the log keeps what the store could not.
            self._log.error("call_record_not_saved", error=str(error), **_loggable(record))


def _loggable(record: CallRecord) -> dict[str, object]:
    """The record for the log, personal data under the keys that a processor can drop."""
    return {("pii." + name if name in _PERSONAL else name): value for name, value in asdict(record).items()}
