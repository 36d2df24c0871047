"""Work beside the counting that fails again and again: it stays beside, is told once, and leaves nothing half done."""

import logging
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import numpy as np
import pytest
from django.db import OperationalError, connection

from apps.core import clock
from apps.usage import store
from apps.usage.drain import fold, keeper, merge, upkeep
from apps.usage.drain.announce import announce
from apps.usage.drain.dedupe import DedupeIndex
from apps.usage.drain.runs import MissingSegmentError, insert_segment
from apps.usage.drain.shard import Drainer, drain_now
from apps.usage.drain.upkeep import LeftOut, PartlyDone, Upkeep, apart
from apps.usage.ingest.inbox import SLOTS
from apps.usage.selectors.engine import stray_counts
from apps.usage.services import ingest
from apps.usage.watch import watch_drain
from tests.cast import published, trail
from tests.usage.engine.conftest import World, make_world, rows, typed, value
from tests.usage.engine.index import index_of, keys, merge_all, take
from tests.usage.engine.test_processes import draining
from tests.usage.visibility.test_metrics import scrape
from tests.waiting import wait_for

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
FAILING = "SELECT work, reason FROM usage_upkeep WHERE ended_at IS NULL"


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of the pauses, moved by the tests."""
    now = [1000.0]
    monkeypatch.setattr(upkeep, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def worlds(world: World) -> list[World]:
    return [world, make_world("other"), make_world("third")]


def send(world: World, *minutes: float, **fields: Any) -> None:
    events = [typed(timestamp=(NOON + timedelta(minutes=at)).isoformat(), **fields) for at in minutes]
    assert ingest(key=world.key, events=events).accepted == len(minutes)
    drain_now()


def number(world: World) -> int:
    found = store.org_number(world.org_id)
    assert found is not None
    return found


# ---------------------------------------------------------------------------------------------- attempts
@pytest.mark.django_db
def test_what_fails_is_logged_once_a_change_tried_after_growing_pauses_and_told_when_it_lasts(
    moment: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    beside, tries = Upkeep(0, 1), []
    reason = ["one"]

    def work() -> int:
        tries.append(moment[0])
        if reason:
            raise ValueError(reason[0])
        return 7

    def turns(seconds: int) -> list[int]:
        answers = []
        for _ in range(seconds):
            answers.append(beside.attempt("fold", work, 0))
            moment[0] += 1
        return answers

    with caplog.at_level(logging.WARNING, upkeep.logger.name):
        assert set(turns(1000)) == {0}
        gaps = np.diff(tries).tolist()
        assert gaps[:8] == [1, 2, 4, 8, 16, 32, 64, 128]
        assert max(gaps) <= 300
        assert [record.message for record in caplog.records] == ["fold of shard 0 of the drain fails: ValueError: one"]
        assert rows(FAILING) == [("fold", "ValueError: one")]
        reason[0] = "two"
        turns(300)
        assert rows(FAILING) == [("fold", "ValueError: two")]
        reason.clear()
        assert turns(300)[-1] == 7
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR", "WARNING"]
    assert value("SELECT count(*) FROM usage_upkeep") == 0, "nobody was told of it"


@pytest.mark.django_db
def test_what_passes_by_itself_is_not_told(moment: list[float]) -> None:
    beside, errors = Upkeep(0, 1), [OperationalError("a deadlock")] * 2

    def work() -> None:
        if errors:
            raise errors.pop()

    for _ in range(5):
        beside.attempt("fold", work, None)
        moment[0] += 10
        assert rows(FAILING) == []


@pytest.mark.django_db
def test_it_is_told_once_and_once_that_it_succeeds_again_across_starts(moment: list[float]) -> None:
    def fails() -> None:
        raise PartlyDone("chunk 7 is left out")

    told = len(trail("usage.upkeep_failing")), len(trail("usage.upkeep_recovered"))
    Upkeep(0, 1).attempt("merge", fails, None)
    Upkeep(1, 2).attempt("figures", fails, None)
    for _ in range(2):
        watch_drain()
    names = {(data["shard"], data["work"], data["reason"]) for data in published("usage.upkeep_failing")}
    assert names == {(0, "merge", "chunk 7 is left out"), (1, "figures", "chunk 7 is left out")}
    assert len(published("usage.upkeep_failing")) == 2
    assert scrape()['mindweave_usage_upkeep_failing{shard="0",work="merge"}'] == 1
    # The next start knows that it failed, and that there is no second shard any more.
    beside = Upkeep(0, 1)
    beside.begin()
    beside.attempt("merge", lambda: None, None)
    watch_drain()
    assert {(data["shard"], data["work"]) for data in published("usage.upkeep_recovered")} == {
        (0, "merge"),
        (1, "figures"),
    }
    assert value("SELECT count(*) FROM usage_upkeep") == 0
    assert (len(trail("usage.upkeep_failing")), len(trail("usage.upkeep_recovered"))) == (told[0] + 2, told[1] + 2)


def test_two_processes_on_the_same_slots_end_the_drain() -> None:
    def fails() -> None:
        raise MissingSegmentError("gone")

    with pytest.raises(MissingSegmentError):
        Upkeep(0, 1).attempt("merge_ids_open", fails, None)


def test_those_that_fail_alone_are_found_and_the_others_done() -> None:
    done: list[int] = []

    def work(some: Any) -> None:
        if {3, 11} & set(some):
            raise ValueError(f"{len(some)} of them")
        done.extend(some)

    assert apart(range(16), work) == {3: "ValueError: 1 of them", 11: "ValueError: 1 of them"}
    assert sorted([*done, 3, 11]) == list(range(16))
    assert apart([], work) == {}


def test_where_it_is_not_for_them_nothing_is_left_out() -> None:
    def fails(_: Any) -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        apart(range(1000), fails)

    def away(_: Any) -> None:
        raise OperationalError from upkeep.psycopg.OperationalError("away")

    with pytest.raises(OperationalError):
        apart([1], away)


def test_what_is_left_out_is_tried_again_after_growing_times(moment: list[float]) -> None:
    left: LeftOut[int] = LeftOut()
    rests = []
    for _ in range(8):
        left.add({5: "why"})
        with pytest.raises(PartlyDone, match="chunk 5 is left out: why"):
            left.say("chunk")
        start = moment[0]
        while left.now():
            moment[0] += 60
        rests.append(moment[0] - start)
    assert rests == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    left.say("chunk")


# ---------------------------------------------------------------------------------------------- the works
def test_an_organisation_that_cannot_be_folded_is_left_out_and_counts_all_the_same(worlds: list[World]) -> None:
    for world in worlds:
        send(world, 1, 2)
    rows("UPDATE usage_org SET timezone = 'Nowhere/Land' WHERE org_id = %s RETURNING 1", worlds[1].org_id)
    keep = keeper.Keeper(Event(), Upkeep(0, 1))
    with clock.freeze(NOON + timedelta(hours=1)):
        keep.turn(busy=False)
    assert rows("SELECT org, sum(events) FROM usage_rollup_quarter GROUP BY 1 ORDER BY 1") == [
        (number(worlds[0]), 2),
        (number(worlds[2]), 2),
    ]
    # Nothing of it is in one table and not in another.
    assert rows("SELECT DISTINCT org, sum(events) FROM usage_delta GROUP BY org") == [(number(worlds[1]), 2)]
    for table in ("usage_rollup_minute", *fold.DAY_TABLES):
        assert value(f"SELECT sum(events) FROM {table}") == 4, table
    ((work, reason),) = rows(FAILING)
    assert (work, reason.startswith(f"organisation {number(worlds[1])} is left out: DataError")) == ("fold", True)
    # The cause is gone: it is folded when its time comes.
    rows("UPDATE usage_org SET timezone = 'UTC' RETURNING 1")
    keep._due.clear()
    keep._folded = None
    keep._unfolded = LeftOut()
    with clock.freeze(NOON + timedelta(hours=1)):
        keep.turn(busy=False)
    assert value("SELECT sum(events) FROM usage_rollup_quarter") == 6
    assert rows(FAILING) == []


def test_a_broken_histogram_is_not_tightened_and_loses_nothing(
    worlds: list[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "_LONG_HISTOGRAM", 8)
    for world in worlds:
        send(world, 1, latency_ms=50)
    rows(f"INSERT INTO usage_delta_pack SELECT d.* FROM usage_delta_pack d, generate_series(1, {fold.FEW}) RETURNING 1")
    rows("UPDATE usage_delta_pack SET latency_hist[1] = latency_hist[1] || '\\x01' WHERE org = %s RETURNING 1",
         number(worlds[1]))  # fmt: skip
    with clock.freeze(NOON + timedelta(minutes=3)):
        keep = keeper.Keeper(Event(), Upkeep(0, 1))
        keep.turn(busy=False)
    assert dict(rows("SELECT org, count(*) FROM usage_delta GROUP BY org")) == {
        number(worlds[0]): 1, number(worlds[1]): fold.FEW + 1, number(worlds[2]): 1,
    }  # fmt: skip
    assert value("SELECT sum(events) FROM usage_delta") == 3 * (fold.FEW + 1)
    ((work, reason),) = rows(FAILING)
    assert (work, f"organisation {number(worlds[1])} is left out" in reason) == ("tighten", True)


def test_sessions_that_cannot_be_added_to_are_left_out(worlds: list[World]) -> None:
    for world in worlds:
        send(world, 1, session_id="s")
    rows("UPDATE usage_session_delta_pack SET last_at = '{infinity}', started_at = '{-infinity}',"
         " events = '{2147483647}' WHERE org = %s RETURNING 1", number(worlds[1]))  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE usage_session ADD CONSTRAINT known CHECK (isfinite(last_at)) NOT VALID")
    left: LeftOut[int] = LeftOut()
    assert fold.fold_sessions(left_out=left) == 2
    assert left.now() == [number(worlds[1])]
    assert rows("SELECT org FROM usage_session_delta") == [(number(worlds[1]),)]
    assert value("SELECT count(*) FROM usage_session") == 2
    assert fold.fold_sessions(left_out=left) == 0


@pytest.mark.parametrize("broken", ["texts = '\\x00'", "facts = substring(facts FROM 1 FOR 20)", "events = events + 1"])
def test_a_chunk_that_cannot_be_read_is_left_as_it_is_and_the_others_are_merged(
    world: World, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.setattr(merge, "TOGETHER", 4)
    for at in range(8):
        send(world, at)
    culprit = value("SELECT id FROM usage_chunk ORDER BY id OFFSET 3 LIMIT 1")
    rows(f"UPDATE usage_chunk SET {broken} WHERE id = {culprit} RETURNING 1")
    before = rows("SELECT * FROM usage_chunk WHERE id = %s", culprit)
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it is
        merge.merge_chunks()
    assert value("SELECT count(*) FROM usage_chunk") == 8
    keep = keeper.Keeper(Event(), Upkeep(0, 1))
    keep._settled = 1 << 62
    keep.turn(busy=False)
    assert rows("SELECT * FROM usage_chunk WHERE id = %s", culprit) == before
    assert rows("SELECT events FROM usage_chunk WHERE id <> %s", culprit) == [(7,)]
    ((work, reason),) = rows(FAILING)
    assert (work, f"chunk {culprit} is left out: " in reason) == ("merge", True)


def test_a_summary_that_cannot_be_told_waits_and_the_others_are_told(worlds: list[World]) -> None:
    drainer = Drainer(range(SLOTS))
    drainer.load()
    for world in [*worlds, *worlds]:
        assert ingest(key=world.key, events=[typed()]).accepted == 1
        assert drainer.step() == 1
    culprit = value("SELECT min(id) FROM usage_summary WHERE org_id = %s", worlds[1].org_id)
    rows("UPDATE usage_summary SET data = data - 'events' WHERE id = %s RETURNING 1", culprit)
    left: LeftOut[int] = LeftOut()
    announce(left)
    assert left.now() == [culprit]
    assert rows("SELECT id FROM usage_summary") == [(culprit,)]
    assert sum(data["events"] for data in published("usage.batch_ingested")) == 5
    assert announce(left) == 0


# ---------------------------------------------------------------------------------------------- counted ids
@pytest.fixture
def index(db: None, monkeypatch: pytest.MonkeyPatch) -> DedupeIndex:
    monkeypatch.setattr("apps.usage.drain.choosing.TOGETHER", 2)
    monkeypatch.setattr("apps.usage.drain.compacting.PIECE", 500)
    return index_of(1000)


@pytest.mark.parametrize("at", [0, 2], ids=["first piece", "third piece"])
def test_a_merge_of_ids_that_fails_leaves_no_piece_and_every_id_is_known(
    index: DedupeIndex, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    rng = np.random.default_rng(4)
    flushes = [keys(rng, 1000) for _ in range(4)]
    for flush in flushes:
        assert take(index, *flush, 1000).all()
    before = rows("SELECT id FROM usage_id_segment ORDER BY id")
    written = [0]
    insert = insert_segment

    def failing(*args: Any, **options: Any) -> int:
        written[0] += 1
        row = insert(*args, **options)
        if written[0] > at:
            raise ValueError("no")
        return row

    with monkeypatch.context() as patched:
        patched.setattr("apps.usage.drain.compacting.insert_segment", failing)
        for _ in range(3):
            with pytest.raises(ValueError, match="no"):
                merge_all(index)
            written[0] = 0
            for flush in flushes:
                assert not take(index, *flush, 1000).any()
    merge_all(index)
    # What was abandoned is gone, and what it was made of as well by now.
    assert value("SELECT sum(ids) FROM usage_id_segment") == 4000
    assert not set(rows("SELECT id FROM usage_id_segment")) & set(before)
    for again in (index, index_of(1000)):
        for flush in flushes:
            assert not take(again, *flush, 1000).any()


def test_rows_that_cannot_be_taken_away_are_taken_away_later(
    index: DedupeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(5)
    for _ in range(2):
        take(index, *keys(rng, 100), 1000)
    with monkeypatch.context() as patched:
        patched.setattr("apps.usage.drain.dedupe.delete_segments", lambda rows: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            merge_all(index)
    assert value("SELECT sum(ids) FROM usage_id_segment") == 400
    merge_all(index)
    assert value("SELECT sum(ids) FROM usage_id_segment") == 200


# ---------------------------------------------------------------------------------------------- partitions
@pytest.mark.django_db
def test_rows_astray_move_into_partitions_in_the_drains_own_way(world: World) -> None:
    day, far = clock.now().date() + timedelta(days=8), clock.now().date() + timedelta(days=200)
    send(world, 1)
    for table, column, at in (
        ("usage_chunk", "drop_on", day), ("usage_chunk", "drop_on", far),
        ("usage_rollup_minute", "bucket", NOON.replace(hour=0)),
    ):  # fmt: skip
        if table == "usage_rollup_minute":
            fold.fold_rollups(before=clock.now())
        lose_partition(table, at if column == "drop_on" else at.date(), column)
    assert {(name, astray > 0) for name, astray in strays().items()} == {
        ("usage_chunk_default", True), ("usage_rollup_minute_default", True),
    }  # fmt: skip
    keeper.Keeper(Event(), Upkeep(0, 1)).turn(busy=False)
    assert not any(strays().values())
    assert value("SELECT sum(events) FROM usage_rollup_minute") == 1
    assert value("SELECT sum(events) FROM usage_chunk") == 3


def lose_partition(table: str, day: Any, column: str) -> None:
    """Rows of a day lie in the default partition, since there was no other."""
    name = f"{table}_p{day:%Y%m%d}"
    with connection.cursor() as cursor:
        if table == "usage_rollup_minute":
            cursor.execute(f"ALTER TABLE {table} DETACH PARTITION {name}; INSERT INTO {table} SELECT * FROM {name};"
                           f" DROP TABLE {name}")  # fmt: skip
            return
        cursor.execute(f"DROP TABLE IF EXISTS {name}")
        cursor.execute(
            "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute WHERE attrelid = 'usage_chunk'::regclass"
            " AND attnum > 0 AND NOT attisdropped AND attname NOT IN ('id', 'drop_on')"
        )
        (columns,) = cursor.fetchone()
        cursor.execute(
            f"INSERT INTO usage_chunk ({columns}, drop_on) SELECT {columns}, %s FROM usage_chunk"
            " ORDER BY id LIMIT 1", [day]
        )  # fmt: skip


def strays() -> dict[str, int]:
    return {name: count for name, count in stray_counts().items() if "chunk" in name or "minute" in name}


# ---------------------------------------------------------------------------------------------- real processes
@pytest.fixture
def poisoned(committed: None) -> World:
    """Deltas that cannot be folded, chunks that cannot be merged, a summary that cannot be told."""
    world, other = make_world("poisoned"), make_world("healthy")
    drainer = Drainer(range(SLOTS))
    drainer.load()
    for at in range(2 * merge.TOGETHER):
        stamp = (NOON + timedelta(minutes=at)).isoformat()
        for one in (world, other):
            assert ingest(key=one.key, events=[typed(timestamp=stamp)]).accepted == 1
            assert drainer.step() == 1
    rows("UPDATE usage_org SET timezone = 'Nowhere/Land' WHERE org_id = %s RETURNING 1", world.org_id)
    rows("UPDATE usage_chunk SET texts = '\\x00' WHERE id = (SELECT min(id) FROM usage_chunk) RETURNING 1")
    rows("UPDATE usage_summary SET data = '[]' WHERE id = (SELECT min(id) FROM usage_summary) RETURNING 1")
    return world


@pytest.mark.processes
def test_the_drain_goes_on_counting_in_the_same_process(poisoned: World) -> None:
    with draining(1) as drain:
        first = drain().pid
        wait_for(lambda: len(rows(FAILING)) >= 2, what="what fails", seconds=60)
        assert ingest(key=poisoned.key, events=[typed() for _ in range(5)]).accepted == 5
        wait_for(lambda: store.inbox_state().batches == 0, what="an empty inbox")
        assert drain().pid == first
        assert drain().poll() is None
    # And it stays said.
    assert {work for work, _ in rows(FAILING)} >= {"fold", "announce"}
    assert value("SELECT sum(events) FROM usage_chunk") == 4 * merge.TOGETHER + 5
    assert value("SELECT sum(events) FROM usage_rollup_quarter") == 2 * merge.TOGETHER
