"""New events of an organisation in the order in which they were counted; what :mod:`apps.usage.live` shows.

One writer at a time counts an organisation's events, so its chunks are committed in the order of their ids. A place in
that order is the id of the last chunk that was read. Merged chunks hold nothing new: they say by ``upto`` up to where
they go, which is how one notices that chunks were merged before they were read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np

from apps.usage.chunks import fetch
from apps.usage.selectors.event_json import Found, bodies
from apps.usage.selectors.match import matches_of, needed_columns, read_columns
from apps.usage.selectors.pick import Moved, pick_events
from apps.usage.selectors.plan import EVER, Plan, plan_dimensions, plan_fields

__all__ = ["MAX_CHUNKS", "Tail", "tail_end", "tail_read"]

# Chunks looked at in one reading; what is beyond is read next.
MAX_CHUNKS = 500
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Tail:
    """What came since a place: ``place`` is where to go on, ``bodies`` the newest events as JSON, oldest first.

    ``left_out`` counts the events that matched and were more than asked for. ``is_gap`` says that events in between
    were merged before they were read: they are not among these and can be searched for. ``is_more`` says that there is
    more to read at once.
    """

    place: int
    bodies: list[dict[str, Any]]
    left_out: int = 0
    is_gap: bool = False
    is_more: bool = False


def tail_end(org_id: UUID) -> int:
    """The place behind everything that was counted so far."""
    # Of merged chunks ``upto`` counts, which is less than their id: behind the newest other one, only they matter.
    rows = fetch(
        "WITH o AS MATERIALIZED (SELECT id FROM usage_org WHERE org_id = %s), newest AS MATERIALIZED (SELECT coalesce("
        "(SELECT id FROM usage_chunk WHERE org = (SELECT id FROM o) AND upto <= 0 ORDER BY id DESC LIMIT 1), 0) AS id)"
        " SELECT greatest((SELECT id FROM newest), (SELECT max(upto) FROM usage_chunk"
        " WHERE org = (SELECT id FROM o) AND id > (SELECT id FROM newest)))::bigint",
        (org_id,),
    )
    return int(rows[0][0])


def tail_read(*, org_id: UUID, filters: Mapping[str, Sequence[str]], place: int, most: int) -> Tail:
    """What was counted behind ``place`` and matches ``filters`` (those of a search of events): the newest ``most``.

    Events that are past the organisation's retention when they come are counted and not kept, so not among these.
    """
    for attempt in range(_TRIES):
        try:
            return _read(org_id, filters, place, most)
        except Moved:
            if attempt == _TRIES - 1:
                raise
    raise AssertionError


def _read(org_id: UUID, filters: Mapping[str, Sequence[str]], place: int, most: int) -> Tail:
    found = fetch("SELECT id, salt FROM usage_org WHERE org_id = %s", (org_id,))
    if not found:
        return Tail(place, [])
    org, salt = int(found[0][0]), bytes(found[0][1])
    # Merged chunks are no news, and their ids no places: what is being counted may yet have a smaller one.
    rows = fetch(
        "SELECT id, upto, drop_on, events FROM usage_chunk WHERE org = %(org)s AND id > %(place)s"
        " AND (upto = 0 OR upto > %(place)s) ORDER BY id LIMIT %(limit)s",
        {"org": org, "place": place, "limit": MAX_CHUNKS},
    )
    new = [row for row in rows if row[1] == 0]
    merged = max((row[1] for row in rows), default=0)
    chosen, matched = _chosen(org, org_id, salt, filters, new, most) if new else ({}, 0)
    shown = _shown(org, org_id, chosen)
    at = max(place, merged, new[-1][0] if new else 0)
    return Tail(at, shown, matched - len(shown), merged > place, len(rows) == MAX_CHUNKS)


# A chunk's day of dropping, and the places of events in it.
_Chosen = dict[int, tuple[Any, Any]]


def _chosen(
    org: int, org_id: UUID, salt: bytes, filters: Mapping[str, Sequence[str]], new: list[tuple[Any, ...]], most: int
) -> tuple[_Chosen, int]:
    """Of the newest chunks, the events that match: the last ``most`` of them, and how many there are in all."""
    chosen: _Chosen = {}
    matched = 0
    for number, drop_on, events, places in reversed(_matches(org, org_id, salt, filters, new)):
        count = events if places is None else len(places)
        room = most - matched
        matched += count
        if room > 0 and count:
            kept = np.arange(events) if places is None else places
            # Where clients send out of order these are not the newest ones of the chunk: any will do.
            chosen[number] = (drop_on, kept[-room:])
    return chosen, matched


def _matches(
    org: int, org_id: UUID, salt: bytes, filters: Mapping[str, Sequence[str]], new: list[tuple[Any, ...]]
) -> list[tuple[int, Any, int, Any]]:
    """(chunk, day of dropping, events, places that match) in order; the places are None where all do."""
    if not filters:
        return [(number, drop_on, events, None) for number, _, drop_on, events in new]
    # Planned after the chunks are known: whom and what they name is interned by then.
    plan = Plan(org, -EVER, EVER)
    plan_dimensions(plan, filters)
    plan_fields(plan, filters, org_id, salt)
    plan.start, plan.end = -EVER, EVER
    if plan.never:
        return []
    needed = needed_columns(plan)
    rows = fetch(
        f"{read_columns(plan, needed, 'usage_chunk')}"
        " WHERE org = %s AND id = ANY(%s) AND drop_on = ANY(%s) ORDER BY id",
        (org, [row[0] for row in new], sorted({row[2] for row in new})),
    )
    if len(rows) != len(new):
        raise Moved
    held = {row[0]: row[2] for row in rows}
    return [
        (found.chunk_id, found.drop_on, held[found.chunk_id], found.places) for found in matches_of(plan, needed, rows)
    ]


def _shown(org: int, org_id: UUID, chosen: _Chosen) -> list[dict[str, Any]]:
    if not chosen:
        return []
    found: list[Found] = []
    for chunk, places in sorted(pick_events(org, chosen), key=lambda one: one[0].id):
        order = np.argsort(chunk.columns["ts"][places], kind="stable")
        found += [Found(chunk, int(place)) for place in places[order]]
    return [body for _, _, body in bodies(found, org, org_id)]
