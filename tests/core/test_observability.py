"""Logs and traces: what they carry, and what they never do."""

import io
import json
import logging
from uuid import UUID

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from apps.core import logging as logs
from apps.core import telemetry
from apps.core.context import bind, current
from apps.core.contracts import Actor
from apps.core.ids import uuid7
from apps.core.tenancy import org_scope
from apps.projects.tokens import new_key

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, settings) -> io.StringIO:
    """What a process writes that logs as JSON."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.configure(level="INFO", style="json")
    out = io.StringIO()
    monkeypatch.setattr(root.handlers[0], "stream", out)
    yield out
    logs.configure(level=settings.LOG_LEVEL, style=settings.LOG_FORMAT)
    root.handlers[:] = before
    root.setLevel(level)


def test_a_line_says_who_where_and_under_which_correlation_id(lines: io.StringIO) -> None:
    org_id, user_id = uuid7(), uuid7()
    with bind(correlation_id="c-1", actor=Actor(kind="user", id=user_id)), org_scope(org_id):
        logging.getLogger("apps.test").info("woven %s", "well")
    line = json.loads(lines.getvalue())
    assert line["event"] == "woven well"
    assert (line["correlation_id"], line["org_id"], line["actor"]) == ("c-1", str(org_id), f"user:{user_id}")
    assert (line["level"], line["logger"]) == ("info", "apps.test")


def test_secrets_do_not_reach_the_logs(lines: io.StringIO) -> None:
    key = new_key()
    logging.getLogger("apps.test").warning("refused %s and Bearer abcdefghijklmnopqrstuvwxyz", key)
    logging.getLogger("apps.test").warning("sent sk-ant-api03-abcdefghijkl to the upstream")
    text = lines.getvalue()
    assert key not in text
    assert "abcdefghijkl" not in text
    assert text.count("[redacted]") >= 3


def test_an_exception_is_one_line(lines: io.StringIO) -> None:
    try:
        raise ValueError("torn")
    except ValueError:
        logging.getLogger("apps.test").exception("it broke")
    written = lines.getvalue().strip().splitlines()
    assert len(written) == 1
    assert "ValueError: torn" in json.loads(written[0])["exception"]


def test_without_an_exporter_a_span_is_nothing_and_the_context_goes_on() -> None:
    with bind(traceparent=TRACE), telemetry.span("work") as found:
        assert found is trace.INVALID_SPAN
        assert current().traceparent == TRACE


def test_a_span_continues_the_callers_trace_and_what_it_causes_continues_it(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "_configured", True)
    monkeypatch.setattr(telemetry.trace, "get_tracer", lambda name: provider.get_tracer(name))
    with bind(correlation_id=str(UUID(int=7)), traceparent=TRACE), telemetry.span("work", kind_of="test"):
        inside = current().traceparent
    (span,) = exporter.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == TRACE.split("-")[1]
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == TRACE.split("-")[2]
    assert inside is not None
    assert inside.split("-")[2] == f"{span.context.span_id:016x}"
    assert span.attributes is not None
    assert span.attributes["mindweave.correlation_id"] == str(UUID(int=7))


def test_a_span_that_fails_says_so_and_lets_the_failure_through(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "_configured", True)
    monkeypatch.setattr(telemetry.trace, "get_tracer", lambda name: provider.get_tracer(name))
    with pytest.raises(ValueError, match="torn"), telemetry.span("work"):
        raise ValueError("torn")
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is trace.StatusCode.ERROR
