"""Making hints (:mod:`apps.usage.hints`), behind the drain: chunks that will hardly be merged any more get them.

A chunk without a hint is looked into by every search, so nothing waits for this and nothing is lost without it. What a
hint says of a chunk is true while there is that chunk: its events never change but for their costs, and a repricing
takes the chunk out of its block (:func:`apps.usage.chunks.replace_costs`). Ids of chunks are never given again.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
import orjson
from django.db import connection, transaction

from apps.core import clock
from apps.core.memory import give_back
from apps.usage.chunks import CHUNK_FIELDS, Chunk, chunk_of, fetch, lock_costs
from apps.usage.hints import MAX_CHUNKS, BlockMaker
from apps.usage.ingest.what import DETAIL
from apps.usage.selectors.find_ids import COVERED
from apps.usage.store import inbox_state

__all__ = ["drop_hints", "hint_some"]

logger = logging.getLogger(__name__)

# So many chunks without hints are worth a block; fewer, once they have waited for so long.
ENOUGH: Final = 32
WAITED: Final = timedelta(hours=6)
# Chunks that merging takes are left to it for so long.
SETTLED: Final = timedelta(hours=1)
# No more than so many events in a block, which bounds what making it holds in memory.
MAX_EVENTS: Final = 400_000
# Events in the inbox at which the drain has enough to do: then one block, and the rest another time.
BUSY: Final = 20_000
_AT_ONCE = 16
_DETAIL_WORDS: Final = ("error_type", "stop_reason")


@dataclass(frozen=True, slots=True)
class _Part:
    """An organisation's chunks of one day of dropping."""

    org: int
    drop_on: date


def hint_some(*, seconds: float = 10.0, every: bool = False) -> dict[str, int]:
    """Give hints to chunks that have none, for about so long; how many blocks and of how many chunks.

    ``every``: to all of them, however few and young (tests, benchmarks).
    """
    made = {"blocks": 0, "chunks": 0}
    end = time.monotonic() + seconds
    for part in _parts(every=every):
        while chunks := _make_block(part, every=every):
            made["blocks"] += 1
            made["chunks"] += chunks
            if time.monotonic() > end or inbox_state().events > BUSY:
                break
        else:
            continue
        break
    if made["blocks"]:
        give_back()
    return made


