"""The index of counted ids, by itself: exact whatever the filter guesses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from apps.usage.drain.dedupe import PAGE, DedupeIndex, insert_segment
from apps.usage.drain.filter import STRIPES, StripedFilter
from apps.usage.drain.keys import id_halves, mix

words = st.integers(0, 2**64 - 1)


def keys(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    hi, lo = (rng.integers(0, 2**64, count, dtype=np.uint64) for _ in range(2))
    return hi, lo, np.zeros(count, dtype=np.uint32)


def take(index: DedupeIndex, hi: np.ndarray, lo: np.ndarray, stripe: int) -> np.ndarray:
    fresh, new = index.take(hi, lo, np.zeros(len(hi), dtype=np.uint32), stripe)
    if len(new.keys):
        index.committed(new, insert_segment(index.mask, new.stripe, 0, new.keys))
    return fresh


@given(st.lists(st.tuples(words, words), min_size=1, unique=True), words, words)
def test_mixing_is_one_to_one(ids: list[tuple[int, int]], k1: int, k2: int) -> None:
    hi = np.array([i[0] for i in ids], dtype=np.uint64)
    lo = np.array([i[1] for i in ids], dtype=np.uint64)
    count = len(ids)
    mixed = mix(hi, lo, np.full(count, k1, dtype=np.uint64), np.full(count, k2, dtype=np.uint64))
    assert len(set(zip(mixed[0].tolist(), mixed[1].tolist(), strict=True))) == count


def test_ids_made_in_order_are_spread_evenly() -> None:
    ids = np.zeros((4096, 2), dtype=">u8")
    ids[:, 0], ids[:, 1] = 0x0192_0000_0000_7000, np.arange(4096)
    salt = np.full(4096, 12345, dtype=np.uint64)
    hi, _ = mix(*id_halves(ids.view("V16").reshape(-1)), salt, salt)
    buckets = np.bincount((hi >> np.uint64(60)).astype(int), minlength=16)
    assert buckets.min() > 180
    assert buckets.max() < 340


def test_the_filter_never_forgets_and_forgets_a_stripe_at_once() -> None:
    rng = np.random.default_rng(5)
    striped = StripedFilter(min_bytes=1 << 18)
    added = []
    for stripe in range(20, 28):
        hi, lo, _ = keys(rng, 2000)
        striped.add(stripe, hi, lo)
        added.append((stripe, hi, lo))
    for stripe, hi, lo in added:
        positions, columns = striped.suspects(hi, lo)
        assert len(positions) == len(hi)
        assert columns[:, stripe % STRIPES].all()
    striped.clear(20)
    positions, columns = striped.suspects(*added[0][1:])
    assert not columns[:, 20 % STRIPES].any()


def test_a_filter_says_when_it_is_nearly_full_and_how_large_the_next_must_be() -> None:
    striped = StripedFilter(min_bytes=1 << 12, max_bytes=1 << 20)
    assert striped.wanted() is None
    assert striped.wanted(10_000) == 1 << 18
    assert striped.wanted(10**9) == 1 << 20
    hi, lo, _ = keys(np.random.default_rng(1), 10_000)
    striped.add(3, hi, lo)
    assert striped.wanted() == 1 << 18
    assert striped.roomier(1 << 20).wanted(10**9) is None


@pytest.mark.parametrize("cache_ids", [0, 10**9])
def test_a_filter_grown_while_flushes_go_on_knows_every_key_and_suspects_few_others(
    db: None, cache_ids: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.usage.drain.dedupe.MERGE_SEGMENTS", 1)
    rng = np.random.default_rng(9)
    index = DedupeIndex(range(8), filter_bytes=1 << 22, cache_ids=cache_ids)
    index.filter = StripedFilter(min_bytes=1 << 14, max_bytes=1 << 22)
    index.load(100)
    flushed = []
    meanwhile = iter([keys(rng, 500) for _ in range(1000)])
    add = StripedFilter.add

    def add_beside(self: StripedFilter, stripe: int, hi: np.ndarray, lo: np.ndarray) -> None:
        add(self, stripe, hi, lo)
        if self is index._next and not busy:
            # The other thread flushes now: the lock is let go for it, as between two steps.
            busy.append(True)
            index._next_lock.release()
            more = next(meanwhile)
            assert take(index, more[0], more[1], 100 + len(flushed) // 12).all()
            flushed.append(more)
            index._next_lock.acquire()
            busy.clear()

    busy: list[bool] = []
    monkeypatch.setattr(StripedFilter, "add", add_beside)
    grown = 0
    for flush in range(30):
        hi, lo, minute = keys(rng, 1000)
        assert take(index, hi, lo, 100 + flush // 12).all()
        flushed.append((hi, lo, minute))
        while index.merge_some():
            pass
        grown += index.grow_some() > 0
    assert grown >= 3
    assert index.filter.bytes > 1 << 17
    for hi, lo, _ in flushed:
        assert not take(index, hi, lo, 103).any()
    strangers = keys(rng, 20_000)
    assert len(index.filter.suspects(*strangers[:2])[0]) < 400


@pytest.mark.parametrize("filter_bytes", [1 << 12, 1 << 22])
@pytest.mark.parametrize("cache_ids", [0, 10**9])
def test_it_is_exact_with_a_tiny_filter_in_memory_and_out_of_pages(
    db: None, filter_bytes: int, cache_ids: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.usage.drain.dedupe.MERGE_SEGMENTS", 1)
    rng = np.random.default_rng(filter_bytes + cache_ids % 7)
    index = DedupeIndex(range(8), filter_bytes=filter_bytes, cache_ids=cache_ids)
    index.load(100)
    known_hi, known_lo = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint64)
    for flush in range(12):
        stripe = 100 + flush // 4
        hi, lo, _ = keys(rng, 3 * PAGE)
        old = rng.choice(len(known_hi), min(len(known_hi), 100), replace=False)
        all_hi, all_lo = np.concatenate((hi, known_hi[old])), np.concatenate((lo, known_lo[old]))
        order = rng.permutation(len(all_hi))
        fresh = take(index, all_hi[order], all_lo[order], stripe)
        assert fresh.tolist() == (order < len(hi)).tolist()
        known_hi, known_lo = np.concatenate((known_hi, hi)), np.concatenate((known_lo, lo))
        if flush % 3 == 2:
            while index.merge_some():
                pass
    restarted = DedupeIndex(range(8), filter_bytes=filter_bytes, cache_ids=cache_ids)
    assert restarted.load(103) == len(known_hi)
    assert not take(restarted, known_hi, known_lo, 103).any()


@pytest.mark.parametrize("when", ["before", "after"])
def test_no_key_is_lost_when_the_filter_changes_within_a_flush(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    index = DedupeIndex(range(8), filter_bytes=1 << 22, cache_ids=10**9)
    index.filter = StripedFilter(min_bytes=1 << 14, max_bytes=1 << 22)
    index._stripe = 100
    add = StripedFilter.add

    def add_while_it_changes(self: StripedFilter, stripe: int, hi: np.ndarray, lo: np.ndarray) -> None:
        change = self is index.filter and index._next is None
        if change and when == "before":
            index.grow_some()
        add(self, stripe, hi, lo)
        if change and when == "after":
            index.grow_some()

    monkeypatch.setattr(StripedFilter, "add", add_while_it_changes)
    monkeypatch.setattr(StripedFilter, "wanted", lambda self, ids=0: 1 << 16)
    rng = np.random.default_rng(11)
    for _ in range(5):
        known = keys(rng, 50)
        assert index.take(*known, 100)[0].all()
        assert not index.take(*known, 100)[0].any()


def test_keys_that_share_a_half_are_told_apart(db: None) -> None:
    index = DedupeIndex(range(8), filter_bytes=1 << 12, cache_ids=0)
    index.load(1)
    same = np.full(3 * PAGE, 2**63, dtype=np.uint64)
    low = np.arange(3 * PAGE, dtype=np.uint64)
    assert take(index, same[:PAGE], low[:PAGE], 1).all()
    assert take(index, same, low, 1).sum() == 2 * PAGE
    assert not take(index, same, low, 1).any()


@hypothesis_settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=20), min_size=1, max_size=8))
def test_any_run_of_flushes_counts_each_key_once(flushes: list[list[int]]) -> None:
    index = DedupeIndex([0], filter_bytes=1 << 12, cache_ids=10**6)
    index._stripe = 5
    seen: set[int] = set()
    for flush in flushes:
        hi = np.array(flush, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        fresh, _ = index.take(hi, hi + np.uint64(1), np.zeros(len(flush), dtype=np.uint32), 5)
        expected = []
        for key in flush:
            expected.append(key not in seen)
            seen.add(key)
        assert fresh.tolist() == expected
