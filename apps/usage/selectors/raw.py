"""Raw events, newest first, by any of their fields.

What narrows a search, in this order: the chunks' bounds in time (a session's and an event id's are known from
elsewhere), the who and what each chunk says it holds, and then only those columns that the filters ask for. Whole
chunks are read where something was found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt
import orjson
from django.db import connection

from apps.core import clock
from apps.usage.chunks import CHUNK_FIELDS, Chunk, at_micros, chunk_of, fetch, micros_of, request_hash, scan_slice
from apps.usage.drain.keys import session_number
from apps.usage.ingest.parse import parse_uuid
from apps.usage.ingest.what import COST_IS_REPORTED, DETAIL, PRICED, STOP_REASONS, UNPRICED
from apps.usage.selectors.dimensions import WHAT_DIMENSIONS, dimension_conditions, dimension_joins
from apps.usage.selectors.event_json import Found, bodies
from apps.usage.selectors.find_ids import COVERED, minutes_of

__all__ = ["EVENT_FIELDS", "EventRow", "event_search"]

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
# Chunks looked at in one query: few at first, since mostly the newest ones have enough.
_FIRST_LOOK, _LONGEST_LOOK = 4, 256
# Longer lists of who take longer to compare than they save.
_MAX_LISTED = 500
_TRIES = 5
# More than a timestamp may be ahead of its receipt.
_AHEAD = timedelta(minutes=10)

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class EventRow:
    """A raw event as it was counted: ``at`` and ``event_id`` are its place in the order, ``body`` its JSON."""

    at: datetime
    event_id: UUID
    body: dict[str, Any]


class _Moved(Exception):
    """A chunk was merged into another between two reads."""


@dataclass(slots=True)
class _Plan:
    """A search, ready to be run. Times are half-open, in µs since 1970; ``spans`` are what events must lie in."""

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
    def never(self) -> bool:
        lists = (self.who, self.what, self.ids, self.requests)
        return self.start >= self.end or any(values is not None and not len(values) for values in lists)


def event_search(
    *,
    org_id: UUID,
    filters: Mapping[str, Sequence[str]],
    limit: int,
    start: datetime | None = None,
    end: datetime | None = None,
    after: tuple[datetime, UUID] | None = None,
) -> list[EventRow]:
    """Events of ``[start, end)`` that raw events are still kept of, newest first, from behind ``after`` on.

    ``filters`` takes the dimensions, ``tag:<name>`` and :data:`EVENT_FIELDS`; any of the values of each.
    """
    found = fetch("SELECT id, salt FROM usage_org WHERE org_id = %s", (org_id,))
    if not found:
        return []
    org, salt = found[0][0], bytes(found[0][1])
    plan = _Plan(org, micros_of(start) if start else -(1 << 62), micros_of(end) if end else 1 << 62)
    if after is not None:
        plan.after = (micros_of(after[0]), after[1].bytes)
        plan.end = min(plan.end, plan.after[0] + 1)
    _plan_dimensions(plan, filters)
    _plan_fields(plan, filters, org_id, salt)
    if plan.never:
        return []
    for attempt in range(_TRIES):
        try:
            return _rows(plan, org_id, limit)
        except _Moved:
            if attempt == _TRIES - 1:
                raise
    return []


# ---------------------------------------------------------------------------------------------- planning
def _plan_dimensions(plan: _Plan, filters: Mapping[str, Sequence[str]]) -> None:
    """The who and what that the filters admit."""
    whats = {name: values for name, values in filters.items() if name in WHAT_DIMENSIONS}
    whos = {name: v for name, v in filters.items() if name not in EVENT_FIELDS and name not in WHAT_DIMENSIONS}
    params: dict[str, Any] = {"org": plan.org}
    conditions = dimension_conditions(whats, params)
    for name, expression in _WHAT_FIELDS.items():
        if name in filters:
            params[name] = list(filters[name])
            conditions.append(f"{expression} = ANY(%({name})s)")
    with connection.cursor() as cursor:
        if conditions:
            cursor.execute(f"SELECT id FROM usage_what t WHERE {' AND '.join(conditions)}", params)  # noqa: S608
            plan.what = np.array([row[0] for row in cursor.fetchall()], dtype=np.int64)
        if whos:
            conditions = dimension_conditions(whos, params)
            cursor.execute(
                f"SELECT w.id FROM usage_who w {dimension_joins(whos)}"  # noqa: S608
                f"WHERE w.org = %(org)s AND {' AND '.join(conditions)}",
                params,
            )
            plan.who = np.array([row[0] for row in cursor.fetchall()], dtype=np.int64)


def _plan_fields(plan: _Plan, filters: Mapping[str, Sequence[str]], org_id: UUID, salt: bytes) -> None:
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
        if 0 not in plan.sessions:
            _narrow_to_sessions(plan)
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


def _narrow_to_sessions(plan: _Plan) -> None:
    """A session's events lie between its first and its last."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT min(started_at), max(last_at) FROM ("
            "SELECT started_at, last_at FROM usage_session WHERE org = %(org)s AND id = ANY(%(ids)s) UNION ALL "
            "SELECT started_at, last_at FROM usage_session_delta WHERE org = %(org)s AND session = ANY(%(ids)s)) s",
            {"org": plan.org, "ids": plan.sessions},
        )
        first, last = cursor.fetchone()
    if first is None:
        plan.end = plan.start
        return
    plan.start, plan.end = max(plan.start, micros_of(first)), min(plan.end, micros_of(last) + 1)


