"""A session from its beginning on: the raw events that are kept of it, oldest first.

Chunks are looked at by their first event on, two columns of each, until what is left begins later than the page ends.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from apps.core.database import one_snapshot
from apps.usage.chunks import fetch, micros_of, scan_slice
from apps.usage.drain.keys import session_number
from apps.usage.selectors.event_json import Found, bodies
from apps.usage.selectors.pick import Moved, pick_events
from apps.usage.selectors.raw import EventRow

__all__ = ["kind_of", "session_events"]

Ints = npt.NDArray[np.int64]
_LOOK = 64
_TRIES = 5


@dataclass(frozen=True, slots=True)
class _Part:
    """A chunk's events of the session: their places and moments."""

    chunk: int
    drop_on: Any
    places: Any
    ts: Any


def session_events(
    *, org_id: UUID, session_id: str, start: datetime, end: datetime, limit: int,
    after: tuple[datetime, UUID] | None = None, projects: Collection[str] | None = None,
) -> list[EventRow]:  # fmt: skip
    """Up to ``limit`` events of a session that lies in ``[start, end]``, oldest first, from behind ``after`` on.

    ``projects``: as if there were only these. A sender may use one id in two. All of it is read of one snapshot.
    """
    with one_snapshot():
        return _session_events(org_id, session_id, (start, end), limit, after, projects)


def _session_events(
    org_id: UUID, session_id: str, time: tuple[datetime, datetime], limit: int, after: tuple[datetime, UUID] | None,
    projects: Collection[str] | None,
) -> list[EventRow]:  # fmt: skip
    start, end = time
    rows = fetch("SELECT id, salt FROM usage_org WHERE org_id = %s", (org_id,))
    if not rows:
        return []
    org, number = int(rows[0][0]), session_number(bytes(rows[0][1]), session_id)
    begin = after[0] if after is not None else start
    whos = None if projects is None else _whos_of(org, projects)
    for attempt in range(_TRIES):
        try:
            parts = _parts(org, number, begin, end, limit + 1, whos)
            return _rows(org, org_id, parts, limit, after)
        except Moved:
            if attempt == _TRIES - 1:
                raise
    return []


def _whos_of(org: int, projects: Collection[str]) -> Ints:
    rows = fetch("SELECT id FROM usage_who WHERE org = %s AND project_id = ANY(%s::uuid[])", (org, list(projects)))
    return np.array([number for (number,) in rows], dtype=np.int64)


def _parts(org: int, session: int, begin: datetime, end: datetime, needed: int, whos: Ints | None) -> list[_Part]:
    """Enough of the session from ``begin`` on to hold its first ``needed`` events behind those at that very moment."""
    chunks = fetch(
        "SELECT id, drop_on, first_at FROM usage_chunk WHERE org = %s AND last_at >= %s AND first_at <= %s"
        " ORDER BY first_at, id",
        (org, begin, end),
    )
    low = micros_of(begin)
    parts: list[_Part] = []
    later: list[int] = []
    for at in range(0, len(chunks), _LOOK):
        look = chunks[at : at + _LOOK]
        if len(later) >= needed:
            later = sorted(later)[:needed]
            if later[-1] < micros_of(look[0][2]):
                break
        for part in _look(org, session, low, look, whos):
            parts.append(part)
            later += part.ts[part.ts > low].tolist()
    return parts


def _look(org: int, session: int, low: int, chunks: list[tuple[Any, ...]], whos: Ints | None) -> list[_Part]:
    who_bytes = "NULL" if whos is None else scan_slice("who")
    rows = fetch(
        f"SELECT id, drop_on, {scan_slice('ts')}, {scan_slice('session')}, {who_bytes} FROM usage_chunk"  # noqa: S608
        " WHERE org = %s AND id = ANY(%s) AND drop_on = ANY(%s)",
        (org, [row[0] for row in chunks], sorted({row[1] for row in chunks})),
    )
    if len(rows) != len(chunks):
        raise Moved
    found = []
    for number, drop_on, ts_bytes, session_bytes, whos_bytes in rows:
        ts = np.frombuffer(ts_bytes, dtype="<i8")
        mine = (np.frombuffer(session_bytes, dtype="<i8") == session) & (ts >= low)
        if whos is not None:
            mine &= np.isin(np.frombuffer(whos_bytes, dtype="<i4"), whos)
        places = np.flatnonzero(mine)
        if len(places):
            found.append(_Part(number, drop_on, places, ts[places]))
    return found


def _rows(
    org: int, org_id: UUID, parts: list[_Part], limit: int, after: tuple[datetime, UUID] | None
) -> list[EventRow]:
    if not parts:
        return []
    every = np.sort(np.concatenate([part.ts for part in parts]))
    # Of equal moments the ids decide, which are not read yet: all of the page's last moment, and of where it begins.
    skip = int((every == micros_of(after[0])).sum()) if after is not None else 0
    last = int(every[min(len(every), limit + skip) - 1])
    wanted = {part.chunk: (part.drop_on, part.places[part.ts <= last]) for part in parts if (part.ts <= last).any()}
    events: list[tuple[tuple[int, bytes], Found]] = []
    for chunk, places in pick_events(org, wanted):
        ts, ids = chunk.columns["ts"], chunk.columns["id"]
        events += [((int(ts[i]), ids[i].tobytes()), Found(chunk, i)) for i in places.tolist()]
    events.sort(key=lambda event: event[0])
    if after is not None:
        behind = (micros_of(after[0]), after[1].bytes)
        events = [event for event in events if event[0] > behind]
    chosen = [found for _, found in events[:limit]]
    return [EventRow(at, event_id, body) for at, event_id, body in bodies(chosen, org, org_id)]


def kind_of(body: Mapping[str, Any]) -> str:
    """What an event is in a timeline."""
    return {"api_call": "call", "mcp_tool": "tool"}.get(body["event_type"], "other")
