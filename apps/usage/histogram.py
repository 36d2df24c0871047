"""Latency histograms that add up.

Buckets grow by 1.01/0.99, so any value is within 1 % of its bucket's middle, and merged percentiles well within 2 %.
A histogram is a run of 4-byte entries (bucket uint16, count uint16, little-endian) in any order, a bucket any number
of times: appending one to another merges them, in SQL too (``string_agg(latency_hist, ''::bytea)``).
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["ENTRY", "buckets_of", "compact", "merge", "percentiles"]

ENTRY = np.dtype([("bucket", "<u2"), ("count", "<u2")])
_GAMMA = 1.01 / 0.99
_LOG_GAMMA = math.log(_GAMMA)
# The largest latency taken is 2·10⁹ ms.
_BUCKETS = math.ceil(math.log(2_000_000_000) / _LOG_GAMMA) + 2
_TABLE_SIZE = 1 << 16


def _bucket(values: npt.NDArray[np.int64]) -> npt.NDArray[np.uint16]:
    """0 holds 0 ms; bucket i holds (γ^(i-2), γ^(i-1)]."""
    safe = np.maximum(values, 1)
    found = np.ceil(np.log(safe) / _LOG_GAMMA - 1e-9).astype(np.int64) + 1
    return np.where(values <= 0, 0, found).astype(np.uint16)


_TABLE = _bucket(np.arange(_TABLE_SIZE, dtype=np.int64))
_MIDDLE = np.concatenate(([0.0], _GAMMA ** np.arange(-1, _BUCKETS - 1) * 2 * _GAMMA / (_GAMMA + 1)))


def buckets_of(latencies: npt.NDArray[np.int64]) -> npt.NDArray[np.uint16]:
    """The bucket of each latency (ms, not negative)."""
    if len(latencies) and latencies.max() < _TABLE_SIZE:
        return _TABLE[latencies]
    return _bucket(latencies)


def merge(histogram: bytes | memoryview) -> npt.NDArray[np.int64]:
    """Counts by bucket of a (merged) histogram."""
    entries = np.frombuffer(histogram, dtype=ENTRY)
    return np.bincount(entries["bucket"], weights=entries["count"], minlength=_BUCKETS).astype(np.int64)


def compact(histogram: bytes | memoryview) -> bytes:
    """The same histogram with each bucket named as few times as its count allows."""
    counts = merge(histogram)
    filled = np.flatnonzero(counts)
    repeats = (counts[filled] + 65534) // 65535
    buckets = np.repeat(filled, repeats)
    out = np.zeros(len(buckets), dtype=ENTRY)
    out["bucket"] = buckets
    out["count"] = 65535
    last = np.cumsum(repeats) - 1
    out["count"][last] = counts[filled] - (repeats - 1) * 65535
    return out.tobytes()


def percentiles(histogram: bytes | memoryview, fractions: Sequence[float]) -> list[int | None]:
    """The value (whole ms, nearest rank) below which each fraction of the latencies lies; None where there are none."""
    counts = merge(histogram)
    total = int(counts.sum())
    if total == 0:
        return [None for _ in fractions]
    upto = np.cumsum(counts)
    ranks = [max(1, math.ceil(fraction * total)) for fraction in fractions]
    return [round(float(_MIDDLE[int(np.searchsorted(upto, rank))])) for rank in ranks]
