"""The index of counted ids, by itself: exact whatever the filter guesses."""

import threading
from uuid import uuid4

import numpy as np
import pytest
from django.db import connection
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from apps.usage.drain.dedupe import DedupeIndex, insert_segment
from apps.usage.drain.keys import KEY, id_halves, mix, salt_words
from apps.usage.drain.runs import PAGE, MissingSegmentError
from apps.usage.selectors.find_ids import minutes_of
from tests.usage.engine.index import index_of, keys, merge_all, take

words = st.integers(0, 2**64 - 1)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers, pieces and groups of a size that a test can fill."""
    monkeypatch.setattr("apps.usage.drain.layers.FIRST", 2_000)
    monkeypatch.setattr("apps.usage.drain.layers.STEEP", 4_000)
    monkeypatch.setattr("apps.usage.drain.compacting.PIECE", 4 * PAGE)
    monkeypatch.setattr("apps.usage.drain.choosing.TOGETHER", 3)
    monkeypatch.setattr("apps.usage.drain.dedupe._DOOMED_IDS", 500)
    monkeypatch.setattr("apps.usage.drain.loading._SLICE", 2 * PAGE)


def segments() -> list[tuple[int, int, int, int | None]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, level, ids, run FROM usage_id_segment ORDER BY id")
        return list(cursor.fetchall())


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


@pytest.mark.parametrize("filter_bytes", [1 << 12, 1 << 22])
@pytest.mark.parametrize("cache_ids", [0, 10**9])
@pytest.mark.usefixtures("db", "small")
def test_it_is_exact_with_a_tiny_filter_in_memory_and_out_of_pages(filter_bytes: int, cache_ids: int) -> None:
    rng = np.random.default_rng(filter_bytes + cache_ids % 7)
    index = index_of(100, filter_bytes=filter_bytes, cache_ids=cache_ids)
    known_hi, known_lo = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint64)
    for flush in range(24):
        stripe = 100 + flush // 8
        hi, lo = keys(rng, 5 * PAGE)
        old = rng.choice(len(known_hi), min(len(known_hi), 100), replace=False)
        all_hi, all_lo = np.concatenate((hi, known_hi[old])), np.concatenate((lo, known_lo[old]))
        order = rng.permutation(len(all_hi))
        fresh = take(index, all_hi[order], all_lo[order], stripe)
        assert fresh.tolist() == (order < len(hi)).tolist()
        known_hi, known_lo = np.concatenate((known_hi, hi)), np.concatenate((known_lo, lo))
        for _ in range(int(rng.integers(0, 12))):
            index.merge_some()
    restarted = index_of(102, filter_bytes=filter_bytes, cache_ids=cache_ids)
    for one in (index, restarted):
        assert not take(one, known_hi, known_lo, 102).any()
        merge_all(one)
        assert not take(one, known_hi, known_lo, 102).any()
        assert one.stats["ids"] == len(known_hi)


@pytest.mark.parametrize("cache_ids", [0, 10**9])
@pytest.mark.usefixtures("db", "small")
def test_a_stripe_that_is_over_becomes_one_run_of_pieces_with_ranges_of_their_own(cache_ids: int) -> None:
    rng = np.random.default_rng(4)
    index = index_of(100, cache_ids=cache_ids)
    flushed = [keys(rng, 700) for _ in range(30)]
    for flush in flushed:
        assert take(index, *flush, 100).all()
    assert len(index.layers.of(100)) > 2
    assert take(index, *keys(rng, 10), 101).all()
    merge_all(index)
    (layer,) = index.layers.of(100)
    (run,) = layer.runs
    assert run.ids == 30 * 700
    assert layer.filter.bits_a_key == pytest.approx(20, rel=0.2)
    with connection.cursor() as cursor:
        cursor.execute("SELECT keys, first_key, last_key, ids FROM usage_id_segment WHERE stripe = 100 ORDER BY run, 2")
        rows = [(np.frombuffer(row[0], dtype=KEY), *row[1:]) for row in cursor.fetchall()]
    assert len(rows) > 30
    assert max(ids for *_, ids in rows) < 5 * PAGE + 30 * PAGE
    together = np.concatenate([row[0] for row in rows])
    assert (together["hi"][1:] > together["hi"][:-1]).all()
    assert [(int(piece["hi"][0]) - 2**63, int(piece["hi"][-1]) - 2**63, len(piece)) for piece, *_ in rows] == [
        tuple(row[1:]) for row in rows
    ]
    minutes = {
        (hi, lo): place
        for flush in flushed
        for place, (hi, lo) in enumerate(zip(flush[0].tolist(), flush[1].tolist(), strict=True))
    }
    found = zip(together["hi"].tolist(), together["lo"].tolist(), strict=True)
    assert [minutes[key] for key in found] == together["minute"].tolist()


@pytest.mark.usefixtures("db", "small")
def test_what_is_suspected_takes_a_page_of_a_run_however_large() -> None:
    rng = np.random.default_rng(4)
    index = index_of(100)
    for _ in range(20):
        take(index, *keys(rng, 700), 100)
    known = keys(rng, 50)
    take(index, *known, 100)
    take(index, *keys(rng, 10), 101)
    merge_all(index)
    before = index.pages_read
    assert not take(index, *known, 101).any()
    assert index.pages_read - before <= 50 + 2


@pytest.mark.usefixtures("db", "small")
@pytest.mark.parametrize("steps", [1, 2, 5, 9, 14])
def test_a_crash_in_the_middle_of_merging_loses_and_doubles_nothing(steps: int) -> None:
    rng = np.random.default_rng(steps)
    index = index_of(100)
    flushed = [keys(rng, 500) for _ in range(9)]
    for flush in flushed:
        take(index, *flush, 100)
    take(index, *keys(rng, 1), 101)
    for _ in range(steps):
        index.merge_some()
    for _ in range(2):
        restarted = index_of(101)
        for flush in flushed:
            assert not take(restarted, *flush, 101).any()
        merge_all(restarted)
        for flush in flushed:
            assert not take(restarted, *flush, 101).any()
    assert sum(ids for _, level, ids, _ in segments() if level) == 9 * 500


@pytest.mark.usefixtures("db", "small")
def test_flushes_go_on_while_runs_are_merged() -> None:
    rng = np.random.default_rng(8)
    index = index_of(100)
    flushed = []
    for flush in range(60):
        flushed.append(keys(rng, 400))
        assert take(index, *flushed[-1], 100 + flush // 25).all()
        index.merge_some()
        again = flushed[int(rng.integers(len(flushed)))]
        assert not take(index, *again, 100 + flush // 25).any()
    assert index.stats["segments"] < 120


@pytest.mark.usefixtures("committed", "small")
@pytest.mark.parametrize("filter_bytes", [1 << 15, 1 << 24])
def test_a_thread_merges_while_another_takes(filter_bytes: int) -> None:
    rng = np.random.default_rng(8)
    index = index_of(100, filter_bytes=filter_bytes)
    stop = threading.Event()
    failed: list[BaseException] = []

    def compact() -> None:
        try:
            while not stop.is_set():
                index.merge_some()
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=compact)
    thread.start()
    try:
        flushed = []
        for flush in range(150):
            flushed.append(keys(rng, 400))
            assert take(index, *flushed[-1], 100 + flush // 30).all()
            for place in rng.integers(len(flushed), size=2):
                assert not take(index, *flushed[place], 100 + flush // 30).any()
    finally:
        stop.set()
        thread.join()
    assert not failed
    restarted = index_of(104, filter_bytes=filter_bytes)
    for flush_keys in flushed:
        assert not take(restarted, *flush_keys, 104).any()


@pytest.mark.usefixtures("db", "small")
@pytest.mark.parametrize("old_rows", [False, True])
def test_the_minute_of_an_event_is_found_by_its_id_whatever_was_merged(old_rows: bool) -> None:
    org_id, salt = uuid4(), bytes(range(16))
    ids = [uuid4() for _ in range(6_000)]
    k1, k2 = (np.full(len(ids), word, dtype=np.uint64) for word in salt_words(salt))
    hi, lo = mix(*id_halves(np.frombuffer(b"".join(one.bytes for one in ids), dtype="V16")), k1, k2)
    index = index_of(100)
    for start in range(0, len(ids), 500):
        part = slice(start, start + 500)
        _, new = index.take(hi[part], lo[part], np.arange(start, start + 500, dtype=np.uint32), 100)
        index.committed(new, insert_segment(index.mask, 100, 0, new.keys))
        if start < 4_000:
            merge_all(index)
    assert any(run is not None for *_, run in segments())
    if old_rows:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE usage_id_segment SET run = NULL, first_key = NULL, last_key = NULL")
    asked = [*range(0, 6_000, 97), 5_999]
    found = minutes_of(org_id, salt, [*(ids[place] for place in asked), uuid4()])
    assert found == {ids[place]: place for place in asked}


@pytest.mark.usefixtures("db", "small")
def test_rows_of_the_time_before_pieces_are_read() -> None:
    rng = np.random.default_rng(8)
    index = index_of(100)
    flushed = [keys(rng, 5 * PAGE) for _ in range(4)]
    for flush in flushed:
        take(index, *flush, 100)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE usage_id_segment SET run = NULL, first_key = NULL, last_key = NULL, level = 2")
    index = index_of(100)
    for flush in flushed:
        assert not take(index, *flush, 100).any()
    merge_all(index)
    for flush in flushed:
        assert not take(index, *flush, 100).any()
    assert {run for _, _, _, run in segments()} != {None}


def run_sizes(slots: int) -> list[int]:
    """The ids of each run that was written for these slots."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(ids) FROM usage_id_segment WHERE slots = %s GROUP BY coalesce(run, id)", [slots])
        return [int(ids) for (ids,) in cursor.fetchall()]


