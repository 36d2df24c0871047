"""Sixty days of events with the shape of working life: weekdays, mornings and afternoons, sessions, bursts, errors."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import orjson

from apps.analytics.demo.cast import DemoProject
from apps.usage.contracts import CacheCreation, EventIn

__all__ = ["history"]

# Enough for the last four weeks to stand beside the four before them.
DAYS = 60
# Share of a day's work by local hour.
_HOURS = (1, 1, 0, 0, 0, 1, 3, 8, 14, 17, 16, 11, 9, 14, 16, 15, 12, 7, 4, 3, 3, 2, 2, 1)
_WEEKDAYS = (1.0, 1.08, 1.12, 1.05, 0.82, 0.14, 0.1)
_FEATURES = ("chat", "agent", "batch", "review")


def history(
    project: DemoProject, people: list[UUID], *, until: datetime, zone: ZoneInfo, seed: int
) -> Iterator[EventIn]:
    """The events of one project in the sixty days before ``until``; the same for the same seed and moment."""
    rng = random.Random(seed)  # noqa: S311 - plausible, not secret
    today = until.astimezone(zone).date()
    for back in range(DAYS - 1, -1, -1):
        day = today - timedelta(days=back)
        growth = 0.75 + 0.6 * (DAYS - back) / DAYS
        calls = round(project.calls * _WEEKDAYS[day.weekday()] * growth * rng.uniform(0.85, 1.15))
        burst = 2.4 if rng.random() < 0.03 else 1.0
        left = round(calls * burst)
        while left > 0:
            size = min(left, max(1, round(rng.gammavariate(2.0, 5.0))))
            left -= size
            hour = rng.choices(range(24), _HOURS)[0]
            begin = datetime(day.year, day.month, day.day, hour, rng.randrange(60), rng.randrange(60), tzinfo=zone)
            yield from _session(project, rng.choice(people), begin, size, until, rng)


def _session(
    project: DemoProject, person: UUID, begin: datetime, calls: int, until: datetime, rng: random.Random
) -> Iterator[EventIn]:
    habit, at = project.habit, begin
    session = _uuid(rng)
    feature = rng.choice(_FEATURES)
    names, weights = zip(*habit.models, strict=True)
    model = rng.choices(names, weights)[0]
    size = rng.lognormvariate(0, 0.55)
    for turn in range(calls):
        if at >= until:
            return
        # What was said before is read again with each call.
        yield _call(project, person, session, feature, model, at, rng, size * (0.5 + 0.08 * min(turn, 15)))
        # Mostly the next call follows by itself; now and then a person reads, thinks and asks.
        asked = rng.random() < 0.16
        at += timedelta(seconds=habit.latency_ms / 1000 + (rng.uniform(35, 260) if asked else rng.expovariate(1 / 3)))
        if habit.tools and rng.random() < 0.45 and at < until:
            yield _tool(project, person, session, feature, at, rng)
            at += timedelta(seconds=rng.uniform(0.2, 6))


def _call(
    project: DemoProject,
    person: UUID,
    session: str,
    feature: str,
    model: str,
    at: datetime,
    rng: random.Random,
    size: float,
) -> EventIn:
    habit = project.habit
    failed = rng.random() < habit.errors
    whole = round(habit.input_tokens * size * rng.lognormvariate(0, 0.12) * (1 + 6 * habit.cached))
    read = 0 if failed else round(whole * habit.cached * rng.uniform(0.7, 1.1))
    written = 0 if failed else round(whole * habit.cached * rng.uniform(0.02, 0.16))
    hour = written if rng.random() < 0.2 else 0
    took = max(80, round(habit.latency_ms * rng.lognormvariate(0, 0.5)))
    # Only Claude Code tells of its first token.
    told = {} if failed or habit.source != "claude_code" else {"ttft_ms": round(took * rng.uniform(0.08, 0.35))}
    return EventIn(
        event_id=_uuid(rng),
        timestamp=at.isoformat(),
        event_type="api_call",
        model=model,
        input_tokens=0 if failed else max(1, whole - read - written),
        output_tokens=0 if failed else max(1, round(habit.output_tokens * rng.lognormvariate(0, 0.6))),
        cache_read_input_tokens=read,
        cache_creation_input_tokens=written,
        cache_creation=CacheCreation(written - hour, hour) if written else None,
        latency_ms=took,
        user_id=str(person),
        session_id=session,
        request_id=f"req_{rng.getrandbits(96):024x}",
        status="error" if failed else "ok",
        error_type=rng.choice(("overloaded_error", "rate_limit_error", "api_error")) if failed else None,
        stop_reason=None if failed else rng.choice(("end_turn", "end_turn", "tool_use", "max_tokens")),
        source=habit.source,
        metadata=msgspec.Raw(orjson.dumps({"feature": feature, **told})),
    )


def _tool(project: DemoProject, person: UUID, session: str, feature: str, at: datetime, rng: random.Random) -> EventIn:
    server, tool = rng.choice(project.habit.tools)
    failed = rng.random() < 0.03
    return EventIn(
        event_id=_uuid(rng),
        timestamp=at.isoformat(),
        event_type="mcp_tool",
        mcp_server=server or None,
        mcp_tool=tool,
        latency_ms=round(rng.lognormvariate(5.6, 0.8)),
        user_id=str(person),
        session_id=session,
        status="error" if failed else "ok",
        error_type="tool_error" if failed else None,
        source=project.habit.source,
        metadata=msgspec.Raw(orjson.dumps({"feature": feature})),
    )


def _uuid(rng: random.Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))
