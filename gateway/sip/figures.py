"""What the SIP core counts, as Prometheus metrics."""

from __future__ import annotations

from typing import Final

from gateway.ops.metrics import Counts, Metrics
from gateway.protocol.sip.agent import Agent

_MESSAGES: Final = ("requests", "responses", "stray_responses", "malformed_answered", "malformed_dropped")
_AUTH: Final = ("challenges", "auth_good", "auth_wrong", "auth_stale", "auth_blocked")
_REFUSED: Final = ("refused_source", "refused_full", "dropped_scanner", "dropped_pace", "dropped_stranger")


def mirror_counts(metrics: Metrics, agent: Agent) -> None:
    """Show the counts of *agent* in *metrics*; each label comes from a closed set."""

    def chosen(names: tuple[str, ...], prefix: str = "") -> Counts:
        return {(name.removeprefix(prefix),): agent.counts[name] for name in names}

    metrics.mirror("ponte_sip_messages", "SIP messages received", ("kind",), lambda: chosen(_MESSAGES))
    metrics.mirror(
        "ponte_sip_auth", "Challenges sent, and what came of credentials", ("outcome",), lambda: chosen(_AUTH, "auth_")
    )  # fmt: skip
    metrics.mirror(
        "ponte_sip_refused", "Requests of strangers refused or dropped, and calls beyond the limits", ("cause",),
        lambda: chosen(_REFUSED),
    )  # fmt: skip
    metrics.mirror(
        "ponte_sip_responses", "Final SIP responses sent", ("method", "code"),
        lambda: {(method, str(status)): count for (method, status), count in agent.answers.items()},
    )  # fmt: skip
