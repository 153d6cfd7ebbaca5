"""Prometheus metrics, in a registry of their own so that two gateways fit in one process.

No number, name or id is ever a label: labels come from small closed sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway import __version__

_SETUP_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 60)  # from a local answer to a phone that rings out
_DURATION_BUCKETS_S = (1, 5, 15, 30, 60, 180, 300, 600, 1800, 3600)
_COMMAND_BUCKETS_S = (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10)  # loopback evaluate to the command timeout
_REQUEST_BUCKETS_S = (0.005, 0.02, 0.05, 0.1, 0.5, 2, 10)
_LATENCY_BUCKETS_S = (0.0002, 0.0005, 0.001, 0.005, 0.02, 0.06, 0.12, 0.5)
_MOS_BUCKETS = (1.5, 2, 2.5, 3, 3.25, 3.5, 3.75, 4, 4.1, 4.2, 4.3, 4.4, 4.5)  # finer where calls usually are
_DELAY_BUCKETS_S = (0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1)  # 0.15: where people begin to notice (G.114)


Counts = Mapping[tuple[str, ...], int]


class _Mirror(Collector):
    """Figures that another part keeps, read when they are asked for: counting there costs next to nothing."""

    def __init__(
        self,
        family: type[CounterMetricFamily | GaugeMetricFamily],
        name: str,
        documentation: str,
        labels: Sequence[str],
        read: Callable[[], Counts],
    ) -> None:
        self._family, self._read = family, read
        self._name, self._documentation, self._labels = name, documentation, tuple(labels)

    def describe(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        yield self._family(self._name, self._documentation, labels=self._labels)

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        family = self._family(self._name, self._documentation, labels=self._labels)
        for values, count in sorted(self._read().items()):
            family.add_metric(values, count)
        yield family


class Metrics:
    """Every metric of one gateway; each part is given this object."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.calls_active = Gauge("ponte_calls_active", "Calls that did not end yet", registry=registry)
        self.calls = Counter(
            "ponte_calls", "Calls that ended", ("direction", "result", "reason"), registry=registry
        )  # exported as ponte_calls_total, like every counter here
        self.call_setup_seconds = Histogram(
            "ponte_call_setup_seconds",
            "From the start of a call to the stage ringing or answered",
            ("stage",),
            buckets=_SETUP_BUCKETS_S,
            registry=registry,
        )
        self.call_duration_seconds = Histogram(
            "ponte_call_duration_seconds",
            "From the answer to the end of a call",
            buckets=_DURATION_BUCKETS_S,
            registry=registry,
        )
        self.cdp_command_seconds = Histogram(
            "ponte_cdp_command_seconds",
            "Answer times of Chrome",
            ("method",),
            buckets=_COMMAND_BUCKETS_S,
            registry=registry,
        )
        self.rtp_packets = Counter("ponte_rtp_packets", "RTP packets received", ("leg", "direction"), registry=registry)
        self.rtp_packets_lost = Counter("ponte_rtp_packets_lost", "RTP packets lost before us", registry=registry)
        self.rtp_jitter_seconds = Gauge(
            "ponte_rtp_jitter_seconds", "Interarrival jitter (RFC 3550) of the last ended call", registry=registry
        )
        self.audio_frames_dropped = Counter(
            "ponte_audio_frames_dropped", "Audio frames that we dropped", ("path", "cause"), registry=registry
        )
        self.audio_latency_seconds = Histogram(
            "ponte_audio_latency_seconds",
            "Time that packets wait in the gateway, mean of each ended call",
            ("path",),
            buckets=_LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.call_mos = Histogram(
            "ponte_call_mos",
            "Mean opinion score of answered calls by the E-model (ITU-T G.107, G.107.1)",
            ("path", "scale"),
            buckets=_MOS_BUCKETS,
            registry=registry,
        )
        self.call_delay_seconds = Histogram(
            "ponte_call_delay_seconds",
            "Delay of answered calls between page and phone, buffers and packets counted in",
            ("path",),
            buckets=_DELAY_BUCKETS_S,
            registry=registry,
        )
        self.recordings = Counter(
            "ponte_recordings", "Recordings that began, stopped or failed", ("event", "reason"), registry=registry
        )
        self.recording_bytes = Counter("ponte_recording_bytes", "Written to recordings", registry=registry)
        self.http_request_seconds = Histogram(
            "ponte_http_request_seconds",
            "Answer times of the HTTP API",
            ("method", "route", "code"),
            buckets=_REQUEST_BUCKETS_S,
            registry=registry,
        )
        self.webhook_deliveries = Counter(
            "ponte_webhook_deliveries", "Tries to deliver a webhook", ("event", "outcome"), registry=registry
        )
        ProcessCollector(namespace="ponte", registry=registry)
        build_info = Gauge("ponte_build_info", "Version of this gateway", ("version",), registry=registry)
        build_info.labels(__version__).set(1)

    def mirror(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        read: Callable[[], Counts],
        *,
        kind: Literal["counter", "gauge"] = "counter",
    ) -> None:
        """Add figures that another part keeps.

        Args:
            name: without the ``_total`` that counters get.
            documentation: for people.
            labels: names of the labels.
            read: gives the figures by the values of the labels, each from a small closed set.
            kind: what only grows, or what goes up and down.
        """
        family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
        self.registry.register(_Mirror(family, name, documentation, labels, read))

    def render(self) -> bytes:
        """Return the text exposition of all metrics."""
        return generate_latest(self.registry)
