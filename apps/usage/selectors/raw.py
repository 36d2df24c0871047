"""Raw events and sessions, newest first."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from django.db import connection

from apps.core.money import nano_to_str
from apps.usage.ingest.columns import STOP_REASONS
from apps.usage.models import RawEvent
from apps.usage.selectors.dimensions import dimension_conditions, dimension_joins

__all__ = ["EVENT_FIELDS", "EventRow", "event_search"]

# Fields beyond the dimensions that raw events are searched by → expression; null is "not known".
EVENT_FIELDS: Final = {
    "event_id": "e.event_id::text",
    "request_id": "e.request_id",
    "session_id": "e.session",
    "service_tier": "CASE WHEN t.batch THEN 'batch' ELSE t.service_tier END",
    "inference_geo": "t.geo",
    "speed": "t.speed",
    "error_type": "e.detail::json->>'error_type'",
    "stop_reason": "e.stop_reason",
    "cost_source": "CASE WHEN e.flags & 8 > 0 THEN 'unpriced' WHEN e.flags & 4 > 0 THEN 'reported'"
    " WHEN e.flags & 1 > 0 THEN 'price_book' END",
}
_COLUMNS: Final = (
    "e.event_id", "e.ts", "t.event_type", "t.model", "w.project_id", "coalesce(p.claimed_by, w.person_id)", "w.team_id",
    "w.key_id", "e.input_tokens", "e.output_tokens", "e.cache_read_tokens", "e.cache_write_5m_tokens",
    "e.cache_write_1h_tokens", "e.web_searches", "e.latency_ms", "e.cost_nano", "e.reported_nano", "e.flags",
    "t.status", "e.stop_reason", EVENT_FIELDS["service_tier"], "t.geo", "t.speed", "e.session", "e.request_id",
    "t.mcp_server", "t.mcp_tool", "t.source", "g.tags", "e.detail", "e.metadata",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EventRow:
    """A raw event as it was counted: ``at`` and ``event_id`` are its place in the order, ``body`` its JSON."""

    at: datetime
    event_id: UUID
    body: dict[str, Any]


def event_search(
    *,
    org_id: UUID,
    filters: Mapping[str, Sequence[str]],
    limit: int,
    start: datetime | None = None,
    end: datetime | None = None,
    after: tuple[datetime, UUID] | None = None,
) -> list[EventRow]:
    """Events of ``[start, end)`` that raw rows are still kept of, newest first, from behind ``after`` on.

    ``filters`` takes the dimensions, ``tag:<name>`` and :data:`EVENT_FIELDS`; any of the values of each.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, salt FROM usage_org WHERE org_id = %s", [org_id])
        org = cursor.fetchone()
        if org is None:
            return []
        params: dict[str, Any] = {"org": org[0], "limit": limit}
        conditions = ["e.org = %(org)s"]
        own = {name: values for name, values in filters.items() if name in EVENT_FIELDS}
        shared = {name: values for name, values in filters.items() if name not in EVENT_FIELDS}
        conditions += dimension_conditions(shared, params)
        conditions += _field_conditions(own, params, bytes(org[1]))
        if start is not None:
            conditions.append("e.ts >= %(start)s")
            params["start"] = start
        if end is not None:
            conditions.append("e.ts < %(end)s")
            params["end"] = end
        if after is not None:
            # The first half serves the index, the second the order among equals.
            conditions.append("e.ts <= %(at)s AND (e.ts, e.event_id) < (%(at)s, %(id)s)")
            params |= {"at": after[0], "id": after[1]}
        cursor.execute(
            f"SELECT {', '.join(_COLUMNS)} FROM usage_event e JOIN usage_who w ON w.id = e.who "  # noqa: S608
            f"JOIN usage_what t ON t.id = e.what {dimension_joins(('user', 'tag:'))}"
            f"WHERE {' AND '.join(conditions)} ORDER BY e.ts DESC, e.event_id DESC LIMIT %(limit)s",
            params,
        )
        rows = cursor.fetchall()
    sessions = _session_names(org[0], {row[23] for row in rows if row[23]})
    return [EventRow(row[1], row[0], _body(row, org_id, sessions)) for row in rows]


