"""Latency histograms add up, in Python and in SQL, and their percentiles are within 2 %."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.usage.drain.rows import _histograms
from apps.usage.histogram import ENTRY, buckets_of, compact, merge, percentiles
from tests.usage.engine.conftest import value


def histogram(values: list[int]) -> bytes:
    entries = np.zeros(len(values), dtype=ENTRY)
    entries["bucket"] = buckets_of(np.array(values, dtype=np.int64))
    entries["count"] = 1
    return entries.tobytes()


@given(st.lists(st.integers(0, 2_000_000_000), min_size=1), st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]))
def test_percentiles_are_within_two_percent_of_the_nearest_rank(values: list[int], fraction: float) -> None:
    exact = sorted(values)[max(1, int(np.ceil(fraction * len(values)))) - 1]
    (found,) = percentiles(histogram(values), [fraction])
    assert found is not None
    assert abs(found - exact) <= max(0.02 * exact, 0.5)


@given(st.lists(st.integers(0, 10**6)), st.lists(st.integers(0, 10**6)))
def test_appending_is_merging(first: list[int], second: list[int]) -> None:
    together = histogram(first) + histogram(second)
    assert (merge(together) == merge(histogram(first + second))).all()
    assert (merge(compact(together)) == merge(together)).all()


def test_counts_beyond_one_entry_take_several() -> None:
    entries = np.zeros(3, dtype=ENTRY)
    entries["bucket"], entries["count"] = 7, 65535
    packed = compact(entries.tobytes() * 2)
    assert merge(packed)[7] == 6 * 65535
    assert len(packed) == 6 * ENTRY.itemsize


def test_more_equal_latencies_of_a_flush_than_an_entry_counts_take_several() -> None:
    latency = np.array([300] * 140_000 + [20, 300], dtype=np.int64)
    order = np.arange(len(latency))
    entries, ends = _histograms(latency, latency >= 0, order, np.array([0, 140_001]))
    heavy, light = (part.tobytes() for part in np.split(entries, ends[:-1]))
    assert merge(heavy)[buckets_of(latency[:1])[0]] == 140_000
    assert merge(heavy).sum() == 140_001
    assert merge(light).sum() == 1
    assert ends.tolist() == [4, 5]


def test_an_empty_one_has_no_percentiles() -> None:
    assert percentiles(b"", [0.5]) == [None]


@pytest.mark.parametrize("times", [1, 30])
def test_sql_compacts_to_the_same_bytes(db: None, times: int) -> None:
    rng = np.random.default_rng(times)
    grown = histogram(rng.integers(0, 5000, 500).tolist()) * times
    heavy = np.zeros(1, dtype=ENTRY)
    heavy["bucket"], heavy["count"] = 500, 65535
    grown += heavy.tobytes() * 3
    assert bytes(value("SELECT usage_hist_compact(%s)", grown)) == compact(grown)
