"""``POST /otlp/v1/logs``, ``/otlp/v1/metrics``, ``/otlp/v1/traces``: the OTLP/HTTP receiver.

Answers are in the encoding of the request, as the protocol asks: ``Export…ServiceResponse`` with ``partial_success``
where records were refused, a ``Status`` message for an error. 429 and 503 carry Retry-After; exporters try again.
"""

from collections.abc import Callable, Iterable
from functools import wraps

import orjson
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from apps.core.body import read_body
from apps.core.context import current
from apps.core.errors import MethodNotAllowed, MindWeaveError, Unavailable, UnsupportedMediaType
from apps.projects.contracts import KeyContext
from apps.usage.api.ingest import ingest_key, limit_requests
from apps.usage.contracts import IngestResult, TelemetryEvent
from apps.usage.otlp.bounds import bounded
from apps.usage.otlp.claude_code import activity_events, log_event
from apps.usage.otlp.genai import span_event
from apps.usage.otlp.wire import read_logs, read_metrics, read_spans
from apps.usage.services import ingest
from apps.usage.telemetry import count_refused

__all__ = ["logs", "metrics", "traces"]

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
# google.rpc.Code of the statuses that we answer.
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 413: 8, 415: 3, 429: 8, 503: 14}

Handler = Callable[[bytes, bool, KeyContext], tuple[Message, IngestResult]]


def _encoding(request: HttpRequest) -> str:
    kind = (request.META.get("CONTENT_TYPE") or "").split(";", 1)[0].strip().lower()
    if kind not in {PROTOBUF, JSON}:
        raise UnsupportedMediaType(f"Send {PROTOBUF} or {JSON}")
    return kind


def _receiver(handler: Handler) -> Callable[[HttpRequest], HttpResponse]:
    """A view: key, body, records, events, and an answer in the request's own encoding."""

    @csrf_exempt
    @wraps(handler)
    def view(request: HttpRequest) -> HttpResponse:
        kind = JSON
        try:
            if request.method != "POST":
                raise MethodNotAllowed(headers={"Allow": "POST"})
            # First of all the body: a server that answers before it has read it breaks the client's connection.
            body = read_body(request)
            kind = _encoding(request)
            key = ingest_key(request)
            limit_requests(key)
            message, result = handler(body, kind == PROTOBUF, key)
        except (OperationalError, InterfaceError):
            connection.close()
            return _failure(Unavailable("The database cannot be reached; send this again", retry_after=2), kind)
        except MindWeaveError as error:
            return _failure(error, kind)
        _tell_partial(message, result)
        return _reply(message, kind, 200)

    return view


def _failure(error: MindWeaveError, kind: str) -> HttpResponse:
    count_refused(error.code)
    message = f"{error.detail or error.title} [{error.code}, {current().correlation_id}]"
    response = _reply(Status(code=_CODES.get(error.status, 2), message=message), kind, error.status)
    for name, value in error.headers.items():
        response.headers[name] = value
    return response


def _reply(message: Message, kind: str, status: int) -> HttpResponse:
    if kind == PROTOBUF:
        return HttpResponse(message.SerializeToString(), status=status, content_type=PROTOBUF)
    content = orjson.dumps(json_format.MessageToDict(message))
    return HttpResponse(content, status=status, content_type=JSON)


def _tell_partial(message: Message, result: IngestResult) -> None:
    """How many records were refused, and why the first was."""
    if not result.rejected:
        return
    first = result.rejected[0]
    partial = message.partial_success
    name = next(field.name for field in partial.DESCRIPTOR.fields if field.name.startswith("rejected_"))
    setattr(partial, name, len(result.rejected))
    partial.error_message = f"{first.code}: {first.detail}"


def _take(key: KeyContext, events: Iterable[TelemetryEvent | None]) -> IngestResult:
    found = bounded(event for event in events if event is not None)
    return ingest(key=key, events=found.events, places=found.places, rejected=found.rejected)


@_receiver
def logs(body: bytes, protobuf: bool, key: KeyContext) -> tuple[Message, IngestResult]:
    """Log records: Claude Code's calls, errors and tool uses; any other record is taken and counts nothing."""
    found = (log_event(record, org_id=key.org_id) for record in read_logs(body, protobuf=protobuf))
    return ExportLogsServiceResponse(), _take(key, found)


@_receiver
def metrics(body: bytes, protobuf: bool, key: KeyContext) -> tuple[Message, IngestResult]:
    """Metrics: what Claude Code's events lack; the calls that they repeat are not counted again."""
    found = activity_events(read_metrics(body, protobuf=protobuf), org_id=key.org_id)
    return ExportMetricsServiceResponse(), _take(key, found)


@_receiver
def traces(body: bytes, protobuf: bool, key: KeyContext) -> tuple[Message, IngestResult]:
    """Spans by the GenAI conventions: calls of Claude and tool uses."""
    found = (span_event(record, org_id=key.org_id) for record in read_spans(body, protobuf=protobuf))
    return ExportTraceServiceResponse(), _take(key, found)
