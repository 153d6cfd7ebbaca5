"""What a call leaves as a trace: its stages with their instants, and what is known of it without naming anybody."""

from __future__ import annotations

from datetime import datetime

from gateway.bridge.call import Call, CallTimes
from gateway.domain.termination import Result
from gateway.ops.spans import CallSpans, Stage

_FAULTS = frozenset({Result.LOCAL_ERROR, Result.INDETERMINATE})


def spans_of(call: Call) -> CallSpans:
    """Return the trace of a call that is over."""
    end, times, stats = call.termination, call.times, call.stats
    attributes: dict[str, str | int | float | bool] = {
        "ponte.account_id": call.account_id,
        "ponte.direction": call.direction.value,
        "ponte.origin": call.origin.value,
        "ponte.answered": times.answered is not None,
    }
    if end is not None:
        attributes |= {"ponte.result": end.result.value, "ponte.reason": end.reason}
        if end.sip_status is not None:
            attributes["ponte.sip_status"] = end.sip_status
    if stats is not None:
        for name, figures in (("wa_to_sip", stats.wa_to_sip), ("sip_to_wa", stats.sip_to_wa)):
            attributes[f"ponte.{name}.packets"] = figures.packets
            attributes[f"ponte.{name}.lost"] = figures.lost
    return CallSpans(
        call_id=call.call_id,
        began=times.created,
        ended=times.ended or times.created,
        fault=end.reason if end is not None and end.result in _FAULTS else "",
        attributes=attributes,
        stages=stages_of(times),
    )


def stages_of(times: CallTimes) -> tuple[Stage, ...]:
    """Return the stages that a call came through; one that it did not come to is left out.

    Args:
        times: of a call that is over.
    """
    over = times.closing or times.ended or times.created
    marks: list[tuple[str, datetime | None]] = [
        ("set-up", times.created),
        ("ringing", times.ringing),
        ("page answer", times.picked_up),
        ("talk", times.answered),
        ("closing", times.closing),
    ]
    came = sorted(((name, at) for name, at in marks if at is not None), key=lambda one: one[1])
    ends = [*(at for _, at in came[1:]), times.ended or over]
    return tuple(Stage(name, at, max(at, end)) for (name, at), end in zip(came, ends, strict=True))
