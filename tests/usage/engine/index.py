"""What tests of the index of counted ids share."""

import numpy as np

from apps.usage.drain.dedupe import DedupeIndex, insert_segment

__all__ = ["index_of", "keys", "merge_all", "take"]

Keys = tuple[np.ndarray, np.ndarray]


def index_of(stripe: int, *, slots: range = range(8), filter_bytes: int = 1 << 24, cache_ids: int = 0) -> DedupeIndex:
    """An index that has read what the database has."""
    index = DedupeIndex(slots, filter_bytes=filter_bytes, cache_ids=cache_ids)
    index.load(stripe)
    return index


def keys(rng: np.random.Generator, count: int) -> Keys:
    hi, lo = (rng.integers(0, 2**64, count, dtype=np.uint64) for _ in range(2))
    return hi, lo


def take(index: DedupeIndex, hi: np.ndarray, lo: np.ndarray, stripe: int) -> np.ndarray:
    """A flush, committed; says which keys were new."""
    fresh, new = index.take(hi, lo, np.arange(len(hi), dtype=np.uint32), stripe)
    if len(new.keys):
        index.committed(new, insert_segment(index.mask, new.stripe, 0, new.keys))
    return fresh


def merge_all(index: DedupeIndex) -> None:
    while index.merge_some():
        pass
