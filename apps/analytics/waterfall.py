"""A session drawn: its calls and tools against time, waits of more than half a minute said and not drawn."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["Step", "Waterfall", "waterfall"]

# A silence longer than this is not drawn.
_WAIT_MS = 30_000.0
_WIDTH = 1000.0
_NICE = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(slots=True)
class Step:
    """An event as a row. ``x`` and ``width`` are thousandths of the drawing; ``wait_ms`` is what lies before it."""

    event: Mapping[str, Any]
    kind: str
    name: str
    detail: str
    colour: int
    failed: bool
    x: float = 0.0
    width: float = 0.0
    wait_ms: int | None = None

    @property
    def duration_ms(self) -> int | None:
        value: int | None = self.event["latency_ms"]
        return value


@dataclass(slots=True)
class Waterfall:
    """Rows in order, ``(x in per cent, label)`` of the axis, and how long was drawn and waited, in ms."""

    steps: list[Step]
    axis: list[tuple[str, str]]
    busy_ms: int
    waited_ms: int
    models: list[tuple[str, int]]


def waterfall(events: Sequence[Mapping[str, Any]]) -> Waterfall:
    """Draw events of one session, oldest first. An event's moment is its end; it began as long before as it took."""
    models = list(dict.fromkeys(event["model"] for event in events if event["model"]))
    colours = {model: place + 1 if place < 7 else 0 for place, model in enumerate(models)}
    spans = [_span(event) for event in events]
    steps = [_step(event, colours) for event in events]
    waits = _waits(spans)
    drawn_before = _removed(waits)
    first = min((start for start, _ in spans), default=0.0)
    whole = max((end - drawn_before(end) for _, end in spans), default=0.0) - first or 1.0
    said: set[float] = set()
    for step, (start, end) in sorted(zip(steps, spans, strict=True), key=lambda pair: pair[1]):
        x, until = start - drawn_before(start) - first, end - drawn_before(end) - first
        step.x = round(x / whole * _WIDTH, 1)
        step.width = round(max((until - x) / whole * _WIDTH, 2.0), 1)
        step.x = min(step.x, _WIDTH - step.width)
        for begin, finish in waits:
            if finish == start and begin not in said:
                said.add(begin)
                step.wait_ms = round(finish - begin)
    order = sorted(range(len(steps)), key=lambda i: (spans[i][0], spans[i][1]))
    waited = round(sum(finish - begin for begin, finish in waits))
    return Waterfall([steps[i] for i in order], _axis(whole), round(whole), waited, [(m, colours[m]) for m in models])


def _span(event: Mapping[str, Any]) -> tuple[float, float]:
    end = datetime.fromisoformat(event["timestamp"]).timestamp() * 1000
    return end - (event["latency_ms"] or 0), end


def _step(event: Mapping[str, Any], colours: Mapping[str, int]) -> Step:
    tool = event["mcp_tool"]
    if event["event_type"] == "api_call":
        kind, name, detail = "call", event["model"] or "Model call", ""
    elif event["event_type"] == "mcp_tool":
        kind, name, detail = ("mcp" if event["mcp_server"] else "tool"), tool or "Tool", event["mcp_server"] or ""
    else:
        kind, name, detail = "other", event["event_type"], tool or ""
    return Step(event, kind, name, detail, colours.get(event["model"], 0), event["status"] == "error")


def _waits(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The silences that are not drawn."""
    waits: list[tuple[float, float]] = []
    until: float | None = None
    for start, end in sorted(spans):
        if until is not None and start - until > _WAIT_MS:
            waits.append((until, start))
        until = end if until is None else max(until, end)
    return waits


def _removed(waits: Sequence[tuple[float, float]]) -> Any:
    def removed(moment: float) -> float:
        return sum(finish - begin for begin, finish in waits if finish <= moment)

    return removed


def _axis(whole_ms: float) -> list[tuple[str, str]]:
    seconds = whole_ms / 1000
    step = next((nice for nice in _NICE if seconds / nice <= 6), _NICE[-1])
    marks = []
    at = 0
    while at <= seconds * 0.94:
        label = f"{at // 3600}:{at % 3600 // 60:02}:{at % 60:02}" if seconds >= 3600 else f"{at // 60}:{at % 60:02}"
        marks.append((f"{at / seconds * 100:.2f}%", label))
        at += step
    return marks
