"""Counted once: exact, for 8 days, whatever the timestamp.

Each flush commits its keys, sorted, as one segment in the transaction that counts its events. Memory has them in
layers: what came after one another in one stripe, with a filter made for so many. When a layer's filter is full the
next is begun, of about what the stripe has so far; when the stripe is over its layers become one. What a filter
suspects is looked up in that layer's runs: in memory, or in one page of each (:mod:`apps.usage.drain.runs`). In the
background runs become few (:mod:`apps.usage.drain.compacting`). After a restart the filters are read back from the
segments (:mod:`apps.usage.drain.loading`).
"""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from apps.core import clock
from apps.usage.drain.choosing import TOGETHER, first_of, left_by_others, merges, of_one_level, smaller
from apps.usage.drain.compacting import Compaction, delete_segments, drop_segments
from apps.usage.drain.filter import STRIPES, Marks, stripe_at
from apps.usage.drain.keys import KEY, U64
from apps.usage.drain.layers import BITS, Layer, Layers, filter_bound
from apps.usage.drain.loading import TRIES, load_layers, shared_runs
from apps.usage.drain.runs import PAGE, Asked, Held, MissingSegmentError, Run, found_in, insert_segment, read_parts
from apps.usage.drain.upkeep import Upkeep

__all__ = ["DedupeIndex", "NewKeys", "drop_segments", "insert_segment"]

# Pages read at once: some 5 MB. Rows taken away at once: some 5 MB of keys.
_PAGES, _DOOMED_IDS = 2_000, 1 << 18
# Merging goes on in the open layer, where flushes come, and beside that elsewhere, where it may take long.
_JOBS = ("open", "other")
# Seconds until it is looked again whether there is something to merge.
_IDLE = 0.5


@dataclass(frozen=True, slots=True)
class NewKeys:
    """The keys a flush has to commit as a segment; ``run`` is what to hand to :meth:`DedupeIndex.committed`."""

    stripe: int
    keys: npt.NDArray[np.void]
    run: Run


@dataclass(slots=True)
class _Job:
    """A compaction and the layers whose runs it takes; ``closing`` makes one layer of them."""

    work: Compaction
    layers: list[Layer]
    closing: bool


