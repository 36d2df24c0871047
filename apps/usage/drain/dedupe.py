"""Counted once: exact, for 8 days, whatever the timestamp.

Each flush commits its keys, sorted, as one segment in the transaction that counts its events. Segments of a stripe are
merged in the background. The filter names suspects; they are looked up in the keys that memory holds and, failing
that, in a page of each segment of the suspected stripes. After a restart the filter is read back from the segments.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import psycopg
from django.db import connection, transaction

from apps.usage.drain.filter import STRIPES, StripedFilter
from apps.usage.drain.keys import KEY, U64

__all__ = ["DedupeIndex", "NewKeys"]

PAGE = 256  # keys a page; the first of each page is held in memory
MERGE_SEGMENTS = 16
MAX_SEGMENT_IDS = 2_000_000
MAX_LEVEL = 2
_GROW_STEP = 50_000  # keys said to a new filter at once: some 10 ms


@dataclass(slots=True, eq=False)
class _Run:
    """Sorted keys: a committed segment (``id``), or what a flush is about to commit (None).

    ``hi`` and ``lo`` are None where only the database holds the keys; ``fence`` is then the first ``hi`` of each page.
    """

    stripe: int
    ids: int
    id: int | None
    level: int
    hi: U64 | None
    lo: U64 | None
    fence: U64 | None = None
    # Another division of the slots wrote it: others hold it too, so it stays as it is until its time is over.
    shared: bool = False


@dataclass(frozen=True, slots=True)
class NewKeys:
    """The keys a flush has to commit as a segment; ``run`` is what to hand to :meth:`DedupeIndex.committed`."""

    stripe: int
    keys: npt.NDArray[np.void]
    run: _Run


class DedupeIndex:
    """The ids that the slots of one shard have counted."""

    def __init__(self, slots: Iterable[int], *, filter_bytes: int, cache_ids: int) -> None:
        self.mask = sum(1 << slot for slot in slots)
        self.filter = StripedFilter(max_bytes=filter_bytes)
        self._cache_ids = cache_ids
        self._runs: list[_Run] = []
        self._lock = threading.Lock()
        # The filter that is being filled to take the place of ``filter``; held while either thread writes to it.
        self._next: StripedFilter | None = None
        self._next_lock = threading.Lock()
        self._stripe: int | None = None
        self.false_positives = 0

    # ------------------------------------------------------------------ start
    def load(self, stripe: int) -> int:
        """Read what was counted in the last eight stripes; returns how many ids."""
        self._stripe = stripe
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id, stripe, level, ids, slots FROM usage_id_segment"
                " WHERE stripe > %s AND slots & %s <> 0 ORDER BY id",
                [stripe - STRIPES, self.mask],
            )
            segments = cursor.fetchall()
        sizes: dict[int, int] = {}
        for _, segment_stripe, _, ids, _ in segments:
            sizes[segment_stripe] = sizes.get(segment_stripe, 0) + ids
        size = self.filter.wanted(max(sizes.values(), default=0))
        if size is not None:
            self.filter = self.filter.roomier(size)
        cached = 0
        for segment_id, segment_stripe, level, ids, slots in reversed(segments):
            keys = _read_keys([segment_id])
            run = _run_of(segment_id, segment_stripe, level, keys)
            run.shared = slots != self.mask
            self.filter.add(segment_stripe, keys["hi"].copy(), keys["lo"].copy())
            cached += ids
            if cached > self._cache_ids:
                run.hi = run.lo = None
            self._runs.append(run)
        return sum(sizes.values())

    # ------------------------------------------------------------------ a flush
    def take(
        self, hi: U64, lo: U64, minute: npt.NDArray[np.uint32], stripe: int
    ) -> tuple[npt.NDArray[np.bool_], NewKeys]:
        """Which keys are new (the first of equal ones), and these as what the flush must commit.

        They count as seen from now on, before their commit: a flush that fails must end the process.
        """
        self._turn(stripe)
        stripe = self._stripe or stripe
        order = np.argsort(hi)
        fresh = np.ones(len(hi), dtype=bool)
        self._mark_repeats(hi, lo, order, fresh)
        positions, columns = self.filter.suspects(hi, lo)
        if len(positions):
            seen = self._lookup(hi[positions], lo[positions], columns)
            fresh[positions[seen]] = False
        kept = order[fresh[order]]
        keys = np.empty(len(kept), dtype=KEY)
        keys["hi"], keys["lo"], keys["minute"] = hi[kept], lo[kept], minute[kept]
        run = _Run(stripe, len(kept), None, 0, hi[kept], lo[kept])
        with self._lock:
            # At one moment: a filter that is being filled has this run in its list or is told of it here.
            self._runs.insert(0, run)
            current, coming = self.filter, self._next
        current.add(stripe, hi[kept], lo[kept])
        if coming is not None:
            with self._next_lock:
                coming.add(stripe, hi[kept], lo[kept])
        return fresh, NewKeys(stripe, keys, run)

    def committed(self, new: NewKeys, segment_id: int) -> None:
        """The flush is committed, its keys as this segment."""
        with self._lock:
            new.run.id = segment_id

    def _turn(self, stripe: int) -> None:
        """Begin a stripe: its column of the filter is that of the one eight stripes ago."""
        assert self._stripe is not None, "load() comes first"
        for begun in range(self._stripe + 1, min(stripe, self._stripe + STRIPES) + 1):
            self.filter.clear(begun)
            with self._next_lock:
                if self._next is not None:
                    self._next.clear(begun)
                self._stripe = begun
        if stripe > self._stripe:
            with self._next_lock:
                self._stripe = stripe
        with self._lock:
            if any(run.stripe <= stripe - STRIPES for run in self._runs):
                self._runs = [run for run in self._runs if run.stripe > stripe - STRIPES]

    @staticmethod
    def _mark_repeats(hi: U64, lo: U64, order: npt.NDArray[np.int64], fresh: npt.NDArray[np.bool_]) -> None:
        """Within the flush, all but the first of equal keys are not fresh."""
        sorted_hi = hi[order]
        if not (sorted_hi[1:] == sorted_hi[:-1]).any():
            return
        twins = np.zeros(len(hi), dtype=bool)
        equal = np.flatnonzero(sorted_hi[1:] == sorted_hi[:-1])
        twins[equal] = twins[equal + 1] = True
        seen: set[tuple[int, int]] = set()
        for position in sorted(order[twins].tolist()):
            key = (int(hi[position]), int(lo[position]))
            if key in seen:
                fresh[position] = False
            seen.add(key)

    # ------------------------------------------------------------------ looking up
    def _lookup(self, hi: U64, lo: U64, columns: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which of the suspected keys were counted before."""
        for _ in range(5):
            with self._lock:
                runs = list(self._runs)
            seen = np.zeros(len(hi), dtype=bool)
            elsewhere = []
            for run in runs:
                suspected = np.flatnonzero(~seen & columns[:, run.stripe % STRIPES])
                held_hi, held_lo = run.hi, run.lo
                if held_hi is None or held_lo is None:
                    elsewhere.append(run)
                elif len(suspected):
                    seen[suspected] = _found(held_hi, held_lo, hi[suspected], lo[suspected])
            if self._lookup_pages(elsewhere, hi, lo, columns, seen):
                self.false_positives += int((~seen).sum())
                return seen
            # The merging thread replaced a segment meanwhile: look at the new ones.
        raise RuntimeError("segments of counted ids are missing: another process works on this shard's slots")

    @staticmethod
    def _lookup_pages(
        runs: list[_Run], hi: U64, lo: U64, columns: npt.NDArray[np.bool_], seen: npt.NDArray[np.bool_]
    ) -> bool:
        """Read the page of each segment in which a key would lie, all in one query; False where one is gone."""
        ids: list[int] = []
        offsets: list[int] = []
        asked: list[int] = []
        for run in runs:
            assert run.fence is not None
            for position in np.flatnonzero(~seen & columns[:, run.stripe % STRIPES]).tolist():
                # Equal upper halves could straddle a border: the page before and the one after it are both read.
                page = int(np.searchsorted(run.fence, hi[position], side="left")) - 1
                ids.append(run.id or 0)
                offsets.append(max(page, 0) * PAGE * KEY.itemsize + 1)
                asked.append(position)
        if not ids:
            return True
        with psycopg.Cursor(connection.connection) as cursor:
            cursor.execute(
                "SELECT a.n, substring(s.keys FROM a.start FOR %s) FROM unnest(%b::bigint[], %b::integer[])"
                " WITH ORDINALITY AS a (id, start, n) JOIN usage_id_segment s ON s.id = a.id",
                (2 * PAGE * KEY.itemsize, ids, offsets),
                binary=True,
            )
            rows = cursor.fetchall()
        for number, data in rows:
            position = asked[number - 1]
            keys = np.frombuffer(data, dtype=KEY)
            seen[position] |= bool(((keys["hi"] == hi[position]) & (keys["lo"] == lo[position])).any())
        return len(rows) == len(ids)

    # ------------------------------------------------------------------ growing and merging, in a thread of its own
    def grow_some(self) -> int:
        """Fill a roomier filter where this one is nearly full; returns the new one's bytes, else 0.

        Meanwhile flushes go on with the old one and say their keys to both.
        """
        size = self.filter.wanted()
        if size is None:
            return 0
        coming = self.filter.roomier(size)
        with self._lock:
            runs = list(self._runs)
            self._next = coming
        for run in runs:
            hi, lo = run.hi, run.lo
            if hi is None or lo is None:
                keys = _read_keys([run.id or 0])
                hi, lo = keys["hi"].copy(), keys["lo"].copy()
            for at in range(0, len(hi), _GROW_STEP):
                with self._next_lock:
                    # A stripe may end while this goes on: its column is another's then.
                    if self._stripe is None or run.stripe > self._stripe - STRIPES:
                        coming.add(run.stripe, hi[at : at + _GROW_STEP], lo[at : at + _GROW_STEP])
        with self._lock:
            self.filter, self._next = coming, None
        return coming.bytes

    def merge_some(self) -> int:
        """Merge one group of segments of a stripe and level, if there is one; returns how many ids it held."""
        with self._lock:
            group = self._group()
        if len(group) < 2:
            return 0
        ids = [run.id for run in group if run.id is not None]
        keys = _read_keys(ids)
        keys = keys[np.argsort(keys["hi"], kind="stable")]
        level = min(group[0].level + 1, MAX_LEVEL)
        with transaction.atomic():
            segment_id = insert_segment(self.mask, group[0].stripe, level, keys)
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM usage_id_segment WHERE id = ANY(%s)", [ids])
                if cursor.rowcount != len(ids):
                    raise RuntimeError("a segment of counted ids was taken away by another process")
        merged = _run_of(segment_id, group[0].stripe, level, keys)
        gone = {id(run) for run in group}
        with self._lock:
            self._runs = [merged, *(run for run in self._runs if id(run) not in gone)]
            self._trim()
        return len(keys)

    def _group(self) -> list[_Run]:
        """Committed segments worth merging: many of one stripe and level, or all of a stripe that is over."""
        groups: dict[tuple[int, int], list[_Run]] = {}
        for run in self._runs:
            if run.id is not None and run.level < MAX_LEVEL and not run.shared:
                groups.setdefault((run.stripe, run.level), []).append(run)
        for (stripe, level), runs in sorted(groups.items()):
            over = self._stripe is not None and stripe < self._stripe
            enough = MERGE_SEGMENTS * (4 if level == 0 else 1)
            if len(runs) >= enough or (over and len(runs) > 1):
                taken: list[_Run] = []
                total = 0
                for run in reversed(runs):
                    if total + run.ids > MAX_SEGMENT_IDS:
                        break
                    taken.append(run)
                    total += run.ids
                if len(taken) > 1:
                    return taken
        return []

    def _trim(self) -> None:
        """Keep the newest keys in memory up to the limit; those of unmerged segments always."""
        held = 0
        for run in self._runs:
            if run.hi is None:
                continue
            held += run.ids
            if held > self._cache_ids and run.level > 0:
                run.hi = run.lo = None

    @property
    def stats(self) -> dict[str, int]:
        """Sizes for the metrics."""
        with self._lock:
            runs = list(self._runs)
        return {
            "slots": self.mask,
            "ids": sum(run.ids for run in runs),
            "segments": len(runs),
            "filter_bytes": self.filter.bytes + (self._next.bytes if self._next is not None else 0),
            "false_positives": self.false_positives,
        }


