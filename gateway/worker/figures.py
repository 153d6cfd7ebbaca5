"""Metrics of a media worker: kept there, sent as plain values, shown by the gateway with the worker's number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from gateway.ops.metrics import Counts, Metrics


@dataclass(frozen=True, slots=True)
class Family:
    """One metric of a registry.

    Attributes:
        name: without the suffixes of its samples.
        documentation: for people.
        kind: ``counter``, ``gauge``, ``histogram`` …
        samples: name, labels and value of each.
    """

    name: str
    documentation: str
    kind: str
    samples: tuple[tuple[str, Mapping[str, str], float], ...]


def show_restarts(metrics: Metrics, read: Callable[[], Counts]) -> None:
    """Show in *metrics* how often each worker was started again."""
    metrics.mirror("ponte_media_worker_restarts", "Times that a media worker was started again", ("worker",), read)


def families_of(registry: CollectorRegistry) -> tuple[Family, ...]:
    """Return what *registry* holds now, without the instants at which its counters were made."""
    return tuple(
        Family(
            metric.name,
            metric.documentation,
            metric.type,
            tuple((s.name, s.labels, s.value) for s in metric.samples if not s.name.endswith("_created")),
        )
        for metric in registry.collect()
    )


class WorkerFigures(Collector):
    """Shows the metrics of all workers, each with the label ``worker``.

    Args:
        read: gives the families of each worker by its number.
    """

    def __init__(self, read: Callable[[], Mapping[int, Iterable[Family]]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Yield each metric once, with the samples of all workers."""
        merged: dict[str, Metric] = {}
        for worker, families in sorted(self._read().items()):
            for family in families:
                metric = merged.get(family.name)
                if metric is None:
                    metric = merged[family.name] = Metric(family.name, family.documentation, family.kind)
                for name, labels, value in family.samples:
                    metric.add_sample(name, {**labels, "worker": str(worker)}, value)
        yield from merged.values()
