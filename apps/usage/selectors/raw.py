"""Raw events, newest first, by any of their fields.

What narrows a search, in this order: the chunks' bounds in time (a session's and an event id's are known from
elsewhere), the who and what each chunk says it holds, what hints know of chunks of the past
(:mod:`apps.usage.selectors.hints`), and then only those columns that the filters ask for. Where something was found the
events are read (:mod:`apps.usage.selectors.pick`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt
import orjson

from apps.core.database import one_snapshot
from apps.usage.chunks import Chunk, Texts, at_micros, fetch, micros_of, request_hash, scan_slice
from apps.usage.hints import cost_source
from apps.usage.ingest.what import DETAIL, STOP_REASONS
from apps.usage.selectors.event_json import Found, bodies
from apps.usage.selectors.hints import Hints
from apps.usage.selectors.pick import Moved, pick_events, texts_of
from apps.usage.selectors.plan import EVENT_FIELDS, EVER, MAX_LISTED, Plan, plan_dimensions, plan_fields

__all__ = ["EVENT_FIELDS", "EventRow", "Match", "event_search", "matches_of", "needed_columns"]

# Chunks looked at in one query: few at first, since mostly the newest ones have enough.
_FIRST_LOOK, _LONGEST_LOOK = 4, 256
_TRIES = 5
# So many values are compared one by one.
_FEW = 12

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class EventRow:
    """A raw event as it was counted: ``at`` and ``event_id`` are its place in the order, ``body`` its JSON."""

    at: datetime
    event_id: UUID
    body: dict[str, Any]


@dataclass(slots=True)
class Match:
    """Events of one chunk that were found: their places and times."""

    chunk_id: int
    drop_on: Any
    places: npt.NDArray[np.int64]
    ts: npt.NDArray[np.int64]


@dataclass(slots=True)
class _Looked:
    """A chunk that was looked at, and the places of what matches so far."""

    chunk_id: int
    drop_on: Any
    events: int
    columns: "_Columns"
    places: npt.NDArray[np.int64]


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

    A search sees one snapshot: a chunk that is merged between two of its looks would be behind the first of them.
    """
    with one_snapshot():
        return _search(org_id, filters, limit, start, end, after)


def _search(
    org_id: UUID, filters: Mapping[str, Sequence[str]], limit: int, start: datetime | None, end: datetime | None,
    after: tuple[datetime, UUID] | None,
) -> list[EventRow]:  # fmt: skip
    found = fetch("SELECT id, salt FROM usage_org WHERE org_id = %s", (org_id,))
    if not found:
        return []
    org, salt = found[0][0], bytes(found[0][1])
    plan = Plan(org, micros_of(start) if start else -EVER, micros_of(end) if end else EVER)
    if after is not None:
        plan.after = (micros_of(after[0]), after[1].bytes)
        plan.end = min(plan.end, plan.after[0] + 1)
    plan_dimensions(plan, filters)
    plan_fields(plan, filters, org_id, salt)
    if plan.never:
        return []
    for attempt in range(_TRIES):
        try:
            return _rows(plan, org_id, limit)
        except Moved:
            if attempt == _TRIES - 1:
                raise
    return []


def _rows(plan: Plan, org_id: UUID, limit: int) -> list[EventRow]:
    matches = _matches(plan, limit)
    if not matches:
        return []
    every = np.concatenate([match.ts for match in matches])
    # All that could be among the newest: of equal moments the ids decide, which are not read yet.
    least = int(np.partition(every, len(every) - limit)[len(every) - limit]) if len(every) > limit else -EVER
    wanted = {match.chunk_id: (match.drop_on, match.places[match.ts >= least]) for match in matches}
    wanted = {number: found for number, found in wanted.items() if len(found[1])}
    events: list[tuple[int, bytes, Chunk, int]] = []
    for chunk, places in pick_events(plan.org, wanted):
        ids, ts = chunk.columns["id"], chunk.columns["ts"]
        events += [(int(ts[i]), ids[i].tobytes(), chunk, i) for i in places.tolist()]
    events.sort(key=lambda event: event[:2], reverse=True)
    chosen = [Found(chunk, place) for _, _, chunk, place in events[:limit]]
    return [EventRow(at, event_id, body) for at, event_id, body in bodies(chosen, plan.org, org_id)]