@pytest.mark.usefixtures("db", "small")
def test_after_another_division_of_the_slots_one_shard_merges_what_both_hold() -> None:
    rng = np.random.default_rng(8)
    whole = index_of(100)
    flushed = [keys(rng, 300) for _ in range(6)]
    for flush in flushed:
        take(whole, *flush, 100)
    before = segments()
    halves = [index_of(100, slots=range(start, start + 4)) for start in (0, 4)]
    own = [keys(rng, 300) for _ in range(6)]
    for half in halves:
        for flush in flushed:
            assert not take(half, *flush, 100).any()
        for flush in own:
            assert take(half, *flush, 101).all()
        take(half, *keys(rng, 1), 102)
        merge_all(half)
        assert not any(take(half, *flush, 102).any() for flush in (*flushed, *own))
    # The first, which has the lowest slot, has made one run of it; it stays with the slots of both.
    assert not {row[0] for row in before} & {row[0] for row in segments()}
    assert run_sizes(255) == [6 * 300]
    assert not any(take(halves[0], *flush, 102).any() for flush in (*flushed, *own))
    # Whose slots all are this one's may merge what each of the others had.
    again = index_of(102)
    assert not any(take(again, *flush, 102).any() for flush in (*flushed, *own))
    merge_all(again)
    assert not any(take(again, *flush, 102).any() for flush in (*flushed, *own))
    assert not {row[0] for row in before} & {row[0] for row in segments()}


