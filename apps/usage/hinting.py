"""Making hints (:mod:`apps.usage.hints`), behind the drain: chunks that will hardly be merged any more get them.

A chunk without a hint is looked into by every search, so nothing waits for this and nothing is lost without it. What a
hint says of a chunk is true while there is that chunk: its events never change but for their costs, and a repricing
takes the chunk out of its block (:func:`apps.usage.chunks.replace_costs`). Ids of chunks are never given again.

Each look notices the chunks that are new since the last one, by their ids, and writes down those without hints
(``usage_unhinted``): what is kept already is not looked through again.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from django.db import connection, transaction

from apps.core import clock
from apps.core.memory import give_back
from apps.usage.chunks import CHUNK_FIELDS, Chunk, chunk_of, fetch, lock_costs, newest_chunk
from apps.usage.hints import FORMAT, MAX_CHUNKS, BlockMaker, error_code
from apps.usage.ingest.what import DETAIL
from apps.usage.selectors.find_ids import COVERED
from apps.usage.store import inbox_state
from apps.usage.words import words_of

__all__ = ["drop_hints", "hint_some"]

logger = logging.getLogger(__name__)

# So many chunks without hints are worth a block; fewer, once they have waited for so long.
ENOUGH: Final = 32
WAITED: Final = timedelta(hours=6)
# As many are, once nothing of the part was noticed for so long: two looks of the job.
SOME: Final = 4
QUIET: Final = timedelta(seconds=40)
# Chunks that merging takes are left to it for so long after they were noticed, whenever their events were.
SETTLED: Final = timedelta(hours=1)
# No more than so many events in a block, which bounds what making it holds in memory.
MAX_EVENTS: Final = 400_000
# Events in the inbox at which the drain has enough to do: then one block, and the rest another time.
BUSY: Final = 20_000
_AT_ONCE = 16
# A block is chosen among so many chunks of a part, those noticed first: a look at all of them for each block would take
# a part that has very many (an import, a restored database) time with the square of their number.
_WINDOW: Final = 8 * MAX_CHUNKS


@dataclass(frozen=True, slots=True)
class _Part:
    """An organisation's chunks of one day of dropping."""

    org: int
    drop_on: date
    # Nothing came lately.
    is_quiet: bool


def hint_some(*, seconds: float = 10.0, every: bool = False) -> dict[str, int]:
    """Give hints to chunks that have none, for about so long; how many blocks and of how many chunks.

    ``every``: to all of them, however few and young (tests, benchmarks).
    """
    made = {"blocks": 0, "chunks": 0}
    end = time.monotonic() + seconds
    _notice(every=every)
    for part in _parts(every=every):
        first = True
        while chunks := _make_block(part, every=every, absorb=first):
            first = False
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
        cursor.execute("DELETE FROM usage_unhinted WHERE drop_on <= %s", [clock.now().date()])
        cursor.execute("DELETE FROM usage_hint WHERE drop_on <= %s", [clock.now().date()])
        return int(cursor.rowcount)


# ---------------------------------------------------------------------------------------------- noticing
# Whether every transaction that had an id of the last look has ended, and whether that look was in this database.
_MARK: Final = """
SELECT upto, given, horizon <= pg_snapshot_xmax(pg_current_snapshot())
    AND NOT EXISTS (SELECT 1 FROM pg_snapshot_xip(pg_current_snapshot()) AS going (xid) WHERE going.xid < horizon)
FROM usage_hint_mark FOR UPDATE SKIP LOCKED
"""
_NOTICE: Final = """
INSERT INTO usage_unhinted (chunk, org, drop_on, events, since)
SELECT c.id, c.org, c.drop_on, c.events, %(now)s FROM usage_chunk c
WHERE c.id > %(upto)s AND c.id <= %(given)s AND c.drop_on > %(today)s AND {bare}
ON CONFLICT DO NOTHING
"""
_NOT_HINTED: Final = "NOT EXISTS (SELECT 1 FROM (SELECT unnest(chunks) AS id FROM usage_hint) h WHERE h.id = c.id)"


def _notice(*, every: bool) -> None:
    """Write down the chunks that are new since the last look.

    Ids are given before they are committed, so a look goes up to what was given by the time of the one before, once
    all transactions of that time have ended. ``every``: up to now as well; the next look does so again.
    """
    with transaction.atomic():
        marks = fetch(_MARK, None)
        if not marks:
            return
        upto, given, is_whole = marks[0]
        # The order matters: whoever was given an id up to the newest is older than the horizon.
        newest = newest_chunk()
        last = newest if every else given
        if last > upto and (is_whole or every):
            moment = clock.now()
            # The first look is at everything; others at what cannot have hints yet.
            bare = _NOT_HINTED if every or not upto else "true"
            with connection.cursor() as cursor:
                cursor.execute(
                    _NOTICE.format(bare=bare), {"now": moment, "today": moment.date(), "upto": upto, "given": last}
                )
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE usage_hint_mark SET upto = %s, given = %s,"
                " horizon = CASE WHEN %s OR horizon > pg_snapshot_xmax(pg_current_snapshot())"
                " THEN pg_snapshot_xmax(pg_current_snapshot()) ELSE horizon END",
                [given if is_whole else upto, newest if is_whole else given, is_whole],
            )