# ---------------------------------------------------------------------------------------------- looking
def _matches(plan: Plan, limit: int) -> list[Match]:
    """Chunks from the newest on, until no older one can have anything among the ``limit`` newest matches."""
    matches: list[Match] = []
    times: list[int] = []
    beyond: tuple[datetime, int] | None = None
    look, looked = _FIRST_LOOK, 0
    needed = needed_columns(plan)
    tested = [name for name in needed if name != "ts"]
    hints = Hints(plan)
    while True:
        # Times and ids are five sixths of what a look reads: where most chunks have nothing, they are read of those
        # alone that have something.
        narrow = tested if tested and looked and 2 * len(matches) < looked else None
        rows = _look(plan, narrow or needed, beyond, look, hints)
        for found in _found(plan, needed, narrow, rows):
            matches.append(found)
            times += found.ts.tolist()
        if len(rows) < look:
            return matches
        beyond = (rows[-1][3], rows[-1][0])
        if len(times) >= limit:
            times = sorted(times, reverse=True)[:limit]
            if times[-1] > micros_of(beyond[0]):
                return matches
        looked += len(rows)
        look = _next_look(look, looked, len(times), limit)
        hints.know(looked + look)


def _next_look(last: int, looked: int, found: int, limit: int) -> int:
    """How many chunks to look at next: as many as will do, going by what was found, and at most four times as many."""
    most = min(4 * last, _LONGEST_LOOK)
    if found >= limit:
        return min(most, 2 * last)
    if not found:
        return most
    expected = (limit - found) * looked * 5 // (4 * found) + 1
    return min(most, max(_FIRST_LOOK, expected))


def _found(plan: Plan, needed: Sequence[str], narrow: Sequence[str] | None, rows: list[tuple[Any, ...]]) -> list[Match]:
    """The matches among the chunks of a look; ``narrow`` are the columns that it read, None where all needed ones."""
    if narrow is None:
        return matches_of(plan, needed, rows)
    maybe = {row[0]: row for row in rows if _tested(plan, _columns(narrow, row)).any()}
    whole = []
    # Only what is missing is read of them.
    for number, drop_on, events, last_at, times, *ids in _read(plan, ["ts"], [row[:2] for row in maybe.values()]):
        columns = [times if name == "ts" else maybe[number][4 + narrow.index(name)] for name in needed]
        whole.append((number, drop_on, events, last_at, *columns, *ids))
    return matches_of(plan, needed, whole)


def needed_columns(plan: Plan) -> list[str]:
    """The columns that have to be looked at."""
    tests = {
        "who": plan.who, "what": plan.what, "session": plan.sessions, "request": plan.requests,
        "stop": plan.stops if plan.stops is not None else (plan.details or None),
        "flags": plan.costs if plan.costs is not None else (plan.details or None),
    }  # fmt: skip
    return ["ts", *(name for name, test in tests.items() if test is not None)]


def _read_columns(plan: Plan, names: Sequence[str], source: str = "usage_chunk") -> str:
    columns = [scan_slice(name) for name in names]
    if "ts" in names and (plan.ids is not None or plan.after is not None):
        columns.append("substring(facts FROM 3 FOR 16 * events)")
    return f"SELECT id, drop_on, events, last_at, {', '.join(columns)} FROM {source}"  # noqa: S608


def _look(
    plan: Plan, names: Sequence[str], beyond: tuple[datetime, int] | None, limit: int, hints: Hints
) -> list[tuple[Any, ...]]:
    """The next chunks that may have something, and these columns of each."""
    conditions, params = ["org = %(org)s"], dict[str, Any](org=plan.org, limit=limit)
    if plan.start > -EVER:
        conditions.append("last_at >= %(start)s")
        params["start"] = at_micros(plan.start)
    if plan.end < EVER:
        conditions.append("first_at < %(end)s")
        params["end"] = at_micros(plan.end)
    lists = []
    for name, values in (("whos", plan.who), ("whats", plan.what)):
        if values is not None and len(values) <= MAX_LISTED:
            lists.append(f"{name} && %({name})s::integer[]")
            params[name] = values.tolist()
    listed = " AND ".join(lists) or "true"
    if hints.perhaps and lists:
        # Comparing the lists takes longer than what is looked at for nothing.
        listed = f"(id IN (SELECT unnest(%(perhaps)s::bigint[])) OR {listed})"
        params["perhaps"] = hints.perhaps
    if hints.without:
        # As a list of constants it would take longer to plan than to go through. In a CASE, since in a conjunction the
        # database may well compare the lists first.
        listed = f"CASE WHEN id IN (SELECT unnest(%(without)s::bigint[])) THEN false ELSE {listed} END"
        params["without"] = hints.without
    conditions.append(listed)
    if beyond is not None:
        conditions.append("last_at <= %(last)s AND (last_at, id) < (%(last)s, %(id)s)")
        params |= {"last": beyond[0], "id": beyond[1]}
    # Columns are read of the chosen chunks alone, whether the database sorts or not.
    chosen = (
        f"(SELECT id, drop_on, events, last_at, scan, facts FROM usage_chunk WHERE {' AND '.join(conditions)}"  # noqa: S608
        " ORDER BY last_at DESC, id DESC LIMIT %(limit)s OFFSET 0) AS chosen"
    )
    return fetch(f"{_read_columns(plan, names, chosen)} ORDER BY last_at DESC, id DESC", params)


