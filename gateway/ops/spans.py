"""Calls as OpenTelemetry traces, where the extra ``ponte[otel]`` is installed and ``PONTE_TRACES`` asks for it.

Where they go, and all else, is said by OpenTelemetry's own variables (``OTEL_EXPORTER_OTLP_ENDPOINT``,
``OTEL_SERVICE_NAME`` …), which its SDK reads. A call is given to it when it is over, as plain values with their
instants; a thread of the SDK sends it, from a bounded queue that drops what does not fit. So no call ever waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from gateway import __version__
from gateway.domain.errors import ConfigError

_CLOSE_S = 5.0  # for what waits to be sent when the gateway stops; a collector that hangs must not hold it


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a call: its name, when it began and when it was over."""

    name: str
    began: datetime
    ended: datetime


@dataclass(frozen=True, slots=True)
class CallSpans:
    """A call that is over.

    Attributes:
        call_id: its id, from which the trace's own follows.
        began: when it was made.
        ended: when both sides were closed.
        fault: why it failed; empty where it did not.
        attributes: what is known of it; no personal data.
        stages: its parts, in their order.
    """

    call_id: str
    began: datetime
    ended: datetime
    fault: str
    attributes: Mapping[str, str | int | float | bool]
    stages: tuple[Stage, ...]


TellSpans = Callable[[CallSpans], None]


def trace_id(call_id: str) -> int:
    """Return the id of a call's trace: the first 16 bytes of the SHA-256 of the call's id."""
    return int.from_bytes(hashlib.sha256(call_id.encode()).digest()[:16], "big")


@contextlib.asynccontextmanager
async def open_spans(where: Literal["off", "otlp"], *, close_s: float = _CLOSE_S) -> AsyncIterator[TellSpans]:
    """Give what sends calls as traces; at the end what still waits is sent, for at most *close_s* seconds.

    Raises:
        ConfigError: the extra is not installed, or a variable of OpenTelemetry is wrong.
    """
    if where == "off":
        yield lambda call: None
        return
    try:
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    except ImportError:
        raise ConfigError("Traces need OpenTelemetry: install ponte[otel], or set PONTE_TRACES=off", "traces") from None

    class Ids(RandomIdGenerator):
        """Gives the trace the id that follows from the call's."""

        of_call = 0

        def generate_trace_id(self) -> int:
            return self.of_call

    ids, resource = Ids(), Resource.create()
    if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "ponte"}))
    resource = resource.merge(Resource({"service.version": __version__}))
    try:
        exporter = OTLPSpanExporter()
    except Exception as error:
        raise ConfigError(f"Traces cannot be sent: {error}", "traces") from None
    provider = TracerProvider(resource=resource, id_generator=ids, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("ponte", __version__)

    def tell(call: CallSpans) -> None:
        ids.of_call = trace_id(call.call_id)
        root = tracer.start_span(
            "call", Context(), kind=trace.SpanKind.SERVER, start_time=_ns(call.began),
            attributes={**call.attributes, "ponte.call_id": call.call_id},
        )  # fmt: skip
        inside = trace.set_span_in_context(root)
        for stage in call.stages:
            tracer.start_span(stage.name, inside, start_time=_ns(stage.began)).end(_ns(stage.ended))
        if call.fault:
            root.set_status(trace.Status(trace.StatusCode.ERROR, call.fault))
        root.end(_ns(call.ended))

    try:
        yield tell
    finally:
        closed, loop = asyncio.Event(), asyncio.get_running_loop()

        def close() -> None:
            provider.shutdown()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(closed.set)

        threading.Thread(target=close, name="traces", daemon=True).start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(close_s):
                await closed.wait()


def _ns(instant: datetime) -> int:
    return round(instant.timestamp() * 1e6) * 1000