def _field_conditions(filters: Mapping[str, Sequence[str]], params: dict[str, Any], salt: bytes) -> list[str]:
    from apps.usage.drain.flush import session_number

    conditions = []
    for name, values in filters.items():
        column, wanted = EVENT_FIELDS[name], list[Any](values)
        if name == "session_id":
            wanted = [session_number(salt, value) if value else 0 for value in values]
        elif name == "stop_reason" and all(not value or value in STOP_REASONS for value in values):
            wanted = [STOP_REASONS.index(value) if value else 0 for value in values]
        elif name == "stop_reason":
            column = "coalesce(e.detail::json->>'stop_reason', '')"
        else:
            column = f"coalesce({column}, '')"
        params[f"own_{name}"] = wanted
        conditions.append(f"{column} = ANY(%(own_{name})s)")
    return conditions


def _session_names(org: int, numbers: Iterable[int]) -> dict[int, str]:
    wanted = list(numbers)
    if not wanted:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, session_id FROM usage_session WHERE org = %(org)s AND id = ANY(%(ids)s) UNION "
            "SELECT session, session_id FROM usage_session_delta WHERE org = %(org)s AND session = ANY(%(ids)s)",
            {"org": org, "ids": wanted},
        )
        return dict(cursor.fetchall())


def _body(row: Sequence[Any], org_id: UUID, sessions: Mapping[int, str]) -> dict[str, Any]:
    (
        event_id, at, event_type, model, project_id, person_id, team_id, key_id, tokens_in, tokens_out, cache_read,
        write_5m, write_1h, searches, latency, cost, reported, flags, status, stop, tier, geo, speed, session,
        request_id, mcp_server, mcp_tool, source, tags, detail, metadata,
    ) = row  # fmt: skip
    more = orjson.loads(detail) if detail else {}
    return {
        "event_id": str(event_id),
        "timestamp": at.isoformat().replace("+00:00", "Z"),
        "org_id": str(org_id),
        "project_id": _text(project_id),
        "user_id": _text(person_id),
        "team_id": _text(team_id),
        "key_id": _text(key_id),
        "event_type": event_type,
        "model": model or None,
        "input_tokens": tokens_in,
        "output_tokens": tokens_out,
        "cache_read_input_tokens": cache_read,
        "cache_creation_input_tokens": write_5m + write_1h,
        "cache_creation": {"ephemeral_5m_input_tokens": write_5m, "ephemeral_1h_input_tokens": write_1h},
        "server_tool_use": {
            "web_search_requests": searches, "web_fetch_requests": more.get("web_fetch_requests", 0),
        },
        "latency_ms": None if latency < 0 else latency,
        "cost_usd": None if flags & RawEvent.UNPRICED else nano_to_str(cost),
        "cost_source": _cost_source(flags),
        "reported_cost_usd": nano_to_str(reported) if flags & RawEvent.REPORTED else None,
        "status": status,
        "error_type": more.get("error_type"),
        "stop_reason": more.get("stop_reason") or STOP_REASONS[stop],
        "service_tier": tier or None,
        "inference_geo": geo or None,
        "speed": speed or None,
        "session_id": sessions.get(session),
        "request_id": request_id,
        "mcp_server": mcp_server or None,
        "mcp_tool": mcp_tool or None,
        "source": source or None,
        "tags": tags if isinstance(tags, dict) else orjson.loads(tags) if tags else {},
        "metadata": orjson.loads(metadata) if metadata else {},
    }  # fmt: skip


def _cost_source(flags: int) -> str | None:
    if flags & RawEvent.UNPRICED:
        return "unpriced"
    if flags & RawEvent.COST_IS_REPORTED:
        return "reported"
    return "price_book" if flags & RawEvent.PRICED else None


def _text(value: UUID | None) -> str | None:
    return str(value) if value else None
