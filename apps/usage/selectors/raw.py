"""Raw events, newest first, by any of their fields.

What narrows a search, in this order: the chunks' bounds in time (a session's and an event id's are known from
elsewhere), the who, what and words each chunk says it holds, what hints know of chunks of the past
(:mod:`apps.usage.selectors.hints`), and then only those columns that the filters ask for. Where something was found the
events are read (:mod:`apps.usage.selectors.pick`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np

from apps.core.database import one_snapshot
from apps.usage.chunks import Bigints, Chunk, at_micros, fetch, micros_of
from apps.usage.selectors.event_json import Found, bodies
from apps.usage.selectors.hints import Hints
from apps.usage.selectors.match import (
    FEW_EACH,
    Match,
    matches_at,
    matches_in,
    matches_of,
    needed_columns,
    read_columns,
)
from apps.usage.selectors.pick import Moved, pick_events
from apps.usage.selectors.plan import EVENT_FIELDS, EVER, MAX_LISTED, Plan, plan_dimensions, plan_fields
from apps.usage.words import word_numbers

__all__ = ["EVENT_FIELDS", "EventRow", "event_search"]

# Chunks looked at in one query: few at first, since mostly the newest ones have enough.
_FIRST_LOOK, _LONGEST_LOOK = 4, 256
# As long as nobody knows how much there is in each.
_UNKNOWN_LOOK = 16
# Once a page is full hardly any chunk reaches up to its oldest event: as a rule all are seen at once.
_LAST_LOOK = 64
# So many more where hints tell of single events.
_TOLD_LOOK = 16
_TRIES = 5


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
    found = fetch("SELECT id, salt FROM usage_org WHERE org_id = %s", (org_id,), prepare=True)
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
    texts = {(match.chunk_id, place): own for match in matches for place, own in match.texts.items()}
    events: list[tuple[int, bytes, Chunk, int]] = []
    picked = {(match.chunk_id, place): own for match in matches for place, own in match.picked.items()}
    for chunk, places in pick_events(plan.org, wanted, texts, picked, together=True):
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
    # Once there are enough, the oldest of them: only what reaches up to that can have a newer one.
    least = -EVER
    look, looked = _FIRST_LOOK, 0
    needed = needed_columns(plan)
    tested = [name for name in needed if name != "ts"]
    hints = Hints(plan)
    while True:
        # Times and ids are five sixths of what a look reads: where chunks have hardly anything, they are read of that
        # alone.
        narrow = tested if tested and looked and len(times) < FEW_EACH * looked else None
        rows = _look(plan, None if hints.tells else narrow or needed, beyond, look, hints, least)
        is_last, told = len(rows) < look, None
        if hints.tells:
            told = hints.places([row[0] for row in rows])
        if told is not None and least == -EVER:
            enough = _enough(rows, told, limit - len(times) + _FIRST_LOOK)
            is_last, rows = is_last and enough == len(rows), rows[:enough]
        for found in _found(plan, needed, narrow, rows, told):
            matches.append(found)
            times += found.ts.tolist()
        if is_last:
            return matches
        beyond = (rows[-1][3], rows[-1][0])
        if len(times) >= limit:
            times = sorted(times, reverse=True)[:limit]
            least = times[-1]
            if least > micros_of(beyond[0]):
                return matches
        is_first = not looked
        looked += len(rows)
        look = _next_look(look, looked, len(times), limit)
        if is_first:
            # The first blocks tell how much there is.
            hints.know(1)
            if hints.share < 0.5:
                # Of those alone that have something, as all do that hints name; one less, as that may have been luck.
                look = _told_look((len(times) - 1) / max(1, len(matches)), limit - len(times))
                if not matches and not hints.tells:
                    look = min(look, _UNKNOWN_LOOK)
        hints.know(looked + look)
        if hints.tells:
            # Chunks of which nothing is read take next to nothing: more, so that it need not be done again for one.
            look = look + _TOLD_LOOK if len(times) < limit else _LAST_LOOK


def _next_look(last: int, looked: int, found: int, limit: int) -> int:
    """How many chunks to look at next: as many as will do, going by what was found, and at most four times as many."""
    most = min(4 * last, _LONGEST_LOOK)
    if found >= limit:
        return min(most, 2 * last)
    if not found:
        return most
    expected = (limit - found) * looked * 5 // (4 * found) + 1
    return min(most, max(_FIRST_LOOK, expected))


def _told_look(each: float, wanted: int) -> int:
    """How many chunks to look at first once hints say in which there is something: each has one event or more."""
    return min(_LONGEST_LOOK, max(_FIRST_LOOK, int(wanted / max(1.0, each)) + _FIRST_LOOK))


def _enough(rows: Sequence[tuple[Any, ...]], told: Mapping[int, Sequence[int]], wanted: int) -> int:
    """How many of the chunks of a look have so many events, as far as hints tell: one where they do not say which."""
    have = np.cumsum([len(told.get(row[0], (0,))) for row in rows])
    return min(len(rows), int(np.searchsorted(have, wanted)) + 1)


def _found(
    plan: Plan,
    needed: Sequence[str],
    narrow: Sequence[str] | None,
    rows: list[tuple[Any, ...]],
    told: Mapping[int, Sequence[int]] | None,
) -> list[Match]:
    """The matches among the chunks of a look; ``narrow`` are the columns to read first, None where all needed ones.

    Where hints have ``told`` of single events the look has read no columns: these are read, and columns of the others.
    """
    found = []
    if told is not None:
        found = matches_at(plan, [(row[0], row[1], told[row[0]]) for row in rows if row[0] in told])
        rows = _columns(plan, narrow or needed, [row for row in rows if row[0] not in told])
    if not rows:
        return found
    return found + (matches_of(plan, needed, rows) if narrow is None else matches_in(plan, narrow, rows))


def _columns(plan: Plan, names: Sequence[str], rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """These columns of the chunks of a look that read none."""
    if not rows:
        return []
    found = fetch(
        f"{read_columns(plan, names, 'usage_chunk')} WHERE org = %s AND id = ANY(%b) AND drop_on = ANY(%s)",
        (plan.org, Bigints([row[0] for row in rows]), sorted({row[1] for row in rows})),
    )
    if len(found) != len(rows):
        raise Moved
    return found


def _look(
    plan: Plan, names: Sequence[str] | None, beyond: tuple[datetime, int] | None, limit: int, hints: Hints, least: int
) -> list[tuple[Any, ...]]:
    """The next chunks that may have something of the moment ``least`` or later, and these columns of each."""
    conditions, params = ["org = %(org)s"], dict[str, Any](org=plan.org, limit=limit)
    if (start := max(plan.start, least)) > -EVER:
        conditions.append("last_at >= %(start)s")
        params["start"] = at_micros(start)
    if plan.end < EVER:
        conditions.append("first_at < %(end)s")
        params["end"] = at_micros(plan.end)
    lists = []
    for name, values in (("whos", plan.who), ("whats", plan.what)):
        if values is not None and len(values) <= MAX_LISTED:
            lists.append(f"{name} && %({name})s::integer[]")
            params[name] = values.tolist()
    for name, words in plan.words:
        if len(words) <= MAX_LISTED:
            # Not every chunk lists them.
            lists.append(f"(words IS NULL OR words && %({name})s::integer[])")
            params[name] = word_numbers(name, words)
    if beyond is not None:
        conditions.append("last_at <= %(last)s AND (last_at, id) < (%(last)s, %(id)s)")
        params |= {"last": beyond[0], "id": beyond[1]}
    # What hints say goes before the lists: comparing these takes longer than what is looked at for nothing. In a CASE,
    # since in a conjunction the database may well begin with them.
    known = []
    for name, numbers, answer in (("without", hints.without, "false"), ("perhaps", hints.perhaps, "true")):
        if len(numbers) and (lists or name == "without"):
            # As a list of constants it would take longer to plan than to go through.
            known.append(f"WHEN id IN (SELECT unnest(%({name})s)) THEN {answer}")
            params[name] = Bigints(numbers)
    if known:
        listed = f"CASE {' '.join(known)} ELSE {' AND '.join(lists) or 'true'} END"
    else:
        conditions, listed = conditions + lists, "true"
    # Ids are looked up above the partitions, each of which would make a table of them of its own; what is of the time
    # comes in order and stays so, and as far as it is needed. Columns are read of the chosen chunks alone, whether the
    # database sorts or not.
    newest, own = "ORDER BY last_at DESC, id DESC", "id, drop_on, events, last_at, scan, facts, texts"
    of_time = f"SELECT {own}, whos, whats, words FROM usage_chunk WHERE {' AND '.join(conditions)} {newest} OFFSET 0"  # noqa: S608
    chosen = f"SELECT {own} FROM ({of_time}) AS of_time WHERE {listed} LIMIT %(limit)s OFFSET 0"  # noqa: S608
    if names is None:
        return fetch(f"SELECT id, drop_on, events, last_at FROM ({chosen}) AS chosen {newest}", params)  # noqa: S608
    return fetch(f"{read_columns(plan, names, f'({chosen}) AS chosen')} {newest}", params)
