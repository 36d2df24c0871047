"""A session drawn: its calls and tools against time, waits of more than half a minute said and not drawn."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["Context", "Step", "Waterfall", "first_token_ms", "waterfall"]

# A silence longer than this is not drawn.
_WAIT_MS = 30_000.0
_WIDTH = 1000.0
_CONTEXT_HEIGHT = 64.0
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

    @property
    def first_ms(self) -> int | None:
        """How long a call's first token took, where its sender told it (Claude Code does, as ``ttft_ms``)."""
        return first_token_ms(self.event) if self.kind == "call" and not self.failed else None

    @property
    def first_width(self) -> float:
        """The part of ``width`` until then."""
        return round(self.width * (self.first_ms or 0) / (self.duration_ms or 1), 1)


@dataclass(frozen=True, slots=True)
class Context:
    """How much each call was given to read: a line in a drawing of 1000 by 64, from zero to ``scale`` tokens."""

    line: str
    last: int
    scale: int


@dataclass(slots=True)
class Waterfall:
    """Rows in order, ``(x in per cent, label)`` of the axis, and how long was drawn and waited, in ms.

    ``grid`` draws the marks of the axis through a row; ``context`` is None where fewer than two calls tell theirs.
    """

    steps: list[Step]
    axis: list[tuple[str, str]]
    busy_ms: int
    waited_ms: int
    models: list[tuple[str, int]]
    grid: str
    context: Context | None

    @property
    def calls(self) -> int:
        return sum(step.kind == "call" for step in self.steps)

    @property
    def tools(self) -> int:
        return sum(step.kind in {"mcp", "tool"} for step in self.steps)

    @property
    def tells_first(self) -> bool:
        """Whether any call told of its first token."""
        return any(step.first_ms for step in self.steps)

    @property
    def output_tokens(self) -> int:
        return sum(step.event["output_tokens"] or 0 for step in self.steps)


def first_token_ms(event: Mapping[str, Any]) -> int | None:
    """Milliseconds to the first token of an event's call; None where it is not told or cannot be true."""
    told, whole = event["metadata"].get("ttft_ms"), event["latency_ms"]
    return told if type(told) is int and whole and 0 < told <= whole else None


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
    ordered = [steps[i] for i in order]
    marks = _marks(whole)
    grid = " ".join(f"M{at / whole * _WIDTH:.1f} -9V23" for at, _ in marks)
    axis = [(f"{at / whole * 100:.2f}%", label) for at, label in marks]
    return Waterfall(
        ordered, axis, round(whole), waited, [(m, colours[m]) for m in models], grid, _context(ordered)
    )  # fmt: skip


def _context(steps: Iterable[Step]) -> Context | None:
    """Each call's input, cached or not, holds until the next one."""
    given = [(step.x, _given(step.event)) for step in steps if step.kind == "call" and not step.failed]
    if len(given) < 2:
        return None
    most = max(tokens for _, tokens in given)
    if not most:
        return None
    step = 10 ** (len(str(most)) - 1)
    scale = next(nice for nice in (step, 2 * step, 5 * step, 10 * step) if nice >= most)
    line = ""
    for x, tokens in given:
        y = _CONTEXT_HEIGHT * (1 - tokens / scale)
        line += f"H{x:.1f}V{y:.1f}" if line else f"M0 {y:.1f}"
    return Context(f"{line}H{_WIDTH:.0f}", given[-1][1], scale)


def _given(event: Mapping[str, Any]) -> int:
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return sum(event[name] or 0 for name in names)


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


def _marks(whole_ms: float) -> list[tuple[float, str]]:
    """Moments of the axis in ms, each with its label."""
    seconds = whole_ms / 1000
    step = next((nice for nice in _NICE if seconds / nice <= 6), _NICE[-1])
    marks = []
    at = 0
    while at <= seconds * 0.94:
        label = f"{at // 3600}:{at % 3600 // 60:02}:{at % 60:02}" if seconds >= 3600 else f"{at // 60}:{at % 60:02}"
        marks.append((at * 1000.0, label))
        at += step
    return marks
