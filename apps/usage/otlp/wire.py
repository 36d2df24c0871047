"""OTLP requests as plain records, whichever encoding they came in.

JSON is walked as it stands (orjson); protobuf through the official messages. Both give the same records, so what
follows knows nothing of encodings. Numbers may be strings, an ``intValue`` a number: readers must take either.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from apps.core.errors import BadRequest

__all__ = ["Attributes", "Record", "read_logs", "read_metrics", "read_spans"]

Attributes = dict[str, Any]

MAX_RECORDS = 20_000


@dataclass(slots=True)
class Record:
    """A log record, a data point or a span: ``name``, when it was (ns since 1970), what it says, where it comes from.

    ``value`` is a data point's; ``duration_ns`` and ``failed`` are a span's; ``ident`` is a span's id.
    """

    name: str
    time_ns: int
    attributes: Attributes
    resource: Attributes
    value: float = 0.0
    duration_ns: int = 0
    failed: bool = False
    ident: str = ""


def read_logs(body: bytes, *, protobuf: bool) -> list[Record]:
    """The log records of an ``ExportLogsServiceRequest``; :class:`BadRequest` where it cannot be read."""
    if protobuf:
        return _bounded(_proto_logs(_parse(ExportLogsServiceRequest(), body)))
    return _bounded(_json_records(body, "resourceLogs", "scopeLogs", "logRecords", _json_log))


def read_metrics(body: bytes, *, protobuf: bool) -> list[Record]:
    """The data points of sums and gauges of an ``ExportMetricsServiceRequest``."""
    if protobuf:
        return _bounded(_proto_metrics(_parse(ExportMetricsServiceRequest(), body)))
    return _bounded(_json_records(body, "resourceMetrics", "scopeMetrics", "metrics", _json_metric))


def read_spans(body: bytes, *, protobuf: bool) -> list[Record]:
    """The spans of an ``ExportTraceServiceRequest``."""
    if protobuf:
        return _bounded(_proto_spans(_parse(ExportTraceServiceRequest(), body)))
    return _bounded(_json_records(body, "resourceSpans", "scopeSpans", "spans", _json_span))


def _bounded(records: Iterable[Record]) -> list[Record]:
    found: list[Record] = []
    try:
        for record in records:
            found.append(record)
            if len(found) > MAX_RECORDS:
                raise BadRequest(f"More than {MAX_RECORDS:,} records in one request", code="too_many_records")
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise BadRequest(f"The body is not an OTLP request: {error}", code="malformed_otlp") from error
    return found


# ---------------------------------------------------------------- protobuf
def _parse(message: Message, body: bytes) -> Any:
    try:
        message.ParseFromString(body)
    except (DecodeError, RecursionError) as error:
        raise BadRequest("The body is not an OTLP protobuf message", code="malformed_otlp") from error
    return message


def _proto_value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_proto_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {item.key: _proto_value(item.value) for item in value.kvlist_value.values}
    return getattr(value, kind)


def _proto_attributes(pairs: Any) -> Attributes:
    return {pair.key: _proto_value(pair.value) for pair in pairs}


def _proto_logs(message: Any) -> Iterator[Record]:
    for group in message.resource_logs:
        resource = _proto_attributes(group.resource.attributes)
        for scope in group.scope_logs:
            for log in scope.log_records:
                attributes = _proto_attributes(log.attributes)
                name = _log_name(attributes, _proto_value(log.body), log.event_name)
                yield Record(name, log.time_unix_nano or log.observed_time_unix_nano, attributes, resource)


def _proto_metrics(message: Any) -> Iterator[Record]:
    for group in message.resource_metrics:
        resource = _proto_attributes(group.resource.attributes)
        for scope in group.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                if kind not in {"sum", "gauge"}:
                    continue
                for point in getattr(metric, kind).data_points:
                    value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
                    attributes = _proto_attributes(point.attributes)
                    yield Record(metric.name, point.time_unix_nano, attributes, resource, value=float(value))


def _proto_spans(message: Any) -> Iterator[Record]:
    for group in message.resource_spans:
        resource = _proto_attributes(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield Record(
                    span.name,
                    span.start_time_unix_nano,
                    _proto_attributes(span.attributes),
                    resource,
                    duration_ns=max(0, span.end_time_unix_nano - span.start_time_unix_nano),
                    failed=span.status.code == 2,
                    ident=f"{span.trace_id.hex()}{span.span_id.hex()}",
                )


# ---------------------------------------------------------------- JSON
def _json_records(
    body: bytes, groups: str, scopes: str, items: str, read: Callable[[Any, Attributes], Iterator[Record]]
) -> Iterator[Record]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not JSON: {error.msg} at line {error.lineno}", code="malformed_json") from error
    if not isinstance(document, dict):
        raise BadRequest("An OTLP request is a JSON object", code="malformed_otlp")
    for group in document.get(groups) or []:
        resource = _json_attributes((group.get("resource") or {}).get("attributes"))
        for scope in group.get(scopes) or []:
            for item in scope.get(items) or []:
                yield from read(item, resource)


def _json_value(value: Any) -> Any:
    if not isinstance(value, dict):
        return None
    for kind, inner in value.items():
        if kind == "arrayValue":
            return [_json_value(item) for item in (inner or {}).get("values") or []]
        if kind == "kvlistValue":
            return _json_attributes((inner or {}).get("values"))
        return inner
    return None


def _json_attributes(pairs: Any) -> Attributes:
    return {str(pair["key"]): _json_value(pair.get("value")) for pair in pairs or []}


def _json_time(item: Any, *names: str) -> int:
    for name in names:
        if item.get(name):
            return int(item[name])
    return 0


def _json_log(log: Any, resource: Attributes) -> Iterator[Record]:
    attributes = _json_attributes(log.get("attributes"))
    name = _log_name(attributes, _json_value(log.get("body")), log.get("eventName") or "")
    yield Record(name, _json_time(log, "timeUnixNano", "observedTimeUnixNano"), attributes, resource)


def _json_metric(metric: Any, resource: Attributes) -> Iterator[Record]:
    for kind in ("sum", "gauge"):
        for point in (metric.get(kind) or {}).get("dataPoints") or []:
            value = point.get("asDouble", point.get("asInt", 0))
            attributes = _json_attributes(point.get("attributes"))
            yield Record(
                str(metric.get("name", "")), _json_time(point, "timeUnixNano"), attributes, resource, value=float(value)
            )


def _json_span(span: Any, resource: Attributes) -> Iterator[Record]:
    start, end = _json_time(span, "startTimeUnixNano"), _json_time(span, "endTimeUnixNano")
    status = (span.get("status") or {}).get("code")
    yield Record(
        str(span.get("name", "")),
        start,
        _json_attributes(span.get("attributes")),
        resource,
        duration_ns=max(0, end - start),
        failed=status in (2, "STATUS_CODE_ERROR"),
        ident=f"{span.get('traceId', '')}{span.get('spanId', '')}",
    )


def _log_name(attributes: Attributes, body: Any, event_name: str) -> str:
    """``claude_code.api_request``: the body of a record, else its event's name."""
    if isinstance(body, str) and body.startswith("claude_code."):
        return body
    name = attributes.get("event.name") or event_name
    return name if not name or "." in str(name) else f"claude_code.{name}"
