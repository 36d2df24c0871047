"""Which runs of counted ids are merged next, so that there are few of them and an id is written again a few times only.

Runs that another division of the slots left belong to several shards now. One of these merges them, the one that has
the lowest of their slots; the others find the new run when they miss a row of the old ones.
"""

from collections.abc import Iterable, Sequence

from apps.usage.drain.layers import Layer
from apps.usage.drain.runs import Run

__all__ = ["TOGETHER", "first_of", "left_by_others", "merges", "of_one_level", "smaller"]

# So many runs of one level become one of the next.
TOGETHER = 32
# In a layer that is over a run is left as it is where the smaller ones together have less than such a part of it.
_WORTH = 4
# Ids of runs of several shards that are merged together: all of them read the new run again, some 40 MB.
_SHARED_IDS = 2_000_000


def of_one_level(layer: Layer, busy: set[int]) -> list[Run]:
    """Committed runs of one level, if there are enough of them to become one of the next."""
    levels: dict[int, list[Run]] = {}
    for run in layer.runs:
        if len(run.segments) and not run.shared and id(run) not in busy:
            levels.setdefault(run.level, []).append(run)
    return next((runs for _, runs in sorted(levels.items()) if len(runs) >= TOGETHER), [])


def smaller(runs: Iterable[Run]) -> list[Run]:
    """Of runs that nothing is added to: the small ones, and the next larger one while they are a good part of it."""
    ordered = sorted(runs, key=lambda run: run.ids)
    taken, total = 0, 0
    for place, run in enumerate(ordered):
        if place and run.ids <= _WORTH * total:
            taken = place + 1
        total += run.ids
    return ordered[:taken]


def left_by_others(layer: Layer, mask: int) -> list[Run]:
    """Runs of one earlier shard that this one is to merge."""
    for slots in sorted({run.slots for run in layer.runs if merges(run, mask)}):
        group, total = [], 0
        for run in smaller(run for run in layer.runs if run.slots == slots):
            total += run.ids
            if total <= _SHARED_IDS:
                group.append(run)
        if len(group) > 1:
            return group
    return []


def merges(run: Run, mask: int) -> bool:
    """Whether the shard of these slots merges this run, which several have."""
    return bool(run.slots & -run.slots & mask)


def first_of(runs: Sequence[Run], gone: set[int]) -> int:
    """The place of the first of ``gone``."""
    return next((place for place, run in enumerate(runs) if id(run) in gone), len(runs))