# ---------------------------------------------------------------------------------------------- running
@dataclass(slots=True)
class _Match:
    """Events of one chunk that were found: their places and times."""

    chunk_id: int
    drop_on: Any
    places: npt.NDArray[np.int64]
    ts: npt.NDArray[np.int64]


def _rows(plan: _Plan, org_id: UUID, limit: int) -> list[EventRow]:
    matches = _matches(plan, limit)
    if not matches:
        return []
    every = np.concatenate([match.ts for match in matches])
    # All that could be among the newest: of equal moments the ids decide, which are not read yet.
    least = int(np.partition(every, len(every) - limit)[len(every) - limit]) if len(every) > limit else -(1 << 62)
    wanted = {match.chunk_id: (match.drop_on, match.places[match.ts >= least]) for match in matches}
    wanted = {number: found for number, found in wanted.items() if len(found[1])}
    events: list[tuple[int, bytes, Chunk, int]] = []
    for chunk in _chunks(plan.org, wanted):
        ids, ts = chunk.columns["id"], chunk.columns["ts"]
        events += [(int(ts[i]), ids[i].tobytes(), chunk, i) for i in wanted[chunk.id][1].tolist()]
    events.sort(key=lambda event: event[:2], reverse=True)
    chosen = [Found(chunk, place) for _, _, chunk, place in events[:limit]]
    return [EventRow(at, event_id, body) for at, event_id, body in bodies(chosen, plan.org, org_id)]


def _chunks(org: int, wanted: Mapping[int, tuple[Any, Any]]) -> list[Chunk]:
    rows = fetch(
        f"SELECT {CHUNK_FIELDS} FROM usage_chunk WHERE org = %s AND id = ANY(%s)"  # noqa: S608
        " AND drop_on = ANY(%s)",
        (org, list(wanted), sorted({found[0] for found in wanted.values()})),
    )
    if len(rows) != len(wanted):
        raise _Moved
    return [chunk_of(row) for row in rows]


def _matches(plan: _Plan, limit: int) -> list[_Match]:
    """Chunks from the newest on, until no older one can have anything among the ``limit`` newest matches."""
    matches: list[_Match] = []
    times: list[int] = []
    beyond: tuple[datetime, int] | None = None
    look = _FIRST_LOOK
    needed = _needed(plan)
    while True:
        rows = _look(plan, needed, beyond, look)
        for row in rows:
            match = _match(plan, needed, row)
            if match is not None:
                matches.append(match)
                times += match.ts.tolist()
        if len(rows) < look:
            return matches
        beyond = (rows[-1][3], rows[-1][0])
        if len(times) >= limit:
            times = sorted(times, reverse=True)[:limit]
            if times[-1] > micros_of(beyond[0]):
                return matches
        look = min(look * 4, _LONGEST_LOOK)


def _needed(plan: _Plan) -> list[str]:
    """The columns that have to be looked at."""
    tests = {
        "who": plan.who, "what": plan.what, "session": plan.sessions, "request": plan.requests,
        "stop": plan.stops if plan.stops is not None else (plan.details or None),
        "flags": plan.costs if plan.costs is not None else (plan.details or None),
    }  # fmt: skip
    return ["ts", *(name for name, test in tests.items() if test is not None)]


