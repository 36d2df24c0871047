"""When deltas are tightened and folded, and that readers never notice."""

from datetime import UTC, datetime, timedelta
from threading import Event

import pytest
from django.db import connection

from apps.core import clock
from apps.usage import store
from apps.usage.drain import fold, keeper
from apps.usage.drain.shard import drain_now
from apps.usage.drain.upkeep import Upkeep
from apps.usage.services import ingest
from tests.usage.engine.conftest import World, make_world, rows, typed, value

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
GRAINS: tuple[store.Grain, ...] = ("minute", "quarter", "day")


def count_at(world: World, *minutes: float) -> None:
    events = [typed(timestamp=(NOON + timedelta(minutes=at)).isoformat(), latency_ms=100) for at in minutes]
    assert ingest(key=world.key, events=events).accepted == len(minutes)
    drain_now()


def deltas() -> int:
    return int(value("SELECT count(*) FROM usage_delta"))


def sums(world: World) -> list[tuple[int, int, int]]:
    """What readers of each grain see of the day: events, nano-USD and bytes of latencies."""
    found = []
    for grain in GRAINS:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT sum(events), sum(cost_nano), sum(latency_count) FROM {store.rollup_sql(grain)} s",
                {
                    "org": store.org_number(world.org_id),
                    "start": NOON.date(),
                    "end": NOON.date() + timedelta(days=1),
                },
            )
            found.append(cursor.fetchone())
    return found


def many(times: int) -> None:
    """Each delta so many times more, as so many flushes would have left them."""
    rows(f"INSERT INTO usage_delta_pack SELECT d.* FROM usage_delta_pack d, generate_series(1, {times}) RETURNING 1")


def test_a_quarter_of_an_hour_is_folded_once_it_is_over(world: World) -> None:
    count_at(world, 1, 2, 14, 16)
    before = sums(world)
    with clock.freeze(NOON + timedelta(minutes=15, seconds=5)):
        keeper.Keeper(Event(), Upkeep(0, 1)).turn(busy=False)
    assert deltas() == 4
    with clock.freeze(NOON + timedelta(minutes=15, seconds=10)):
        keeper.Keeper(Event(), Upkeep(0, 1)).turn(busy=False)
    assert rows("SELECT bucket, events FROM usage_rollup_quarter") == [(NOON, 3)]
    assert value("SELECT count(*) FROM usage_rollup_minute") == 3
    assert deltas() == 1
    assert sums(world) == before


def test_a_late_event_is_folded_though_its_quarter_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_LATE_EVERY", 0.0)
    keep = keeper.Keeper(Event(), Upkeep(0, 1))
    with clock.freeze(NOON + timedelta(hours=1)):
        count_at(world, 1)
        keep.turn(busy=False)
        count_at(world, 1)
        keep._due.clear()
        keep.turn(busy=False)
    assert rows("SELECT sum(events) FROM usage_rollup_quarter") == [(2,)]
    assert deltas() == 0


def test_a_minute_of_many_deltas_is_tightened_to_one_row_a_key(world: World) -> None:
    count_at(world, 1, 2)
    many(fold.FEW)
    before = sums(world)
    with clock.freeze(NOON + timedelta(minutes=2, seconds=10)):
        keeper.Keeper(Event(), Upkeep(0, 1)).turn(busy=False)
    # The second minute is not over.
    assert rows("SELECT minute, count(*), sum(events) FROM usage_delta GROUP BY 1 ORDER BY 1") == [
        (NOON + timedelta(minutes=1), 1, fold.FEW + 1),
        (NOON + timedelta(minutes=2), fold.FEW + 1, fold.FEW + 1),
    ]
    assert sums(world) == before


def test_few_deltas_and_those_of_many_keys_are_left_as_they_are(world: World) -> None:
    count_at(world, 1)
    many(fold.FEW - 1)
    end = NOON + timedelta(minutes=5)
    assert fold.tighten_deltas(NOON, end) == 0
    rows("UPDATE usage_delta_pack p SET who = ARRAY[s.n] FROM (SELECT ctid, row_number() OVER () AS n"
         " FROM usage_delta_pack) s WHERE s.ctid = p.ctid RETURNING 1")  # fmt: skip
    assert fold.tighten_deltas(NOON, end, least=0) == 0
    many(3)
    assert fold.tighten_deltas(NOON, end, least=0) == 3 * fold.FEW


def test_a_minute_in_which_each_key_has_three_rows_is_left_to_the_fold(world: World) -> None:
    count_at(world, 1)
    many(2)
    end = NOON + timedelta(minutes=5)
    assert fold.tighten_deltas(NOON, end, least=0) == 0
    many(1)
    assert fold.tighten_deltas(NOON, end, least=0) == 5


def test_tightening_that_had_its_time_goes_on_with_other_organisations(world: World) -> None:
    other = make_world("other")
    for one in (world, other):
        count_at(one, 1)
    many(fold.FEW)
    before = sums(world), sums(other)
    minute = NOON + timedelta(minutes=1)
    assert fold.tighten_deltas(minute, minute + timedelta(minutes=1), limit=1, stop=lambda: True) == fold.FEW
    assert deltas() == fold.FEW + 2
    assert fold.tighten_deltas(minute, minute + timedelta(minutes=1), limit=1) == fold.FEW
    assert deltas() == 2
    assert (sums(world), sums(other)) == before