def drop_hints() -> int:
    """Forget the hints of days whose chunks are gone; returns how many blocks."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM usage_hint WHERE drop_on <= %s", [clock.now().date()])
        return int(cursor.rowcount)


# What has no hint, and is not about to be merged.
_BARE: Final = """
FROM usage_chunk c LEFT JOIN (SELECT unnest(chunks) AS id FROM usage_hint WHERE {hinted}) h ON h.id = c.id
WHERE h.id IS NULL AND c.drop_on > %(today)s AND (c.events >= 2048 OR c.last_at < %(settled)s OR %(every)s)
"""


def _times(*, every: bool) -> dict[str, Any]:
    moment = clock.now()
    return {
        "today": moment.date(), "settled": moment - SETTLED, "waited": moment - WAITED, "every": every,
        "enough": 1 if every else ENOUGH,
    }  # fmt: skip


def _parts(*, every: bool) -> list[_Part]:
    """Where there is enough without hints, what lacks most first."""
    rows = fetch(
        f"SELECT c.org, c.drop_on {_BARE.format(hinted='true')} GROUP BY c.org, c.drop_on"
        " HAVING count(*) >= %(enough)s OR min(c.last_at) < %(waited)s ORDER BY count(*) DESC",
        _times(every=every),
    )
    return [_Part(*row) for row in rows]


def _make_block(part: _Part, *, every: bool) -> int:
    """Make one block out of chunks without hints, and of blocks that are too small; returns of how many chunks."""
    times = {**_times(every=every), "org": part.org, "drop_on": part.drop_on}
    with transaction.atomic():
        # No costs change meanwhile; what was merged away by then is not found again.
        lock_costs(part.org)
        small = _small_blocks(part)
        bare = fetch(
            f"SELECT c.id, c.events {_BARE.format(hinted='org = %(org)s AND drop_on = %(drop_on)s')}"
            " AND c.org = %(org)s AND c.drop_on = %(drop_on)s ORDER BY c.last_at LIMIT %(limit)s",
            {**times, "limit": MAX_CHUNKS},
        )
        if not bare or (not every and len(bare) < ENOUGH and not _has_waited(part, times)):
            return 0
        absorbed, chosen = _chosen(small, bare)
        made = _write_block(part, chosen)
        if absorbed:
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM usage_hint WHERE id = ANY(%s)", [absorbed])
    return made


def _has_waited(part: _Part, times: dict[str, Any]) -> bool:
    rows = fetch(
        f"SELECT min(c.last_at) < %(waited)s {_BARE.format(hinted='org = %(org)s AND drop_on = %(drop_on)s')}"
        " AND c.org = %(org)s AND c.drop_on = %(drop_on)s",
        times,
    )
    return bool(rows[0][0])


def _small_blocks(part: _Part) -> list[tuple[int, list[int], int]]:
    """Blocks few of whose chunks are left: id, these chunks, and how many events they hold."""
    rows = fetch(
        "SELECT h.id, array_agg(c.id) FILTER (WHERE c.id IS NOT NULL), coalesce(sum(c.events), 0)::bigint"
        " FROM usage_hint h CROSS JOIN unnest(h.chunks) AS u (id)"
        " LEFT JOIN usage_chunk c ON c.id = u.id AND c.org = h.org AND c.drop_on = h.drop_on"
        " WHERE h.org = %s AND h.drop_on = %s GROUP BY h.id HAVING count(c.id) < %s",
        (part.org, part.drop_on, ENOUGH),
    )
    return [(number, chunks or [], events) for number, chunks, events in rows]


def _chosen(
    small: Sequence[tuple[int, list[int], int]], bare: Sequence[tuple[int, int]]
) -> tuple[list[int], list[int]]:
    """The small blocks that the new one takes the place of, and its chunks: at least one that had no hint."""
    absorbed: list[int] = []
    chosen, events = [bare[0][0]], bare[0][1]
    for number, chunks, held in small:
        if len(chosen) + len(chunks) <= MAX_CHUNKS and events + held <= MAX_EVENTS:
            absorbed.append(number)
            chosen += chunks
            events += held
    for chunk, held in bare[1:]:
        if len(chosen) == MAX_CHUNKS or events + held > MAX_EVENTS:
            break
        chosen.append(chunk)
        events += held
    return absorbed, chosen


def _write_block(part: _Part, chosen: list[int]) -> int:
    first_at, last_at = fetch(
        "SELECT min(first_at), max(last_at) FROM usage_chunk WHERE drop_on = %s AND org = %s AND id = ANY(%s)",
        (part.drop_on, part.org, chosen),
    )[0]
    if first_at is None:
        return 0
    # As long as the segments of counted ids know an id, they tell its minute: often longer than the event is kept.
    ids = part.drop_on - first_at.date() > COVERED
    maker, places = BlockMaker(), list[int]()
    for at in range(0, len(chosen), _AT_ONCE):
        rows = fetch(
            f"SELECT {CHUNK_FIELDS} FROM usage_chunk WHERE drop_on = %s AND org = %s AND id = ANY(%s)",  # noqa: S608
            (part.drop_on, part.org, chosen[at : at + _AT_ONCE]),
        )
        for chunk in map(chunk_of, rows):
            maker.add(chunk.columns, _words(chunk), ids=ids)
            places.append(chunk.id)
    if not places:
        return 0
    block = maker.block()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_hint (org, drop_on, first_at, last_at, chunks, has_ids, combos, bits, fence, entries)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [part.org, part.drop_on, first_at, last_at, places, ids, block.combos, block.bits, block.fence,
             block.entries],
        )  # fmt: skip
    return len(places)


def _words(chunk: Chunk) -> set[tuple[str, str]]:
    """The words of its details that are searched by, with their fields."""
    having = (chunk.columns["flags"] & DETAIL) != 0
    if not having.any():
        return set()
    column = chunk.text_columns()[1]
    found: set[tuple[str, str]] = set()
    if column is None:
        return found
    borders, data = column.borders(), bytes(column.data)
    for detail in {data[borders[place] : borders[place + 1]] for place in np.flatnonzero(having).tolist()}:
        if b'"error_type"' in detail or b'"stop_reason"' in detail:
            read = orjson.loads(detail)
            found |= {(field, str(read[field])) for field in _DETAIL_WORDS if read.get(field)}
    return found