def _look(plan: _Plan, needed: Sequence[str], beyond: tuple[datetime, int] | None, limit: int) -> list[tuple[Any, ...]]:
    conditions, params = ["org = %(org)s"], dict[str, Any](org=plan.org, limit=limit)
    if plan.start > -(1 << 62):
        conditions.append("last_at >= %(start)s")
        params["start"] = at_micros(plan.start)
    if plan.end < 1 << 62:
        conditions.append("first_at < %(end)s")
        params["end"] = at_micros(plan.end)
    for name, values in (("whos", plan.who), ("whats", plan.what)):
        if values is not None and len(values) <= _MAX_LISTED:
            conditions.append(f"{name} && %({name})s::integer[]")
            params[name] = values.tolist()
    if beyond is not None:
        conditions.append("last_at <= %(last)s AND (last_at, id) < (%(last)s, %(id)s)")
        params |= {"last": beyond[0], "id": beyond[1]}
    columns = [scan_slice(name) for name in needed]
    if plan.ids is not None or plan.after is not None:
        columns.append("substring(facts FROM 3 FOR 16 * events)")
    return fetch(
        f"SELECT id, drop_on, events, last_at, {', '.join(columns)} FROM usage_chunk"  # noqa: S608
        f" WHERE {' AND '.join(conditions)} ORDER BY last_at DESC, id DESC LIMIT %(limit)s",
        params,
    )


_KINDS: Final = {
    "ts": "<i8", "session": "<i8", "who": "<i4", "what": "<i4", "request": "<u4", "flags": "u1", "stop": "u1",
}  # fmt: skip


def _match(plan: _Plan, needed: Sequence[str], row: Sequence[Any]) -> _Match | None:
    number, drop_on, events, last_at, *data = row
    columns = {name: np.frombuffer(data[i], dtype=_KINDS[name]) for i, name in enumerate(needed)}
    rest = data[len(needed) :]
    ts = columns["ts"]
    mask: Mask = (ts >= plan.start) & (ts < plan.end)
    for name, values in (("who", plan.who), ("what", plan.what), ("session", plan.sessions), ("stop", plan.stops)):
        if values is not None:
            mask &= np.isin(columns[name], values)
    if plan.requests is not None:
        mask &= np.isin(columns["request"], [request_hash(value) if value else 0 for value in plan.requests])
    if plan.costs is not None:
        mask &= np.isin(_cost_source(columns["flags"]), plan.costs)
    if plan.ids is not None or plan.after is not None:
        mask &= _ids_match(plan, ts, np.frombuffer(rest.pop(0), dtype="V16"))
    if (plan.details or plan.requests is not None) and mask.any():
        texts = fetch(
            "SELECT texts FROM usage_chunk WHERE drop_on = %s AND org = %s AND id = %s", (drop_on, plan.org, number)
        )
        if not texts:
            raise _Moved
        _check_texts(plan, Chunk(number, plan.org, drop_on, last_at, last_at, events, columns, texts[0][0]), mask)
    places = np.flatnonzero(mask)
    return _Match(number, drop_on, places, ts[places]) if len(places) else None


def _cost_source(flags: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """The place of each event's cost source in :data:`_COST_SOURCES`."""
    conditions = [(flags & bit) != 0 for bit in (UNPRICED, COST_IS_REPORTED, PRICED)]
    found: npt.NDArray[np.int64] = np.select(conditions, [3, 2, 1], default=0)
    return found


def _ids_match(plan: _Plan, ts: npt.NDArray[np.int64], ids: npt.NDArray[np.void]) -> Mask:
    mask = np.ones(len(ts), dtype=bool)
    if plan.ids is not None:
        mask = np.isin(_halves(ids), _halves(np.frombuffer(b"".join(plan.ids), dtype="V16")))
        exact = set(plan.ids)
        for place in np.flatnonzero(mask).tolist():
            mask[place] = ids[place].tobytes() in exact
    if plan.after is not None:
        at, last = plan.after
        for place in np.flatnonzero(ts == at).tolist():
            mask[place] &= ids[place].tobytes() < last
    return mask


def _halves(ids: npt.NDArray[np.void]) -> npt.NDArray[np.uint64]:
    """The second halves of ids, the random ones of those that begin with a time."""
    return np.ascontiguousarray(ids).view("<u8").reshape(-1, 2)[:, 1]


def _check_texts(plan: _Plan, chunk: Chunk, mask: Mask) -> None:
    """Leave in ``mask`` what the texts agree with."""
    texts = None
    has_detail = (chunk.columns["flags"] & DETAIL) != 0 if plan.details else None
    for place in np.flatnonzero(mask).tolist():
        if plan.requests is not None:
            texts = texts or chunk.texts()
            if texts[place][0] not in plan.requests:
                mask[place] = False
                continue
        for name, values in plan.details:
            known = ""
            if has_detail is not None and has_detail[place]:
                texts = texts or chunk.texts()
                known = orjson.loads(texts[place][1]).get(name) or ""
            if name == "stop_reason" and not known:
                known = STOP_REASONS[int(chunk.columns["stop"][place])]
            if known not in values:
                mask[place] = False
                break