# ---------------------------------------------------------------------------------------------- blocks
# What is not about to be merged. A chunk that was merged all the same is found out when its turn has come.
_SETTLED: Final = "(u.events >= 2048 OR u.since < %(settled)s OR %(every)s)"


def _times(*, every: bool) -> dict[str, Any]:
    moment = clock.now()
    return {
        "settled": moment - SETTLED, "waited": moment - WAITED, "quiet": moment - QUIET, "some": SOME, "every": every,
        "enough": 1 if every else ENOUGH,
    }  # fmt: skip


def _parts(*, every: bool) -> list[_Part]:
    """Where there is enough without hints, what lacks most first."""
    rows = fetch(
        "SELECT u.org, u.drop_on, max(u.since) < %(quiet)s FROM usage_unhinted u GROUP BY u.org, u.drop_on"  # noqa: S608
        f" HAVING count(*) FILTER (WHERE {_SETTLED}) >= %(enough)s"
        f" OR min(u.since) FILTER (WHERE {_SETTLED}) < %(waited)s"
        " OR (count(*) >= %(some)s AND max(u.since) < %(quiet)s) ORDER BY count(*) DESC",
        _times(every=every),
    )
    return [_Part(*row) for row in rows]


def _make_block(part: _Part, *, every: bool, absorb: bool = True) -> int:
    """Make one block out of chunks without hints, and of blocks that are too small; returns of how many chunks.

    Whether there are such blocks is a look at all chunks of the part: ``absorb`` once a time, not for each block.
    """
    with transaction.atomic():
        # No costs change meanwhile; what was merged away by then is not found again.
        lock_costs(part.org)
        bare, has_waited = _bare(part, every=every)
        if not bare or (not every and len(bare) < (SOME if part.is_quiet else ENOUGH) and not has_waited):
            return 0
        absorbed, chosen = _chosen(_small_blocks(part) if absorb else [], bare)
        made = _write_block(part, chosen)
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM usage_unhinted WHERE chunk = ANY(%s)", [chosen])
            if absorbed:
                cursor.execute("DELETE FROM usage_hint WHERE id = ANY(%s)", [absorbed])
    return made


def _bare(part: _Part, *, every: bool) -> tuple[list[tuple[int, int]], bool]:
    """The oldest chunks without hints (id, events), as many as a block has; and whether one waited for long."""
    # Merging has had its time where all is quiet.
    params = {
        **_times(every=every or part.is_quiet), "org": part.org, "drop_on": part.drop_on, "limit": MAX_CHUNKS,
        "window": _WINDOW,
    }  # fmt: skip
    first = (
        "(SELECT u.chunk, u.events, u.since FROM usage_unhinted u WHERE u.org = %(org)s"  # noqa: S608
        f" AND u.drop_on = %(drop_on)s AND {_SETTLED} ORDER BY u.chunk LIMIT %(window)s)"
    )
    mine = "c.id = w.chunk AND c.org = %(org)s AND c.drop_on = %(drop_on)s"
    with connection.cursor() as cursor:
        gone = _WINDOW
        while gone == _WINDOW:
            cursor.execute(
                f"DELETE FROM usage_unhinted d USING {first} w WHERE d.chunk = w.chunk"  # noqa: S608
                f" AND NOT EXISTS (SELECT 1 FROM usage_chunk c WHERE {mine})",
                params,
            )
            gone = cursor.rowcount
    rows = fetch(
        f"SELECT w.chunk, w.events, min(w.since) OVER () < %(waited)s FROM {first} w"  # noqa: S608
        f" JOIN usage_chunk c ON {mine} ORDER BY c.last_at LIMIT %(limit)s",
        params,
    )
    return [row[:2] for row in rows], bool(rows and rows[0][2])


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
            maker.add(chunk.columns, *_words(chunk), ids=ids)
            places.append(chunk.id)
    if not places:
        return 0
    block = maker.block()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_hint (org, drop_on, first_at, last_at, chunks, has_ids, combos, bits, fence, entries,"
            " who_fence, who_entries, format) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [part.org, part.drop_on, first_at, last_at, places, ids, block.combos, block.bits, block.fence,
             block.entries, block.who_fence, block.who_entries, FORMAT],
        )  # fmt: skip
    return len(places)


def _words(chunk: Chunk) -> tuple[set[tuple[str, str]], npt.NDArray[np.uint16]]:
    """The words of its details that are searched by, with their fields, and each event's code of its error type."""
    found: set[tuple[str, str]] = set()
    errors = np.zeros(chunk.events, dtype=np.uint16)
    having = np.flatnonzero((chunk.columns["flags"] & DETAIL) != 0)
    column = chunk.text_columns()[1] if len(having) else None
    if column is None:
        return found, errors
    borders, data = column.borders(), bytes(column.data)
    codes: dict[bytes, int] = {}
    for place in having.tolist():
        detail = data[borders[place] : borders[place + 1]]
        code = codes.get(detail)
        if code is None:
            words = words_of(detail)
            found |= set(words.items())
            code = codes[detail] = error_code(words.get("error_type", ""))
        errors[place] = code
    return found, errors
