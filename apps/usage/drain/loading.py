"""What was counted in the last eight stripes, read back at the start, in slices whatever there is of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from django.db import connection

from apps.usage.drain.filter import STRIPES, Filter, Marks
from apps.usage.drain.keys import KEY, U64
from apps.usage.drain.layers import BITS, Layer
from apps.usage.drain.runs import PAGE, Held, MissingSegmentError, Run, read_parts

__all__ = ["TRIES", "load_layers", "shared_runs"]

# How often runs are read or looked into anew where some were merged away meanwhile.
TRIES = 5
_SLICE = 512 * PAGE  # keys read at once: 1.3 MB
_SPARE = 0.75


@dataclass(slots=True)
class _Read:
    """A run as it is read: its pieces (row, keys) by range."""

    stripe: int
    level: int
    slots: int
    pieces: list[tuple[int, int]] = field(default_factory=list)
    hold: bool = False
    fences: list[list[U64]] = field(default_factory=list)
    kept: list[npt.NDArray[np.void]] = field(default_factory=list)

    @property
    def ids(self) -> int:
        return sum(ids for _, ids in self.pieces)

    def made(self) -> Run:
        pages = [sum(map(len, fences)) for fences in self.fences]
        held = None
        if self.hold:
            kept = np.concatenate(self.kept)
            held = Held(kept["hi"].copy(), kept["lo"].copy(), kept["minute"].copy() if self.level == 0 else None)
        self.kept = []
        return Run(
            self.stripe, self.level, self.ids, np.array([row for row, _ in self.pieces], dtype=np.int64),
            np.concatenate([fence for fences in self.fences for fence in fences]),
            np.cumsum([0, *pages[:-1]]).astype(np.int64), held, self.slots,
        )  # fmt: skip


def load_layers(mask: int, stripe: int, *, bound: int, cache_ids: int) -> list[Layer]:
    """A layer for each stripe in which something was counted, newest first; each as good as full.

    Its filter has as many bits a key as it should, or fewer where all of them together would take more than three
    quarters of ``bound`` bytes: what is to come needs room as well. Of the newest ids ``cache_ids`` are held.
    """
    for _ in range(TRIES - 1):
        try:
            return _layers_now(mask, stripe, bound, cache_ids)
        except MissingSegmentError:
            # What several shards have one of them merges, meanwhile too.
            continue
    return _layers_now(mask, stripe, bound, cache_ids)


def _layers_now(mask: int, stripe: int, bound: int, cache_ids: int) -> list[Layer]:
    runs = _listed(mask, stripe)
    held = 0
    for run in reversed(runs):
        held += run.ids
        run.hold = held <= cache_ids
    total = sum(run.ids for run in runs)
    bits = min(BITS, bound * 8 * _SPARE / max(1, total))
    layers = []
    for number in sorted({run.stripe for run in runs}, reverse=True):
        own = [run for run in runs if run.stripe == number]
        filter = Filter(sum(run.ids for run in own), bits)
        for pieces in _batches(own):
            _read(pieces, filter)
        layers.append(Layer(number, filter, tuple(run.made() for run in reversed(own)), open=False))
    return layers


def shared_runs(mask: int, stripe: int, known: Iterable[Run]) -> list[Run]:
    """The runs that others have too, newest first, as they are now; those that are ``known`` are not read again."""
    there = {tuple(run.segments.tolist()): run for run in known}
    found = []
    for run in reversed([run for run in _listed(mask, stripe) if run.slots]):
        same = there.get(tuple(row for row, _ in run.pieces))
        if same is None:
            for pieces in _batches([run]):
                _read(pieces, None)
        found.append(same or run.made())
    return found


def _listed(mask: int, stripe: int) -> list[_Read]:
    """The runs there are, oldest first, without their keys."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(run, id), id, stripe, level, ids, CASE WHEN slots & ~%s <> 0 THEN slots ELSE 0 END"
            " FROM usage_id_segment"
            " WHERE stripe > %s AND slots & %s <> 0 ORDER BY coalesce(run, id), first_key, id",
            [mask, stripe - STRIPES, mask],
        )
        found: dict[int, _Read] = {}
        for number, row, own_stripe, level, ids, slots in cursor.fetchall():
            found.setdefault(number, _Read(own_stripe, level, slots)).pieces.append((row, ids))
    return list(found.values())


def _batches(runs: Iterable[_Read]) -> Iterator[list[tuple[_Read, int, int, int, int]]]:
    """(run, piece, row, first key, keys), so many at once that they have about ``_SLICE`` keys."""
    batch: list[tuple[_Read, int, int, int, int]] = []
    size = 0
    for run in runs:
        run.fences = [[] for _ in run.pieces]
        for place, (row, ids) in enumerate(run.pieces):
            for at in range(0, ids, _SLICE):
                keys = min(_SLICE, ids - at)
                if size + keys > _SLICE and batch:
                    yield batch
                    batch, size = [], 0
                batch.append((run, place, row, at, keys))
                size += keys
    if batch:
        yield batch


def _read(batch: list[tuple[_Read, int, int, int, int]], filter: Filter | None) -> None:
    size = KEY.itemsize
    parts = read_parts([(row, at * size + 1, keys * size) for _, _, row, at, keys in batch])
    for (run, place, _, _, _), data in zip(batch, parts, strict=True):
        keys = np.frombuffer(data, dtype=KEY)
        run.fences[place].append(keys["hi"][::PAGE].copy())
        if run.hold:
            run.kept.append(keys)
    if filter is None:
        return
    keys = np.frombuffer(b"".join(parts), dtype=KEY)
    filter.add(Marks.of(keys["hi"].copy(), keys["lo"].copy()))
