"""Merging: many small chunks of an organisation's raw events become few large ones.

Events that come one by one make a chunk with each flush. Chunks of like size are merged, so that an event is written
again a handful of times, however small the flushes were.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import psycopg
from django.db import connection, transaction

from apps.usage.chunks import CHUNK_FIELDS, MAX_EVENTS, Chunk, chunk_of, fetch
from apps.usage.drain.rows import CHUNK, NewChunk, copied_chunks
from apps.usage.drain.upkeep import LeftOut, is_the_servers
from apps.usage.drain.write import copy_rows
from apps.usage.texts import concatenated

__all__ = ["SMALL", "merge_chunks"]

# Chunks below this are merged (the partial index of the table says the same), once so many of like size lie together.
SMALL = 2048
TINY = 128
TOGETHER = 16
# Events that one transaction writes again: some 50 milliseconds and 6 MB of the log.
BATCH = 1 << 16
# Chunks that one takes at most: those of single events cost by the chunk.
MOST = 500
_EPOCH = date(1970, 1, 1)
_WITH_NEW = "AND (org, drop_on) IN (SELECT org, drop_on FROM usage_chunk WHERE events < 2048 AND id > %(after)s)"


def merge_chunks(
    *,
    limit: int = 20,
    settled: int = 1 << 62,
    after: int = 0,
    stop: Callable[[], bool] = lambda: False,
    left_out: LeftOut[int] | None = None,
) -> int:
    """Merge up to ``limit`` groups of small chunks; returns how many chunks that did away with.

    A group is merged in transactions of some :data:`BATCH` events; after each ``stop`` is asked whether the rest is
    left for another time. A chunk that somebody else has locked is left, too. Chunks younger than ``settled`` are not
    touched: live sockets read each as the drain wrote it. With ``after``, only groups with a chunk younger than that
    are looked at: what was looked at before is many chunks, and only a new one makes a group of them. Chunks that
    cannot be read join ``left_out`` by their ids, which are not looked at; without it the error is raised.
    """
    gone = 0
    for low, high in ((1, TINY), (TINY, SMALL)):
        groups = fetch(
            "SELECT org, drop_on, count(*), sum(events)::bigint FROM usage_chunk WHERE events < 2048"  # noqa: S608
            " AND events >= %(low)s AND events < %(high)s AND id <= %(settled)s AND NOT id = ANY(%(left)s::bigint[])"
            f" {_WITH_NEW if after else ''} GROUP BY org, drop_on HAVING count(*) >= %(together)s"
            " ORDER BY count(*) DESC LIMIT %(limit)s",
            {"low": low, "high": high, "settled": settled, "left": _left(left_out), "after": after,
             "together": TOGETHER, "limit": limit},
        )  # fmt: skip
        for org, drop_on, chunks, events in groups:
            at_once = min(MOST, max(TOGETHER, BATCH * chunks // events))
            for _ in range(-(-chunks // at_once)):
                fewer = _merge_or_leave(_Which(org, drop_on, low, high, settled, at_once), left_out)
                gone += fewer
                if stop():
                    return gone
                if not fewer:
                    break
    return gone


def _left(left_out: LeftOut[int] | None) -> list[int]:
    return left_out.now() if left_out else []


@dataclass(frozen=True, slots=True)
class _Which:
    """Chunks of an organisation and a day of dropping, of so many events, the oldest so many of them."""

    org: int
    drop_on: date
    low: int
    high: int
    settled: int
    at_once: int

    def rows(self, fields: str, left: list[int]) -> list[tuple[Any, ...]]:
        return fetch(
            f"SELECT {fields} FROM usage_chunk WHERE org = %s AND drop_on = %s AND events < 2048"  # noqa: S608
            " AND events >= %s AND events < %s AND id <= %s AND NOT id = ANY(%s::bigint[])"
            " ORDER BY first_at LIMIT %s FOR UPDATE SKIP LOCKED",
            (self.org, self.drop_on, self.low, self.high, self.settled, left, self.at_once),
        )


def _merge_or_leave(which: _Which, left_out: LeftOut[int] | None) -> int:
    try:
        return _merge_group(which, _left(left_out))
    except Exception as error:
        if left_out is None or is_the_servers(error):
            raise
        ids = [row[0] for row in which.rows("id", _left(left_out))]
        known = len(left_out.now())
        left_out.do(ids, _read)
        if len(left_out.now()) == known:
            # Each of them can be read: it is for something else.
            raise
    return _merge_group(which, _left(left_out))


def _read(ids: Sequence[int]) -> None:
    """Read and unpack chunks as merging them does."""
    with transaction.atomic():
        for chunk in map(chunk_of, fetch(f"SELECT {CHUNK_FIELDS} FROM usage_chunk WHERE id = ANY(%s)", (list(ids),))):  # noqa: S608
            _together([chunk], 0)


def _merge_group(which: _Which, left: list[int]) -> int:
    with transaction.atomic():
        merged: list[list[Chunk]] = [[]]
        for chunk in map(chunk_of, which.rows(CHUNK_FIELDS, left)):
            if sum(one.events for one in merged[-1]) + chunk.events > MAX_EVENTS:
                merged.append([])
            merged[-1].append(chunk)
        merged = [group for group in merged if len(group) > 1]
        if not merged:
            return 0
        old = [chunk.id for group in merged for chunk in group]
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM usage_chunk WHERE drop_on = %s AND org = %s AND id = ANY(%s)"
                " RETURNING id, CASE WHEN upto > 0 THEN upto ELSE id END",
                [which.drop_on, which.org, old],
            )
            newest: dict[int, int] = dict(cursor.fetchall())
            if len(newest) != len(old):
                raise RuntimeError("a chunk of raw events was taken away by another process")
            cursor.execute("DELETE FROM usage_unhinted WHERE chunk = ANY(%s)", [old])
        write_chunks([_together(group, max(newest[chunk.id] for chunk in group)) for group in merged])
    return len(old) - len(merged)


def _together(group: list[Chunk], upto: int) -> NewChunk:
    """One chunk of several. Raises ValueError where one of them does not hold as many events as it says."""
    parts = [(chunk.events, chunk.text_columns()) for chunk in group]
    for chunk, (_, texts) in zip(group, parts, strict=True):
        whole = all(len(column) == chunk.events for column in chunk.columns.values()) and all(
            len(column.lengths) == chunk.events and int(column.lengths.sum()) == len(column.data)
            for column in texts
            if column is not None
        )
        if not whole:
            raise ValueError("a chunk of raw events does not hold as many as it says")
    columns = {name: np.concatenate([chunk.columns[name] for chunk in group]) for name in group[0].columns}
    return NewChunk(group[0].org, (group[0].drop_on - _EPOCH).days, columns, concatenated(parts), upto)


def write_chunks(new: list[NewChunk]) -> None:
    """Write chunks in the caller's transaction."""
    with psycopg.Cursor(connection.connection) as cursor:
        copy_rows(cursor, CHUNK.copy_sql, copied_chunks(new))