def _read(plan: Plan, names: Sequence[str], chunks: list[tuple[int, Any]]) -> list[tuple[Any, ...]]:
    """These columns of these chunks (id and day of dropping)."""
    if not chunks:
        return []
    rows = fetch(
        f"{_read_columns(plan, names)} WHERE org = %s AND id = ANY(%s) AND drop_on = ANY(%s)",
        (plan.org, [number for number, _ in chunks], sorted({drop_on for _, drop_on in chunks})),
    )
    if len(rows) != len(chunks):
        raise Moved
    return rows


# ---------------------------------------------------------------------------------------------- matching
_KINDS: Final = {
    "ts": "<i8", "session": "<i8", "who": "<i4", "what": "<i4", "request": "<u4", "flags": "u1", "stop": "u1",
}  # fmt: skip
_Columns = dict[str, npt.NDArray[Any]]


def _columns(names: Sequence[str], row: Sequence[Any]) -> _Columns:
    return {name: np.frombuffer(row[4 + i], dtype=_KINDS[name]) for i, name in enumerate(names)}


def matches_of(plan: Plan, needed: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[Match]:
    """What of chunks (id, day of dropping, events, last moment, needed columns, ids where asked for) matches.

    Only those that have something, in their order.
    """
    looked: list[_Looked] = []
    for row in rows:
        number, drop_on, events = row[:3]
        columns = _columns(needed, row)
        ts = columns["ts"]
        mask = (ts >= plan.start) & (ts < plan.end) & _tested(plan, columns)
        if plan.ids is not None or plan.after is not None:
            mask &= _ids_match(plan, ts, np.frombuffer(row[4 + len(needed)], dtype="V16"))
        if mask.any():
            looked.append(_Looked(number, drop_on, events, columns, np.flatnonzero(mask)))
    if plan.details or plan.requests is not None:
        _check_texts(plan, looked)
    return [
        Match(one.chunk_id, one.drop_on, one.places, one.columns["ts"][one.places]) for one in looked if len(one.places)
    ]


def _tested(plan: Plan, columns: _Columns) -> Mask:
    """What the columns other than time leave; texts may still say no."""
    mask: Mask = np.ones(len(next(iter(columns.values()))), dtype=bool)
    for name, values in (("who", plan.who), ("what", plan.what), ("session", plan.sessions), ("stop", plan.stops)):
        if values is not None:
            mask &= _among(columns[name], values)
    if plan.requests is not None:
        mask &= _among(columns["request"], [request_hash(value) if value else 0 for value in plan.requests])
    if plan.costs is not None:
        mask &= _among(cost_source(columns["flags"]), plan.costs)
    for name, words in plan.details:
        if name == "error_type" and "" not in words:
            mask &= (columns["flags"] & DETAIL) != 0
    return mask


def _among(column: npt.NDArray[Any], values: Sequence[int] | npt.NDArray[np.int64]) -> Mask:
    """Which of a column are one of these; a few comparisons take less than sorting does."""
    if not 0 < len(values) <= _FEW:
        return np.isin(column, values)
    mask: Mask = column == values[0]
    for value in values[1:]:
        mask |= column == value
    return mask


def _ids_match(plan: Plan, ts: npt.NDArray[np.int64], ids: npt.NDArray[np.void]) -> Mask:
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


def _check_texts(plan: Plan, looked: list[_Looked]) -> None:
    """Leave of the places what the texts agree with; they are read of all chunks together."""
    wanted: dict[int, tuple[Any, int, list[int]]] = {}
    for one in looked:
        places = one.places
        if plan.requests is None:
            places = places[(one.columns["flags"][places] & DETAIL) != 0]
        if len(places):
            wanted[one.chunk_id] = (one.drop_on, one.events, places.tolist())
    texts = texts_of(plan.org, wanted)
    for one in looked:
        agreed = [place for place in one.places.tolist() if _texts_match(plan, one, place, texts)]
        one.places = np.array(agreed, dtype=np.int64)


def _texts_match(plan: Plan, one: _Looked, place: int, texts: Mapping[tuple[int, int], Texts]) -> bool:
    request, detail, _ = texts.get((one.chunk_id, place), (b"", b"", b""))
    if plan.requests is not None and request not in plan.requests:
        return False
    read = orjson.loads(detail) if plan.details and detail else {}
    for name, values in plan.details:
        known = read.get(name) or ""
        if name == "stop_reason" and not known:
            known = STOP_REASONS[int(one.columns["stop"][place])]
        if known not in values:
            return False
    return True