def insert_segment(mask: int, stripe: int, level: int, keys: npt.NDArray[np.void]) -> int:
    """Write a segment in the caller's transaction; returns its id."""
    with psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(
            "INSERT INTO usage_id_segment (slots, stripe, level, ids, keys) VALUES (%s, %s, %s, %s, %b) RETURNING id",
            (mask, stripe, level, len(keys), keys.tobytes()),
        )
        row = cursor.fetchone()
        assert row is not None
        return int(row[0])


def drop_segments(stripe: int) -> int:
    """Forget the segments whose time is over when ``stripe`` is the current one; returns how many."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM usage_id_segment WHERE stripe <= %s", [stripe - STRIPES])
        return int(cursor.rowcount)


def _read_keys(ids: list[int]) -> npt.NDArray[np.void]:
    connection.ensure_connection()
    with psycopg.Cursor(connection.connection) as cursor:
        cursor.execute("SELECT keys FROM usage_id_segment WHERE id = ANY(%s) ORDER BY id", (ids,), binary=True)
        rows = cursor.fetchall()
    if len(rows) != len(ids):
        raise RuntimeError("a segment of counted ids is missing: another process works on this shard's slots")
    return np.concatenate([np.frombuffer(row[0], dtype=KEY) for row in rows])


def _run_of(segment_id: int, stripe: int, level: int, keys: npt.NDArray[np.void]) -> _Run:
    hi, lo = keys["hi"].copy(), keys["lo"].copy()
    return _Run(stripe, len(keys), segment_id, level, hi, lo, hi[::PAGE].copy())


def _found(run_hi: U64, run_lo: U64, hi: U64, lo: U64) -> npt.NDArray[np.bool_]:
    """Which keys lie in a sorted run."""
    if not len(run_hi):
        return np.zeros(len(hi), dtype=bool)
    place = np.searchsorted(run_hi, hi, side="left")
    inside = np.minimum(place, len(run_hi) - 1)
    same_hi = run_hi[inside] == hi
    found: npt.NDArray[np.bool_] = same_hi & (run_lo[inside] == lo)
    for position in np.flatnonzero(same_hi & ~found).tolist():
        last = int(np.searchsorted(run_hi, hi[position], side="right"))
        found[position] = bool((run_lo[int(place[position]) : last] == lo[position]).any())
    return found
