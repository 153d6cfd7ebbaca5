"""The figures of a call's audio: what the media plane counted, what the page saw, and how that sounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

import structlog

from gateway.bridge.call import Call
from gateway.domain.page_audio import PageFigures
from gateway.domain.quality import Judgement, Measured, delay_ms, judge
from gateway.domain.states import CallState
from gateway.events.quality import DirectionQuality, Quality
from gateway.media.plane import DirectionStats, MediaStats

_LOOK_S: Final = 5.0  # a look costs the page a millisecond; levels of people who speak do not change faster
_LOOK_TIMEOUT_S: Final = 4.0


@asynccontextmanager
async def metered(call: Call) -> AsyncIterator[None]:
    """Look at the call's page now and then beside the block, while people can be heard."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_meter(call))
        try:
            yield
        finally:
            task.cancel()


async def _meter(call: Call) -> None:
    log = structlog.get_logger(__name__)
    while True:
        await asyncio.sleep(_LOOK_S)
        if call.state is not CallState.ACTIVE:
            continue
        try:
            async with asyncio.timeout(_LOOK_TIMEOUT_S):
                await call.media.look_at_page()
        except Exception as error:  # figures are not worth a call
            log.debug("page_not_looked_at", error=type(error).__name__)


def quality_of(call: Call) -> Quality | None:
    """Return the figures of a call that is over or goes on; None where no audio was set up."""
    stats = call.stats if call.stats is not None else call.media.query() if call.media.negotiated else None
    if stats is None:
        return None
    answered, ended = call.times.answered, call.times.ended or datetime.now(UTC)
    seconds = (ended - answered).total_seconds() if answered else 0.0
    codec = call.media.negotiated.codec if call.media.negotiated else None
    return quality(stats, call.media.page_figures, codec, seconds)


def quality(stats: MediaStats, page: PageFigures, codec: str | None, seconds: float) -> Quality:
    """Return the figures of a call.

    Args:
        stats: what the media plane counted.
        page: what the page saw.
        codec: towards the SIP side.
        seconds: that people talked.
    """
    trips = (stats.round_trip_ms, stats.page_round_trip_ms)
    to_sip = Measured(
        codec,
        sent=_sent(stats.wa_to_sip),
        lost=max(stats.wa_to_sip.lost, stats.peer_lost),
        loss_runs=_runs(stats.wa_to_sip, stats.peer_lost),
        seconds=seconds,
        delay_ms=delay_ms(trips, None, stats.peer_jitter_ms),
    )
    to_wa = Measured(
        codec,
        sent=_sent(stats.sip_to_wa),
        lost=max(stats.sip_to_wa.lost, stats.page_lost),
        loss_runs=_runs(stats.sip_to_wa, stats.page_lost),
        seconds=seconds,
        concealed_ms=page.concealed_ms,
        delay_ms=delay_ms(trips, page.wait_ms, stats.page_jitter_ms),
    )
    return Quality(
        codec=codec,
        wa_to_sip=_direction(stats.wa_to_sip, to_sip, judge(to_sip), page.speaker_dbfs),
        sip_to_wa=_direction(stats.sip_to_wa, to_wa, judge(to_wa), page.mic_dbfs),
        round_trip_ms=_tenths(stats.round_trip_ms),
        page_round_trip_ms=_tenths(stats.page_round_trip_ms),
        peer_lost=stats.peer_lost,
        peer_jitter_ms=round(stats.peer_jitter_ms, 1),
        page_lost=stats.page_lost,
        page_jitter_ms=round(stats.page_jitter_ms, 1),
        late_ms=round(stats.late_ms, 2),
    )


def _sent(stats: DirectionStats) -> int:
    return stats.packets + stats.lost


def _runs(stats: DirectionStats, far_lost: int) -> int:
    """Holes are counted where packets come to us; of those that arose beyond us nobody tells how long they were."""
    return stats.loss_runs if stats.lost >= far_lost else 0


def _direction(
    stats: DirectionStats, measured: Measured, judged: Judgement | None, level_dbfs: float | None
) -> DirectionQuality:
    return DirectionQuality(
        packets=stats.packets,
        lost=stats.lost,
        jitter_ms=round(stats.jitter_ms, 1),
        dropped=sum(stats.dropped.values()),
        keys=stats.keys,
        mos=judged.mos if judged else None,
        r=judged.r if judged else None,
        scale=judged.scale if judged else None,
        loss_percent=judged.loss_percent if judged else None,
        burst_r=judged.burst_r if judged else None,
        delay_ms=measured.delay_ms,
        level_dbfs=level_dbfs,
        concealed_ms=measured.concealed_ms,
    )


def _tenths(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
