"""Every metric of a gateway, as docs/metrics.md lists them and the Grafana dashboard asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from gateway.accounts.figures import show_pages
from gateway.ops.metrics import Metrics
from gateway.service import show_writes
from gateway.sip.figures import mirror_counts
from gateway.sip.stack import SipStack
from gateway.worker.figures import show_restarts
from gateway.worker.work import Figures

_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}


@dataclass(frozen=True, slots=True)
class Described:
    """One metric.

    Attributes:
        name: as it is exported; of a histogram without what its series end in.
        kind: counter, gauge or histogram.
        labels: their names.
        what: for people.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    what: str

    @property
    def series(self) -> tuple[str, ...]:
        """The names that can be asked for."""
        if self.kind == "histogram":
            return tuple(self.name + suffix for suffix in _SUFFIXES[self.kind])
        return (self.name,)


def metrics() -> list[Described]:
    """Every metric, in the order of the names."""
    gateway, worker = Metrics(), Figures()
    mirror_counts(gateway, SipStack().agent)
    show_pages(gateway, lambda: ())
    show_writes(gateway, lambda: 0)
    show_restarts(gateway, dict)
    found = [*_of(gateway.registry), *_of(worker.registry, "worker")]
    return sorted(found, key=lambda one: one.name)


def _of(registry: CollectorRegistry, *more: str) -> Iterator[Described]:
    for collector in list(registry._collector_to_names):
        for family in collector.collect():
            if isinstance(collector, MetricWrapperBase):
                labels = collector._labelnames
            else:
                labels = getattr(collector, "_labels", ())
            name = family.name + ("_total" if family.type == "counter" else "")
            yield Described(name, family.type, (*labels, *more), family.documentation)


def metric_parts() -> dict[str, str]:
    """The generated part of docs/metrics.md."""
    lines = ["| metric | kind | labels | what |", "|---|---|---|---|"]
    for one in metrics():
        labels = ", ".join(f"`{label}`" for label in one.labels)
        lines.append(f"| `{one.name}` | {one.kind} | {labels} | {one.what} |")
    return {"metrics": "\n".join(lines) + "\n"}
