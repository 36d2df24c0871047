"""Sessions: what an agent or a person did in one go, newest first."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import connection

from apps.core import clock
from apps.core.money import nano_to_str
from apps.usage.drain.flush import session_number
from apps.usage.selectors.dimensions import dimension_conditions, dimension_joins
from apps.usage.session_parts import SUMS, fresh_sql, part_sql, whole_sql

__all__ = ["SESSION_FILTERS", "SESSION_STATES", "SessionRow", "session_get", "session_list"]

SESSION_FILTERS: Final = ("project", "user", "team", "key")
SESSION_STATES: Final = ("active", "ended")

# A session lies folded in one row, and in deltas for what came since.
_GATHERED: Final = f"""
    SELECT id, min(session_id) AS session_id, (array_agg(who ORDER BY started_at))[1] AS who,
        string_to_array(string_agg(array_to_string(models, chr(31)), chr(31)), chr(31)) AS models,
        min(started_at) AS started_at, max(last_at) AS last_at, {", ".join(f"sum({name}) AS {name}" for name in SUMS)}
    FROM parts GROUP BY id
"""  # noqa: S608
_READ: Final = (
    "SELECT s.session_id, s.id, s.started_at, s.last_at, s.models, w.project_id, coalesce(p.claimed_by, w.person_id),"
    " w.team_id, w.key_id, " + ", ".join(f"s.{name}" for name in SUMS)
)


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session's sums: ``at`` (its last event) and ``number`` are its place in the order, ``body`` its JSON."""

    at: datetime
    number: int
    started_at: datetime
    body: dict[str, Any]


def session_list(
    *,
    org_id: UUID,
    filters: Mapping[str, Sequence[str]],
    limit: int,
    start: datetime | None = None,
    end: datetime | None = None,
    after: tuple[datetime, int] | None = None,
    states: Collection[str] = SESSION_STATES,
    idle: timedelta,
    projects: Collection[str] | None = None,
) -> list[SessionRow]:
    """Sessions whose last event lies in ``[start, end)``, the latest first, from behind ``after`` on.

    ``projects`` (ids): only what is of these, as if there were nothing else in a session. ``states`` are those of
    :data:`SESSION_STATES` that are wanted; a session has ended when it was silent for ``idle``.
    """
    org, _ = _org(org_id)
    moment = clock.now()
    params: dict[str, Any] = {"org": org, "limit": limit, "silent": moment - idle}
    conditions = []
    if "ended" not in states:
        conditions.append("last_at >= %(silent)s")
    if "active" not in states:
        conditions.append("last_at < %(silent)s")
    if start is not None:
        conditions.append("last_at >= %(start)s")
        params["start"] = start
    if end is not None:
        conditions.append("last_at < %(end)s")
        params["end"] = end
    if after is not None:
        conditions.append("last_at <= %(at)s AND (last_at, id) < (%(at)s, %(number)s)")
        params |= {"at": after[0], "number": after[1]}
    if who := dimension_conditions(filters, params):
        conditions.append(
            f"who IN (SELECT w.id FROM usage_who w {dimension_joins(filters)}"  # noqa: S608
            f"WHERE w.org = %(org)s AND {' AND '.join(who)})"
        )
    where = "".join(f" AND {condition}" for condition in conditions)
    narrowed = _narrowed(projects, params)
    whole, fresh = whole_sql(narrowed=narrowed), fresh_sql(narrowed=narrowed)
    # The folded sessions without deltas come by their index, as many as fit; those with deltas are few, and so are
    # those of several projects.
    parts = (
        "fresh AS (SELECT DISTINCT unnest(session) AS id FROM usage_session_delta_pack WHERE org = %(org)s), parts AS ("  # noqa: S608
        f"(SELECT * FROM ({whole}) s WHERE id NOT IN (SELECT id FROM fresh){where}"
        " ORDER BY last_at DESC, id DESC LIMIT %(limit)s)"
        f" UNION ALL SELECT * FROM ({whole}) s WHERE id IN (SELECT id FROM fresh)"
        f"{' UNION ALL ' + part_sql() if narrowed else ''} UNION ALL {fresh})"
    )
    return _rows(parts, f"WHERE true{where}", params, moment)


def session_get(
    *, org_id: UUID, session_id: str, idle: timedelta, projects: Collection[str] | None = None
) -> SessionRow | None:
    """The session of this name, or None; ``idle`` and ``projects`` as of :func:`session_list`."""
    org, salt = _org(org_id)
    moment = clock.now()
    params: dict[str, Any] = {
        "org": org, "number": session_number(salt, session_id), "limit": 1, "silent": moment - idle,
    }  # fmt: skip
    narrowed = _narrowed(projects, params)
    sources = [whole_sql(narrowed=narrowed), *([part_sql()] if narrowed else [])]
    found = [f"SELECT * FROM ({source}) s WHERE id = %(number)s" for source in sources]  # noqa: S608
    parts = " UNION ALL ".join([*found, fresh_sql(narrowed=narrowed, one=True)])
    rows = _rows(f"parts AS ({parts})", "", params, moment)
    return rows[0] if rows else None


def _narrowed(projects: Collection[str] | None, params: dict[str, Any]) -> bool:
    """Whether only some projects count; adds them to ``params``."""
    if projects is not None:
        params["projects"] = list(projects)
    return projects is not None


def _org(org_id: UUID) -> tuple[int, bytes]:
    """Its number and salt; number 0, which nobody has, where nothing was counted yet."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, salt FROM usage_org WHERE org_id = %s", [org_id])
        row = cursor.fetchone()
    return (row[0], bytes(row[1])) if row else (0, b"")


def _rows(parts: str, where: str, params: Mapping[str, Any], moment: datetime) -> list[SessionRow]:
    sql = (
        f"WITH {parts}, gathered AS ({_GATHERED}), page AS (SELECT * FROM gathered {where}"  # noqa: S608
        f" ORDER BY last_at DESC, id DESC LIMIT %(limit)s) {_READ} FROM page s JOIN usage_who w ON w.id = s.who"
        f" {dimension_joins(['user'])} ORDER BY s.last_at DESC, s.id DESC"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return [_row(row, moment, params["silent"]) for row in cursor.fetchall()]


def _row(row: Sequence[Any], moment: datetime, silent: datetime) -> SessionRow:
    session_id, number, started_at, last_at, models, project, person, team, key, *sums = row
    metrics = {name: int(value) for name, value in zip(SUMS, sums, strict=True)}
    body = {
        "session_id": session_id,
        "state": "ended" if last_at < silent else "active",
        "started_at": _stamp(started_at),
        "last_at": _stamp(last_at),
        "ended_at": _stamp(last_at) if last_at < silent else None,
        "idle_ms": max(timedelta(), moment - last_at) // timedelta(milliseconds=1),
        "duration_ms": (last_at - started_at) // timedelta(milliseconds=1),
        "models": sorted({model for model in models or [] if model}),
        "project_id": str(project) if project else None,
        "user_id": str(person) if person else None,
        "team_id": str(team) if team else None,
        "key_id": str(key) if key else None,
        "metrics": {
            **{name: value for name, value in metrics.items() if name not in {"cache_write_tokens", "cost_nano"}},
            "cache_creation_tokens": metrics["cache_write_tokens"],
            "cost_usd": nano_to_str(metrics["cost_nano"]),
        },
    }
    return SessionRow(last_at, number, started_at, body)


def _stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