@pytest.mark.usefixtures("db", "small")
def test_what_another_process_takes_away_ends_this_one() -> None:
    rng = np.random.default_rng(8)
    index = index_of(100)
    known = keys(rng, 300)
    take(index, *known, 100)
    index = index_of(100)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM usage_id_segment")
    with pytest.raises(MissingSegmentError, match="another process"):
        take(index, *known, 100)


@pytest.mark.usefixtures("db", "small")
def test_keys_that_share_a_half_are_told_apart() -> None:
    index = index_of(1, filter_bytes=1 << 12)
    same = np.full(3 * PAGE, 2**63, dtype=np.uint64)
    low = np.arange(3 * PAGE, dtype=np.uint64)
    assert take(index, same[:PAGE], low[:PAGE], 1).all()
    assert take(index, same, low, 1).sum() == 2 * PAGE
    assert not take(index, same, low, 1).any()
    assert take(index, same + np.uint64(1), low, 1).all()
    for _ in range(2):
        index = index_of(2)
        assert not take(index, same, low, 2).any()
        assert not take(index, same + np.uint64(1), low, 2).any()
        merge_all(index)


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


def test_a_page_is_read_without_the_rest_of_its_row(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attstorage::text FROM pg_attribute WHERE attrelid = 'usage_id_segment'::regclass"
            " AND attname = 'keys'"
        )
        assert cursor.fetchone() == ("e",)
    many = np.zeros(100_000, dtype=KEY)
    many["hi"] = np.arange(100_000)
    row = insert_segment(1, 1, 0, many)
    with connection.cursor() as cursor:
        cursor.execute(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)"
            " SELECT length(substring(keys FROM 1000000 FOR 2560)) FROM usage_id_segment WHERE id = %s",
            [row],
        )
        plan = cursor.fetchone()[0][0]["Plan"]
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 30