def test_what_takes_long_is_not_due_again_at_once_and_makes_way_for_events(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [1000.0]
    monkeypatch.setattr("apps.usage.drain.keeper.time.monotonic", lambda: moment[0])
    keep, ran = keeper.Keeper(Event(), Upkeep(0, 1)), []

    def works(at: float, *, busy: bool = False, done: bool = True) -> bool:
        """Whether the work, which takes two seconds, is done when it is looked at ``at`` seconds after the start."""

        def work() -> bool:
            moment[0] += 2
            ran.append(at)
            return done

        moment[0] = 1000 + at
        keep._at_its_pace("work", work, busy)
        return at in ran

    assert works(0)
    assert not works(41)
    assert works(42)
    assert not works(90, busy=True)
    # It does not come to an end now, so that it goes on soon, whatever comes in.
    assert works(144, busy=True, done=False)
    assert not works(146, busy=True)
    assert works(147, busy=True)
    # Now it did: it is due again at 189, and then waits for a minute.
    assert not works(248, busy=True)
    assert works(249, busy=True)


def test_pieces_of_work_are_followed_by_rests_while_events_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    moment, rests = [1000.0], []

    class Stop(Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            rests.append(timeout)
            moment[0] += timeout
            return False

    monkeypatch.setattr("apps.usage.drain.keeper.time.monotonic", lambda: moment[0])
    keep = keeper.Keeper(Stop(), Upkeep(0, 1))

    def work() -> bool:
        """Pieces of a second, as many as there is time for."""
        while True:
            moment[0] += 1
            if keep._pause():
                return False

    keep._at_its_pace("work", work, True)
    moment[0] += 60
    keep._at_its_pace("work", work, True)
    # It had five seconds; now it is behind.
    assert rests == [3.0]
    moment[0] += 1
    rests.clear()
    keep._at_its_pace("work", work, True)
    assert rests == [1.0, 1.0]
    moment[0] += 1
    rests.clear()
    keep._at_its_pace("work", work, False)
    assert rests == []


def test_a_fold_that_had_its_time_goes_on_where_it_stopped(world: World) -> None:
    other = make_world("other")
    for one in (world, other):
        count_at(one, 1, 2)
    asked: list[bool] = []

    def stop() -> bool:
        asked.append(True)
        return True

    before = sums(world), sums(other)
    later = NOON + timedelta(hours=1)
    assert fold.fold_rollups(limit=1, before=later, stop=stop) == 1
    assert (deltas(), len(asked)) == (3, 1)
    assert (sums(world), sums(other)) == before
    assert fold.fold_rollups(limit=1, before=later) == 3
    assert (sums(world), sums(other)) == before


def test_a_session_is_written_once_however_many_of_its_deltas_wait(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_world("other")
    for _ in range(3):
        for one in (world, other):
            ingest(key=one.key, events=[typed(timestamp=NOON.isoformat(), session_id=name) for name in ("a", "b")])
        drain_now()
    asked: list[int] = []

    def stop() -> bool:
        asked.append(int(value("SELECT coalesce(sum(events), 0) FROM usage_session")))
        return len(asked) == 1

    # Some deltas of one organisation, then the rest waits; the other's are next, since they came before what is left.
    assert fold.fold_sessions(limit=2, stop=stop) == 2
    assert fold.fold_sessions(limit=6, stop=stop) == 10
    assert asked == [2, 8, 8]
    assert rows("SELECT session_id, events FROM usage_session ORDER BY 1") == [("a", 3), ("a", 3), ("b", 3), ("b", 3)]
    assert value("SELECT count(*) FROM usage_session_delta_pack") == 0


def test_sessions_are_written_seldom_while_events_come_in_but_those_of_many_deltas(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_world("other")
    monkeypatch.setattr(fold, "FEW_SESSIONS", 2)
    moment = [1000.0]
    monkeypatch.setattr("apps.usage.drain.keeper.time.monotonic", lambda: moment[0])

    def count_sessions(one: World, *names: str) -> None:
        for name in names:
            ingest(key=one.key, events=[typed(timestamp=NOON.isoformat(), session_id=name)])
            drain_now()

    def waiting() -> list[int]:
        found = dict(rows("SELECT org, count(*) FROM usage_session_delta GROUP BY org"))
        return [found.get(store.org_number(one.org_id), 0) for one in (world, other)]

    keep = keeper.Keeper(Event(), Upkeep(0, 1))
    keep._end = float("inf")
    keep._sessions()
    count_sessions(world, "a", "b", "a")
    count_sessions(other, "c", "d")
    assert waiting() == [3, 2]
    moment[0] += keeper._SESSIONS_EVERY - 1
    keep.turn(busy=True)
    keep._end = float("inf")
    keep._sessions()
    assert waiting() == [0, 2]
    moment[0] += 1
    keep._sessions()
    assert waiting() == [0, 0]
    count_sessions(other, "c")
    moment[0] += keeper._LULL - 2
    keep._sessions()
    assert waiting() == [0, 1]
    moment[0] += 1
    keep._sessions()
    assert waiting() == [0, 0]
    count_sessions(other, "c")
    keep._sessions()
    assert waiting() == [0, 0]
    assert rows("SELECT session_id, events FROM usage_session ORDER BY 1") == [("a", 2), ("b", 1), ("c", 3), ("d", 1)]
