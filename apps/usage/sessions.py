"""Telling the bus where sessions begin and end.

A session has ended when nothing came for it in ``USAGE_SESSION_IDLE_SECONDS``; if it goes on after all, it is told as
started again, with ``restarted``. ``usage_session.opened`` counts how often it was told as started, ``ended_at`` is its
last event when it was told as ended. Two partial indexes hold just the sessions that something is to be told of, so a
look costs nothing where nothing happened.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from apps.core import clock
from apps.core.money import nano_to_str
from apps.events.contracts import NewEvent
from apps.events.services import publish_many

__all__ = ["HISTORY", "idle_limit", "tell_sessions"]

# What was over for so long when it was first counted is history (an import, a demo) and no news.
HISTORY = timedelta(days=1)
BATCH = 500
MAX_BATCHES = 10

_ABOUT = "s.session_id, w.project_id, coalesce(p.claimed_by, w.person_id), w.team_id, w.key_id, s.started_at, s.last_at"
_SUMS = (
    "events", "calls", "tool_calls", "errors", "input_tokens", "output_tokens", "cache_read_tokens",
    "cache_write_tokens", "cost_nano",
)  # fmt: skip
_NAMED = """
FROM done s JOIN usage_org o ON o.id = s.org JOIN usage_who w ON w.id = s.who
LEFT JOIN usage_person p ON p.id = w.person_id
"""
_BEGIN = f"""
WITH due AS (
    SELECT org, id FROM usage_session WHERE opened = 0 OR last_at > ended_at
    ORDER BY org, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), done AS (
    UPDATE usage_session s SET opened = least(s.opened + 1, 32767),
        ended_at = CASE WHEN s.last_at < %(history)s THEN s.last_at END
    FROM due WHERE s.org = due.org AND s.id = due.id RETURNING s.*
)
SELECT o.org_id, {_ABOUT}, s.opened > 1, s.ended_at IS NOT NULL {_NAMED} ORDER BY s.org, s.started_at
"""  # noqa: S608
# Its last event may lie in deltas that are not folded yet: then it is left for the next look.
_END = f"""
WITH due AS (
    SELECT org, id FROM usage_session s WHERE opened > 0 AND ended_at IS NULL AND last_at < %(before)s
    AND NOT EXISTS (SELECT FROM usage_session_delta_pack d WHERE d.org = s.org AND s.id = ANY(d.session))
    ORDER BY last_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), done AS (
    UPDATE usage_session s SET ended_at = s.last_at FROM due WHERE s.org = due.org AND s.id = due.id RETURNING s.*
)
SELECT o.org_id, {_ABOUT}, s.models, {", ".join(f"s.{name}" for name in _SUMS)} {_NAMED} ORDER BY s.org, s.last_at
"""  # noqa: S608


def idle_limit() -> timedelta:
    """How long a session may be silent before it has ended."""
    return timedelta(seconds=settings.USAGE_SESSION_IDLE_SECONDS)


def tell_sessions() -> dict[str, int]:
    """Tell of sessions that started and ended since the last look; returns how many of each."""
    told = {"started": 0, "ended": 0}
    moment = clock.now()
    # What waits in the inbox may belong to a session that seems silent.
    before = min(moment, _oldest_waiting() or moment) - idle_limit()
    for _ in range(MAX_BATCHES):
        found, news = _started(moment - HISTORY)
        told["started"] += news
        if found < BATCH:
            break
    for _ in range(MAX_BATCHES):
        found = _ended(before)
        told["ended"] += found
        if found < BATCH:
            break
    return told


def _oldest_waiting() -> datetime | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(received_at) FROM usage_inbox")
        oldest: datetime | None = cursor.fetchone()[0]
    return oldest


def _started(history: datetime) -> tuple[int, int]:
    """One batch; how many sessions it held, and how many of them are news."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_BEGIN, {"limit": BATCH, "history": history})
            rows = cursor.fetchall()
        news = [
            NewEvent("usage.session_started", {**_about(about), "restarted": restarted}, org_id)
            for org_id, *about, restarted, is_history in rows
            if not is_history
        ]
        publish_many(news)
    return len(rows), len(news)


def _ended(before: datetime) -> int:
    """One batch; how many sessions it held."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_END, {"limit": BATCH, "before": before})
            rows = cursor.fetchall()
        publish_many([_ended_event(row) for row in rows])
    return len(rows)


def _ended_event(row: tuple[Any, ...]) -> NewEvent:
    org_id, *about, models, events, calls, tool_calls, errors, tokens_in, tokens_out, read, written, cost = row
    started_at, last_at = about[5:7]
    data = {
        **_about(about),
        "ended_at": last_at,
        "duration_ms": (last_at - started_at) // timedelta(milliseconds=1),
        "models": sorted(models),
        "events": events,
        "calls": calls,
        "tool_calls": tool_calls,
        "errors": errors,
        "input_tokens": tokens_in,
        "output_tokens": tokens_out,
        "cache_read_tokens": read,
        "cache_creation_tokens": written,
        "cost_usd": nano_to_str(cost),
    }
    return NewEvent("usage.session_ended", data, org_id)


def _about(about: list[Any]) -> dict[str, Any]:
    session_id, project, person, team, key, started_at, _ = about
    return {
        "session_id": session_id,
        "project_id": _text(project),
        "user_id": _text(person),
        "team_id": _text(team),
        "key_id": _text(key),
        "started_at": started_at,
    }


def _text(value: UUID | None) -> str | None:
    return str(value) if value else None
