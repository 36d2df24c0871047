"""What a search of raw events asks for, in the numbers that chunks hold: who and what, times, hashes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt
from django.db import connection

from apps.core import clock
from apps.usage.chunks import micros_of
from apps.usage.drain.keys import session_number
from apps.usage.ingest.parse import parse_uuid
from apps.usage.ingest.what import STOP_REASONS
from apps.usage.selectors.dimensions import WHAT_DIMENSIONS, dimension_conditions, dimension_joins
from apps.usage.selectors.find_ids import COVERED, minutes_of
from apps.usage.session_parts import TOO_MANY

__all__ = ["EVENT_FIELDS", "EVER", "MAX_LISTED", "Plan", "plan_dimensions", "plan_fields"]

# Fields beyond the dimensions that raw events are searched by. Those with an expression are columns of what.
_WHAT_FIELDS: Final = {
    "service_tier": "CASE WHEN t.batch THEN 'batch' ELSE t.service_tier END",
    "inference_geo": "t.geo",
    "speed": "t.speed",
}
EVENT_FIELDS: Final = (
    "event_id", "request_id", "session_id", *_WHAT_FIELDS, "error_type", "stop_reason", "cost_source",
)  # fmt: skip
_COST_SOURCES: Final = ("", "price_book", "reported", "unpriced")
# Longer lists of who take longer to compare with a chunk's than looking into it takes.
MAX_LISTED: Final = 40
# What waits to be added to sessions: of each list that has one of them its places, not all that is in it.
_WAITING: Final = f"""
SELECT p.started_at[n], p.last_at[n], CASE coalesce(p.whos[n], '') WHEN '' THEN ARRAY[p.who[n]]
    WHEN '{TOO_MANY}' THEN NULL ELSE string_to_array(p.whos[n], ',')::integer[] END
FROM usage_session_delta_pack p, unnest(%(ids)s::bigint[]) AS id, unnest(array_positions(p.session, id)) AS n
WHERE p.org = %(org)s
"""  # noqa: S608
# More than a timestamp may be ahead of its receipt.
_AHEAD = timedelta(minutes=10)
# Before and after all times.
EVER: Final = 1 << 62


@dataclass(slots=True)
class Plan:
    """A search, ready to be run. Times are half-open, in µs since 1970; where a list is None, all are wanted."""

    org: int
    start: int
    end: int
    after: tuple[int, bytes] | None = None
    who: npt.NDArray[np.int64] | None = None
    what: npt.NDArray[np.int64] | None = None
    ids: list[bytes] | None = None
    sessions: list[int] | None = None
    requests: list[bytes] | None = None
    stops: list[int] | None = None
    costs: list[int] | None = None
    # A field of the detail and its values; only events with a detail can have others than "".
    details: list[tuple[str, list[str]]] = field(default_factory=list)

    @property
    def words(self) -> list[tuple[str, list[str]]]:
        """Fields of the detail with words of which an event has one: where none, or one with a number, will do, not."""
        return [
            (name, words)
            for name, words in self.details
            if "" not in words and not (name == "stop_reason" and set(words) & set(STOP_REASONS))
        ]

    @property
    def never(self) -> bool:
        lists = (self.who, self.what, self.ids, self.requests)
        return self.start >= self.end or any(values is not None and not len(values) for values in lists)


def plan_dimensions(plan: Plan, filters: Mapping[str, Sequence[str]]) -> None:
    """The who and what that the filters admit."""
    whats = {name: values for name, values in filters.items() if name in WHAT_DIMENSIONS}
    whos = {name: v for name, v in filters.items() if name not in EVENT_FIELDS and name not in WHAT_DIMENSIONS}
    params: dict[str, Any] = {"org": plan.org}
    conditions = dimension_conditions(whats, params)
    for name, expression in _WHAT_FIELDS.items():
        if name in filters:
            params[name] = list(filters[name])
            conditions.append(f"{expression} = ANY(%({name})s)")
    asked = []
    if conditions:
        asked.append(f"SELECT true, t.id FROM usage_what t WHERE {' AND '.join(conditions)}")  # noqa: S608
    if whos:
        among = dimension_conditions(whos, params, first=len(whats))
        asked.append(
            f"SELECT false, w.id FROM usage_who w {dimension_joins(whos)}"  # noqa: S608
            f"WHERE w.org = %(org)s AND {' AND '.join(among)}"
        )
    if not asked:
        return
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(asked), params)
        found = cursor.fetchall()
    if conditions:
        plan.what = np.array([number for is_what, number in found if is_what], dtype=np.int64)
    if whos:
        plan.who = np.array([number for is_what, number in found if not is_what], dtype=np.int64)


def plan_fields(plan: Plan, filters: Mapping[str, Sequence[str]], org_id: UUID, salt: bytes) -> None:
    if "event_id" in filters:
        ids = [found for value in filters["event_id"] if (found := parse_uuid(value))]
        plan.ids = [value.bytes for value in ids]
        minutes = minutes_of(org_id, salt, ids)
        if ids and len(minutes) == len(ids):
            plan.start = max(plan.start, min(minutes.values()) * 60_000_000)
            plan.end = min(plan.end, (max(minutes.values()) + 1) * 60_000_000)
        elif not minutes:
            # None was counted in the days that segments cover, so none is of a later time either.
            plan.end = min(plan.end, micros_of(clock.now() - COVERED + _AHEAD)) if ids else plan.start
    if "session_id" in filters:
        plan.sessions = [session_number(salt, value) if value else 0 for value in filters["session_id"]]
    if "request_id" in filters:
        plan.requests = [value.encode() for value in filters["request_id"]]
    if "cost_source" in filters:
        plan.costs = [_COST_SOURCES.index(value) for value in filters["cost_source"] if value in _COST_SOURCES]
    if "stop_reason" in filters:
        values = list(filters["stop_reason"])
        if all(value and value in STOP_REASONS for value in values):
            plan.stops = [STOP_REASONS.index(value) for value in values]
        else:
            plan.details.append(("stop_reason", values))
    if "error_type" in filters:
        plan.details.append(("error_type", list(filters["error_type"])))
    if plan.sessions is not None and 0 not in plan.sessions:
        _narrow_to_sessions(plan)


def _asks_for_more(plan: Plan) -> bool:
    """Whether something beside a session is asked for, so that hints, which know of whos, can tell where it is not."""
    return any((plan.what is not None, plan.stops, plan.costs, plan.details))


def _narrow_to_sessions(plan: Plan) -> None:
    """A session's events lie between its first and its last, and are of whos that it mostly knows."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT min(started_at), max(last_at), bool_and(whos IS NOT NULL),"  # noqa: S608 - our own parts
            " coalesce(string_agg(array_to_string(whos, ','), ','), '') FROM ("
            "SELECT started_at, last_at, whos FROM usage_session WHERE org = %(org)s AND id = ANY(%(ids)s) UNION ALL"
            f" {_WAITING}) s",
            {"org": plan.org, "ids": plan.sessions},
        )
        first, last, known, whos = cursor.fetchone()
    if first is None:
        plan.end = plan.start
        return
    if known and whos:
        listed = np.unique(np.array(whos.split(","), dtype=np.int64))
        if plan.who is not None:
            plan.who = np.intersect1d(plan.who, listed)
        elif len(listed) <= MAX_LISTED and _asks_for_more(plan):
            plan.who = listed
    plan.start, plan.end = max(plan.start, micros_of(first)), min(plan.end, micros_of(last) + 1)
