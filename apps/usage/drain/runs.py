"""Runs of sorted keys: a flush's segment, or pieces with ranges of their own that merging made of several runs.

Of each page of keys memory holds the first, so that whether a key is in a run takes one page of one piece, however
large the run is. Pieces lie in ``usage_id_segment``, a row each; ``run`` says which of them belong together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import psycopg
from django.db import connection

from apps.usage.drain.keys import KEY, U64

__all__ = ["PAGE", "Asked", "Held", "MissingSegmentError", "Run", "found_in", "insert_segment", "read_parts"]

PAGE = 128  # keys a page: 2,560 bytes, two or three chunks of TOAST
Ints = npt.NDArray[np.int64]


class MissingSegmentError(RuntimeError):
    """A row of keys is gone: merged away meanwhile, dropped with its stripe, or another process has these slots."""


@dataclass(frozen=True, slots=True)
class Held:
    """The keys of a run in memory; ``minute`` where they will be written once more soon."""

    hi: U64
    lo: U64
    minute: npt.NDArray[np.uint32] | None = None


@dataclass(slots=True, eq=False)
class Run:
    """``segments`` are the rows of its pieces, ascending by range; empty until its flush is committed.

    ``fences`` has the first ``hi`` of each page, ``first_pages`` the number of each piece's first page.
    """

    stripe: int
    level: int
    ids: int
    segments: Ints
    fences: U64
    first_pages: Ints
    held: Held | None = None
    # Where another division of the slots wrote it, so that others have it too: the slots it is of, a bit mask.
    slots: int = 0

    @property
    def shared(self) -> bool:
        return self.slots != 0

    @classmethod
    def of_flush(cls, stripe: int, held: Held) -> "Run":
        """What a flush is about to commit."""
        nothing, first = np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.int64)
        return cls(stripe, 0, len(held.hi), nothing, held.hi[::PAGE].copy(), first, held)

    def pages_for(self, hi: U64) -> Ints:
        """Numbers of the pages in which these keys (ascending) would lie, ascending."""
        left = np.searchsorted(self.fences, hi, side="left")
        stop = np.searchsorted(self.fences, hi, side="right")
        # Equal upper halves may straddle a border: from the page before the first that begins so.
        start = np.maximum(left - 1, 0)
        if (stop - start > 1).any():
            spans = [np.arange(a, b) for a, b in zip(start.tolist(), stop.tolist(), strict=True) if b > a]
            return np.unique(np.concatenate(spans)) if spans else np.zeros(0, dtype=np.int64)
        pages = start[stop > start]
        return pages if len(pages) < 2 else pages[np.concatenate(([True], pages[1:] != pages[:-1]))]

    def places_of(self, pages: Ints) -> tuple[Ints, Ints]:
        """The row and the byte offset (from 1) of each page."""
        piece = np.searchsorted(self.first_pages, pages, side="right") - 1
        return self.segments[piece], (pages - self.first_pages[piece]) * (PAGE * KEY.itemsize) + 1

    def parts_between(self, start: int, stop: int | None) -> Iterator[tuple[int, int, int]]:
        """(row, offset, bytes) of all pages in which keys from ``start`` up to, not including, ``stop`` may lie."""
        low = max(0, int(np.searchsorted(self.fences, np.uint64(start), side="left")) - 1)
        high = len(self.fences) if stop is None else int(np.searchsorted(self.fences, np.uint64(stop), side="left"))
        page = KEY.itemsize * PAGE
        piece = int(np.searchsorted(self.first_pages, low, side="right")) - 1
        while low < high:
            last = int(self.first_pages[piece + 1]) if piece + 1 < len(self.first_pages) else len(self.fences)
            upto = min(high, last)
            if upto > low:
                yield int(self.segments[piece]), (low - int(self.first_pages[piece])) * page + 1, (upto - low) * page
            low, piece = upto, piece + 1


@dataclass(slots=True)
class Asked:
    """Keys (their positions in a flush) whose pages of a run are to be read."""

    run: Run
    positions: Ints
    pages: Ints


def found_in(held_hi: U64, held_lo: U64, hi: U64, lo: U64) -> npt.NDArray[np.bool_]:
    """Which keys are among some that are sorted by ``hi``."""
    if not len(held_hi):
        return np.zeros(len(hi), dtype=bool)
    place = np.searchsorted(held_hi, hi, side="left")
    inside = np.minimum(place, len(held_hi) - 1)
    same_hi = held_hi[inside] == hi
    found: npt.NDArray[np.bool_] = same_hi & (held_lo[inside] == lo)
    for position in np.flatnonzero(same_hi & ~found).tolist():
        last = int(np.searchsorted(held_hi, hi[position], side="right"))
        found[position] = bool((held_lo[int(place[position]) : last] == lo[position]).any())
    return found


def read_parts(parts: Sequence[tuple[int, int, int]]) -> list[bytes]:
    """Parts of rows, each (row, offset from 1, bytes), all in one query; raises MissingSegmentError."""
    if not parts:
        return []
    connection.ensure_connection()
    with psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(
            "SELECT a.n, substring(s.keys FROM a.start FOR a.size) FROM unnest(%b::bigint[], %b::integer[],"
            " %b::integer[]) WITH ORDINALITY AS a (id, start, size, n) JOIN usage_id_segment s ON s.id = a.id",
            tuple(list(column) for column in zip(*parts, strict=True)),
            binary=True,
        )
        rows = cursor.fetchall()
    if len(rows) != len(parts):
        raise MissingSegmentError(
            f"{len(parts) - len(rows)} of {len(parts)} segments of counted ids are missing:"
            " another process works on this shard's slots"
        )
    found: list[bytes] = [b""] * len(parts)
    for number, data in rows:
        found[number - 1] = data
    return found


def insert_segment(mask: int, stripe: int, level: int, keys: npt.NDArray[np.void], *, run: int | None = None) -> int:
    """Write sorted keys (at least one) as a row in the caller's transaction; returns its id.

    ``run`` is the number of the run it is a piece of; None where it is one by itself.
    """
    first, last = (int(keys["hi"][place]) - (1 << 63) for place in (0, -1))
    with psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(
            "INSERT INTO usage_id_segment (slots, stripe, level, ids, run, first_key, last_key, keys)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %b) RETURNING id",
            (mask, stripe, level, len(keys), run, first, last, keys.tobytes()),
        )
        row = cursor.fetchone()
        assert row is not None
        return int(row[0])
