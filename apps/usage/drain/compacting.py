"""Many runs of counted ids become one, a piece at a time, each piece in a transaction of its own.

The pieces stand beside what they are made of until the last is written; then memory looks into them alone, and the old
rows go, some at a time. A crash in between leaves keys twice, which is harmless: they are merged away another time. A
merge that fails is abandoned with its pieces: whether one whose commit was not heard of is there, nobody knows.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from django.db import connection, transaction

from apps.usage.drain.filter import STRIPES, Filter, Marks
from apps.usage.drain.keys import KEY, U64
from apps.usage.drain.runs import PAGE, Held, Run, insert_segment, read_parts

__all__ = ["PIECE", "Compaction", "delete_segments", "drop_segments"]

# Keys a piece, about: 1.3 MB, which take some 20 ms of the drain and PostgreSQL to sort and write.
PIECE = 1 << 16


class Compaction:
    """Of committed runs of one stripe; ``filter`` is filled with their keys where one is given.

    ``hold`` says whether the new run's keys stay in memory. ``result`` is the new run once :meth:`step` has said so.
    """

    def __init__(self, inputs: Sequence[Run], mask: int, *, filter: Filter | None = None, hold: bool = False) -> None:
        # Oldest first: of a key that is there twice the first stays.
        self.inputs = sorted(inputs, key=lambda run: int(run.segments[0]))
        self.stripe = inputs[0].stripe
        self.level = max(run.level for run in inputs) + 1
        self.slots = inputs[0].slots
        self.filter = filter
        self.result: Run | None = None
        # What several have stays what several have.
        self._mask = self.slots or mask
        self._hold = hold
        self._number: int | None = None
        self._from = 0
        self._segments: list[int] = []
        self._fences: list[U64] = []
        self._kept: list[npt.NDArray[np.void]] = []
        self._ids = 0

    def step(self) -> int:
        """Write the next piece; returns its keys. After the last one there is a ``result``.

        Raises MissingSegmentError where a row of the inputs is gone.
        """
        upto = self._next_border()
        keys = _sorted_once(self._keys_between(self._from, upto))
        if len(keys):
            with transaction.atomic():
                with connection.cursor() as cursor:
                    # Were it lost, what it is made of would be there still.
                    cursor.execute("SET LOCAL synchronous_commit = off")
                    if self._number is None:
                        cursor.execute("SELECT nextval(pg_get_serial_sequence('usage_id_segment', 'id'))")
                        self._number = int(cursor.fetchone()[0])
                piece = insert_segment(self._mask, self.stripe, self.level, keys, run=self._number)
            self._segments.append(piece)
            hi = keys["hi"].copy()
            self._fences.append(hi[::PAGE].copy())
            self._ids += len(keys)
            if self.filter is not None:
                self.filter.add(Marks.of(hi, keys["lo"].copy()))
            if self._hold:
                self._kept.append(keys)
        if upto is None:
            self._finish()
        else:
            self._from = upto
        return len(keys)

    def abandon(self) -> None:
        """Take away the pieces that were written: who tries again begins anew."""
        if self._number is not None:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(
                    "DELETE FROM usage_id_segment WHERE run = %s AND stripe = %s", [self._number, self.stripe]
                )

    def _next_border(self) -> int | None:
        """Up to which ``hi`` the next piece goes, so that it has about ``PIECE`` keys; None for the rest."""
        ahead = PIECE // PAGE
        fences = []
        for run in self.inputs:
            place = int(np.searchsorted(run.fences, np.uint64(self._from), side="right"))
            fences.append(run.fences[place : place + ahead + 1])
        coming = np.concatenate(fences)
        if len(coming) <= ahead:
            return None
        return int(np.partition(coming, ahead)[ahead])

    def _keys_between(self, start: int, stop: int | None) -> npt.NDArray[np.void]:
        found: list[npt.NDArray[np.void]] = []
        parts: list[tuple[int, int, int]] = []
        where: list[int] = []
        for run in self.inputs:
            held = run.held
            if held is None or held.minute is None:
                own = list(run.parts_between(start, stop))
                parts += own
                where += [len(found)] * len(own)
                found.append(np.zeros(0, dtype=KEY))
                continue
            a = int(np.searchsorted(held.hi, np.uint64(start), side="left"))
            b = len(held.hi) if stop is None else int(np.searchsorted(held.hi, np.uint64(stop), side="left"))
            keys = np.empty(b - a, dtype=KEY)
            keys["hi"], keys["lo"], keys["minute"] = held.hi[a:b], held.lo[a:b], held.minute[a:b]
            found.append(keys)
        for place, data in zip(where, read_parts(parts), strict=True):
            keys = np.frombuffer(data, dtype=KEY)
            hi = keys["hi"]
            inside = hi >= np.uint64(start)
            if stop is not None:
                inside &= hi < np.uint64(stop)
            found[place] = np.concatenate((found[place], keys[inside]))
        return np.concatenate(found)

    def _finish(self) -> None:
        first_pages = np.cumsum([0, *(len(fences) for fences in self._fences[:-1])]).astype(np.int64)
        held = None
        if self._hold:
            kept = np.concatenate(self._kept)
            held = Held(kept["hi"].copy(), kept["lo"].copy())
        self._kept = []
        self.result = Run(
            self.stripe, self.level, self._ids, np.array(self._segments, dtype=np.int64),
            np.concatenate(self._fences), first_pages, held, self.slots,
        )  # fmt: skip


def _sorted_once(keys: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Ascending, and of equal keys only the first."""
    keys = keys[np.argsort(keys["hi"], kind="stable")]
    hi = keys["hi"]
    if not (hi[1:] == hi[:-1]).any():
        return keys
    keys = keys[np.lexsort((keys["lo"], hi))]
    again = np.zeros(len(keys), dtype=bool)
    again[1:] = (keys["hi"][1:] == keys["hi"][:-1]) & (keys["lo"][1:] == keys["lo"][:-1])
    return keys[~again]


def delete_segments(segments: list[int]) -> int:
    """Take rows away in a transaction of its own; returns how many were there."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")
        cursor.execute("DELETE FROM usage_id_segment WHERE id = ANY(%s)", [segments])
        return int(cursor.rowcount)


def drop_segments(stripe: int) -> int:
    """Forget the segments whose time is over when ``stripe`` is the current one; returns how many."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM usage_id_segment WHERE stripe <= %s", [stripe - STRIPES])
        return int(cursor.rowcount)