class DedupeIndex:
    """The ids that the slots of one shard have counted.

    One thread takes, one writes and says what is committed, one calls :meth:`merge_some`.
    """

    def __init__(self, slots: Iterable[int], *, filter_bytes: int, cache_ids: int) -> None:
        """``filter_bytes`` is the most that the filters take; 0 stands for a part of the machine's memory."""
        numbers = list(slots)
        self.mask = sum(1 << slot for slot in numbers)
        self.layers = Layers(filter_bytes or filter_bound(len(numbers)))
        self._cache_ids = cache_ids
        self._stripe: int | None = None
        self._jobs: dict[str, _Job] = {}
        self._doomed: list[tuple[Run, int]] = []
        # Merges that failed, whose pieces are to be taken away first.
        self._abandoned: list[Compaction] = []
        self.false_positives = self.pages_read = 0

    # ------------------------------------------------------------------ start
    def load(self, stripe: int) -> int:
        """Read what was counted in the last eight stripes; returns how many ids."""
        self._stripe = stripe
        layers = load_layers(self.mask, stripe, bound=self.layers.bound, cache_ids=self._cache_ids)
        with self.layers.lock:
            self.layers.all = tuple(layers)
        return self.layers.ids

    # ------------------------------------------------------------------ a flush
    def take(
        self, hi: U64, lo: U64, minute: npt.NDArray[np.uint32], stripe: int
    ) -> tuple[npt.NDArray[np.bool_], NewKeys]:
        """Which keys are new (the first of equal ones), and these as what the flush must commit.

        They count as seen from now on, before their commit: a flush that fails must end the process.
        """
        stripe = self._turn(stripe)
        order = np.argsort(hi)
        fresh = np.ones(len(hi), dtype=bool)
        self._mark_repeats(hi, lo, order, fresh)
        sorted_hi, sorted_lo = hi[order], lo[order]
        marks = Marks.of(sorted_hi, sorted_lo)
        fresh[order[self._seen(sorted_hi, sorted_lo, marks)]] = False
        kept = order
        if not fresh.all():
            places = np.flatnonzero(fresh[order])
            kept, marks, sorted_hi, sorted_lo = order[places], marks.at(places), sorted_hi[places], sorted_lo[places]
        keys = np.empty(len(kept), dtype=KEY)
        keys["hi"], keys["lo"], keys["minute"] = sorted_hi, sorted_lo, minute[kept]
        run = Run.of_flush(stripe, Held(sorted_hi, sorted_lo, keys["minute"].copy()))
        if len(kept):
            layer = self.layers.for_new(stripe, len(kept))
            layer.filter.add(marks)
            with self.layers.lock:
                layer.runs = (run, *layer.runs)
        return fresh, NewKeys(stripe, keys, run)

    def committed(self, new: NewKeys, segment_id: int) -> None:
        """The flush is committed, its keys as this segment."""
        new.run.segments = np.array([segment_id], dtype=np.int64)

    def _turn(self, stripe: int) -> int:
        """Begin a stripe where its time has come; returns the current one. What is eight stripes ago is forgotten."""
        assert self._stripe is not None, "load() comes first"
        if stripe > self._stripe:
            with self.layers.lock:
                for layer in self.layers.all:
                    layer.open = False
            self._stripe = stripe
            self.layers.drop_until(stripe - STRIPES)
        return self._stripe

    @staticmethod
    def _mark_repeats(hi: U64, lo: U64, order: npt.NDArray[np.int64], fresh: npt.NDArray[np.bool_]) -> None:
        """Within the flush, all but the first of equal keys are not fresh."""
        sorted_hi = hi[order]
        equal = np.flatnonzero(sorted_hi[1:] == sorted_hi[:-1])
        if not len(equal):
            return
        twins = np.zeros(len(hi), dtype=bool)
        twins[equal] = twins[equal + 1] = True
        seen: set[tuple[int, int]] = set()
        for position in sorted(order[twins].tolist()):
            key = (int(hi[position]), int(lo[position]))
            if key in seen:
                fresh[position] = False
            seen.add(key)

    # ------------------------------------------------------------------ looking up
    def _seen(self, hi: U64, lo: U64, marks: Marks) -> npt.NDArray[np.int64]:
        """Positions of the keys (ascending) that were counted before."""
        tries = TRIES
        while tries:
            with self.layers.lock:
                layers = [(layer.filter, layer.runs) for layer in self.layers.all]
            suspected = []
            for filter, runs in layers:
                positions = filter.suspects(marks)
                if len(positions):
                    suspected.append((positions, runs))
            if not suspected:
                return np.zeros(0, dtype=np.int64)
            seen = np.zeros(len(hi), dtype=bool)
            try:
                self._look_up(hi, lo, suspected, seen)
            except MissingSegmentError:
                # The merging thread replaced a run meanwhile, or another shard one that both have; that one may go on
                # as long as there is something to merge.
                if not self._look_at_shared():
                    tries -= 1
                continue
            self.false_positives += len(np.unique(np.concatenate([p for p, _ in suspected]))) - int(seen.sum())
            return np.flatnonzero(seen)
        raise MissingSegmentError("segments of counted ids are missing: another process works on this shard's slots")

    def _look_at_shared(self) -> bool:
        """Take the runs that another shard merges as they are now; returns whether they have changed."""
        with self.layers.lock:
            known = [run for run in self.layers.runs() if run.shared and not merges(run, self.mask)]
        if not known:
            return False
        try:
            there = shared_runs(self.mask, self._stripe or 0, known)
        except MissingSegmentError:
            # That of which they were to be read is merged away, too.
            return True
        fresh = [run for run in there if run.shared and not merges(run, self.mask)]
        gone = {id(run) for run in known}
        with self.layers.lock:
            for layer in self.layers.all:
                if any(id(run) in gone for run in layer.runs):
                    own = [run for run in layer.runs if id(run) not in gone]
                    layer.runs = (*own, *(run for run in fresh if run.stripe == layer.stripe))
        return {id(run) for run in fresh} != gone

    def _look_up(
        self,
        hi: U64,
        lo: U64,
        suspected: Sequence[tuple[npt.NDArray[np.int64], tuple[Run, ...]]],
        seen: npt.NDArray[np.bool_],
    ) -> None:
        """Set ``seen`` where a suspected key is in one of the runs that go with it."""
        elsewhere = []
        for positions, runs in suspected:
            for run in runs:
                held = run.held
                if held is None:
                    elsewhere.append((run, positions))
                    continue
                unseen = positions[~seen[positions]]
                if not len(unseen):
                    break
                seen[unseen] = found_in(held.hi, held.lo, hi[unseen], lo[unseen])
        asked: list[Asked] = []
        pages = 0
        for run, positions in elsewhere:
            for at in range(0, len(positions), _PAGES):
                part = positions[at : at + _PAGES]
                part = part[~seen[part]]
                wanted = run.pages_for(hi[part])
                if not len(wanted):
                    continue
                asked.append(Asked(run, part, wanted))
                pages += len(wanted)
                if pages >= _PAGES:
                    self._read_pages(asked, hi, lo, seen)
                    asked, pages = [], 0
        self._read_pages(asked, hi, lo, seen)

    def _read_pages(self, asked: Sequence[Asked], hi: U64, lo: U64, seen: npt.NDArray[np.bool_]) -> None:
        """All of them in one query."""
        parts: list[tuple[int, int, int]] = []
        for one in asked:
            rows, offsets = one.run.places_of(one.pages)
            size = [PAGE * KEY.itemsize] * len(rows)
            parts += zip(rows.tolist(), offsets.tolist(), size, strict=True)
        self.pages_read += len(parts)
        data = read_parts(parts)
        at = 0
        for one in asked:
            keys = np.frombuffer(b"".join(data[at : at + len(one.pages)]), dtype=KEY)
            at += len(one.pages)
            own = one.positions
            seen[own] |= found_in(keys["hi"].copy(), keys["lo"].copy(), hi[own], lo[own])

    # ------------------------------------------------------------------ merging, in a thread of its own
    def merge_some(self, names: Sequence[str] = _JOBS) -> int:
        """A small piece of what there is to merge; returns how many ids it wrote or took away, 0 where all is done.

        ``names`` says where: in the open layer, elsewhere. A merge that fails is begun anew another time. Raises
        MissingSegmentError where rows are gone though their time is not over.
        """
        while self._abandoned:
            self._abandoned[-1].abandon()
            self._abandoned.pop()
        if self._doomed:
            return self._delete_some()
        for name in names:
            job = self._jobs.get(name) or self._next_job(name)
            if job is None:
                continue
            self._jobs[name] = job
            try:
                written = self._step(job)
            except Exception:
                self._abandoned.append(job.work)
                self._end(name)
                raise
            if job.work.result is not None or not written:
                self._end(name)
            return max(1, written)
        return 0

    def _step(self, job: _Job) -> int:
        try:
            written = 0 if job.work.stripe <= (self._stripe or 0) - STRIPES else job.work.step()
        except MissingSegmentError:
            if not self._is_over(job.work.stripe):
                raise
            written = 0
        if job.work.result is not None:
            self._install(job, job.work.result)
        return written

    def _end(self, name: str) -> None:
        if self._jobs.pop(name).closing:
            self.layers.reserved = 0

    def _is_over(self, stripe: int) -> bool:
        """Whether a stripe's rows may be dropped: nothing may come for hours that makes the next stripe begin."""
        current = max(self._stripe or 0, stripe_at(clock.now().timestamp()))
        return stripe <= current - STRIPES

    def _next_job(self, name: str) -> _Job | None:
        with self.layers.lock:
            layers = self.layers.all
            busy = {id(run) for job in self._jobs.values() for run in job.work.inputs}
            stripe = self._stripe
        if name == "open":
            for layer in layers:
                if layer.open and (group := of_one_level(layer, busy)):
                    return self._job(group, [layer])
            return None
        for number in sorted({layer.stripe for layer in layers}, reverse=True):
            own = [layer for layer in layers if layer.stripe == number]
            runs = {id(run): run for layer in own for run in layer.runs}
            if busy & runs.keys() or not all(len(run.segments) for run in runs.values() if not run.shared):
                continue
            if number < (stripe or 0) and not any(run.shared for run in runs.values()):
                if len(runs) > 1:
                    return self._job(list(runs.values()), own, closing=True)
                for layer in own:
                    self.layers.fit(layer)
                continue
            for layer in own:
                if not layer.open and (group := smaller(run for run in layer.runs if not run.shared)):
                    return self._job(group, [layer])
                if group := left_by_others(layer, self.mask):
                    return self._job(group, [layer])
        return None

    def _job(self, runs: Sequence[Run], layers: list[Layer], *, closing: bool = False) -> _Job:
        ids = sum(run.ids for run in runs)
        room = self.layers.new_filter(ids, BITS) if closing else None
        if room is not None:
            self.layers.reserved = room.bytes
        hold = ids <= self._cache_ids and all(run.held is not None for run in runs)
        return _Job(Compaction(runs, self.mask, filter=room, hold=hold), layers, closing)

    def _install(self, job: _Job, made: Run) -> None:
        """Look into the new run from now on; its inputs' rows may go."""
        gone = {id(run) for run in job.work.inputs}
        with self.layers.lock:
            if job.closing and job.work.filter is not None:
                one = Layer(made.stripe, job.work.filter, (made,), open=False)
                old = {id(layer) for layer in job.layers}
                place = next((n for n, layer in enumerate(self.layers.all) if id(layer) in old), None)
                if place is not None:
                    rest = [layer for layer in self.layers.all if id(layer) not in old]
                    self.layers.all = (*rest[:place], one, *rest[place:])
            else:
                for layer in job.layers:
                    kept = [run for run in layer.runs if id(run) not in gone]
                    newer = sum(1 for run in layer.runs[: first_of(layer.runs, gone)] if id(run) not in gone)
                    layer.runs = (*kept[:newer], made, *kept[newer:])
        self._doomed += [(run, int(row)) for run in job.work.inputs for row in run.segments]
        self._trim()

    def _delete_some(self) -> int:
        rows: list[int] = []
        ids = 0
        stripe = self._doomed[-1][0].stripe
        for run, row in reversed(self._doomed):
            if ids >= _DOOMED_IDS or run.stripe != stripe:
                break
            rows.append(row)
            ids += max(1, run.ids // len(run.segments))
        if delete_segments(rows) != len(rows) and not self._is_over(stripe):
            raise MissingSegmentError("a segment of counted ids was taken away by another process")
        del self._doomed[-len(rows) :]
        return ids

    def _trim(self) -> None:
        """Keep the newest keys in memory up to the limit; those of flushes that wait to be merged always."""
        held = 0
        for run in self.layers.runs():
            if run.held is None:
                continue
            held += run.ids
            if held > self._cache_ids and run.level > 0:
                run.held = None

    def compact(self, stop: threading.Event, upkeep: Upkeep) -> None:
        """Merge until ``stop``, a quarter of the time, half of it where flushes pile up."""
        pause = 0.0
        while not stop.wait(pause):
            began = time.monotonic()
            if not any(upkeep.attempt(f"merge_ids_{name}", partial(self.merge_some, [name]), 0) for name in _JOBS):
                pause = _IDLE
                continue
            behind = sum(run.level == 0 for layer in self.layers.all[:1] for run in layer.runs) > 3 * TOGETHER
            pause = (time.monotonic() - began) * (1 if behind else 3)

    @property
    def stats(self) -> dict[str, int]:
        """Sizes for the metrics."""
        with self.layers.lock:
            runs = self.layers.runs()
        return {
            "slots": self.mask,
            "ids": sum(run.ids for run in runs),
            "segments": sum(len(run.segments) for run in runs),
            "filter_bytes": self.layers.bytes,
            "filter_full": int(self.layers.full),
            "false_positives": self.false_positives,
        }
