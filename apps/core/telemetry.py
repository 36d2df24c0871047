"""OpenTelemetry: spans of requests, deliveries and tasks; off unless ``OTEL_EXPORTER_OTLP_ENDPOINT`` is set.

Without an endpoint the API's no-op tracer is used, so a span costs next to nothing; the W3C trace context is carried on
either way (``apps.core.context``).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from apps.core.context import bind, current

__all__ = ["configure", "is_configured", "span"]

_configured = False


def configure(service: str = "mindweave") -> None:
    """Export spans in the background where an endpoint is configured; repeating it is harmless."""
    global _configured
    if _configured or not settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: service}))
    endpoint = f"{settings.OTEL_EXPORTER_OTLP_ENDPOINT.rstrip('/')}/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    trace.set_tracer_provider(provider)
    _configured = True


def is_configured() -> bool:
    """Whether spans are exported."""
    return _configured


@contextmanager
def span(name: str, *, kind: SpanKind = SpanKind.INTERNAL, **attributes: Any) -> Iterator[trace.Span]:
    """Run the block as a span under the trace context of this work, which goes on from it."""
    if not _configured:
        yield trace.INVALID_SPAN
        return
    context = current()
    carrier = {"traceparent": context.traceparent or "", "tracestate": context.tracestate or ""}
    parent = propagate.extract({key: value for key, value in carrier.items() if value})
    tracer = trace.get_tracer("mindweave")
    with tracer.start_as_current_span(name, context=parent, kind=kind, attributes=attributes) as started:
        started.set_attribute("mindweave.correlation_id", context.correlation_id)
        out: dict[str, str] = {}
        propagate.inject(out)
        with bind(traceparent=out.get("traceparent", context.traceparent), tracestate=out.get("tracestate")):
            try:
                yield started
            except Exception as error:
                started.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise
