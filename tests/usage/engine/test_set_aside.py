"""A batch that cannot be counted is set aside whole; the others go on."""

import os
import signal
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError, connection

from apps.audit.keys import close_connection
from apps.core import clock
from apps.usage import store
from apps.usage.drain import set_aside, trials
from apps.usage.drain.dims import Dimensions
from apps.usage.drain.flush import Flush, InboxItem, prepare
from apps.usage.drain.set_aside import put_back, starts_in_vain
from apps.usage.drain.shard import Drainer, drain_now
from apps.usage.drain.upkeep import is_the_servers
from apps.usage.ingest.inbox import SLOTS, InboxRow, insert, slot_of
from apps.usage.services import ingest
from tests.cast import published, trail
from tests.usage.engine.conftest import World, deadline, make_world, rows, typed, value
from tests.usage.engine.test_processes import draining
from tests.waiting import wait_for

ASIDE = "SELECT org_id, events, reason FROM usage_set_aside ORDER BY id"


def poison(org_id: UUID, *, events: int = 3) -> bytes:
    """A row whose frame ends early, which no sender can send."""
    frames = b"\xff\x00\x00\x00\x10\x00\x00\x00nothing like a frame"
    insert([InboxRow(org_id, clock.now(), events, frames)])
    return frames


def started(times: int = 3) -> tuple[Drainer, list[list[InboxItem]]]:
    """A drain that was started so often, and the groups that the last start has to count by themselves."""
    for _ in range(times):
        drainer = Drainer(range(SLOTS))
        groups = drainer.try_first()
    drainer.load()
    return drainer, groups


@pytest.fixture
def worlds(committed: None) -> list[World]:
    return [make_world(f"org{number}") for number in range(3)]


def entries(action: str, batches: Iterable[int]) -> int:
    """How many entries of the audit trail there are about these batches; it is not emptied between tests."""
    ids = {str(batch) for batch in batches}
    return sum(entry.target_id in ids for entry in trail(action))


def send(world: World, events: int = 10) -> None:
    assert ingest(key=world.key, events=[typed() for _ in range(events)]).accepted == events


def test_starts_are_in_vain_where_the_oldest_row_stays(worlds: list[World]) -> None:
    slots = range(SLOTS)
    assert starts_in_vain(slots) == 0
    send(worlds[0])
    assert [starts_in_vain(slots) for _ in range(3)] == [0, 1, 2]
    send(worlds[1])
    assert starts_in_vain(slots) == 3, "younger rows do not matter"
    drain_now()
    send(worlds[0])
    assert starts_in_vain(slots) == 0


def test_rows_that_fail_are_set_aside_and_the_others_count(worlds: list[World]) -> None:
    frames = []
    for turn in range(9):
        send(worlds[turn % 3])
        if turn in (0, 4, 8):
            frames.append(poison(worlds[turn % 3].org_id))
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it is
        drain_now()
    drainer, groups = started(2)
    assert (groups, rows(ASIDE)) == ([], []), "two starts may fail for any reason"
    drainer, groups = started(1)
    assert groups == []
    while drainer.step():
        pass
    assert value("SELECT sum(events) FROM usage_chunk") == 90
    kept = rows("SELECT org_id, slot, events, frames FROM usage_set_aside ORDER BY id")
    wanted = [worlds[turn % 3].org_id for turn in (0, 4, 8)]
    assert [(org, slot, events, bytes(data)) for org, slot, events, data in kept] == [
        (org, slot_of(org), 3, data) for org, data in zip(wanted, frames, strict=True)
    ]
    told = published("usage.batch_set_aside")
    assert [(data["org_id"], data["events"]) for data in told] == [(str(org), 3) for org in wanted]
    assert entries("usage.batch_set_aside", (data["batch"] for data in told)) == 3
    assert {(entry.actor_kind, entry.actor_label) for entry in trail("usage.batch_set_aside")} == {("system", "drain")}
    # What an organisation acknowledged and is not counted holds its `as_of` back.
    assert store.as_of(worlds[0].org_id) == value("SELECT min(received_at) FROM usage_set_aside")
    # The trials took nothing along: what they wrote was taken back.
    assert value("SELECT count(*) FROM usage_org") == 3


def test_nothing_is_tried_while_starts_get_on(worlds: list[World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_aside, "Trials", None)
    for _ in range(5):
        send(worlds[0])
        drainer, _ = started(1)
        drainer.step()


@pytest.mark.parametrize("how", ["kill", "spin", "exit"])
def test_a_row_that_ends_the_process_by_whatever_means_ends_the_trial_alone(
    worlds: list[World], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    for world in worlds:
        send(world)
    culprit = worlds[1].org_id

    def deadly(items: list[InboxItem], dims: Dimensions, index: Any) -> Flush:
        if any(item.org_id == culprit for item in items):
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "exit":
                os._exit(7)
            while True:
                pass
        return prepare(items, dims, index)

    monkeypatch.setattr(trials, "prepare", deadly)
    monkeypatch.setattr(trials, "CPU_SECONDS", 1)
    drainer, _ = started()
    while drainer.step():
        pass
    word = {"kill": "SIGKILL", "spin": "SIGXCPU", "exit": "exit code 7"}[how]
    assert rows(ASIDE) == [(culprit, 10, f"the process that counted it was ended ({word})")]
    assert value("SELECT sum(events) FROM usage_chunk") == 20


def test_rows_that_fail_only_together_are_counted_apart(worlds: list[World], monkeypatch: pytest.MonkeyPatch) -> None:
    for world in worlds:
        send(world)

    def quarrelsome(items: list[InboxItem], dims: Dimensions, index: Any) -> Flush:
        if len(items) > 2:
            raise ValueError("too many cooks")
        return prepare(items, dims, index)

    monkeypatch.setattr(trials, "prepare", quarrelsome)
    drainer, groups = started()
    assert sorted(len(group) for group in groups) == [1, 2]
    for group in groups:
        drainer.write(quarrelsome(group, drainer.dims, drainer.index))
    assert (value("SELECT sum(events) FROM usage_chunk"), rows(ASIDE)) == (30, [])


@pytest.mark.parametrize("error", [OperationalError("away"), RuntimeError("a bug")], ids=["database", "any row"])
def test_where_it_is_not_the_rows_nothing_is_set_aside(
    worlds: list[World], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    send(worlds[0])

    def failing(*_: Any) -> Flush:
        raise error

    monkeypatch.setattr(trials, "prepare", failing)
    _, groups = started()
    assert (groups, rows(ASIDE)) == ([], [])
    assert value("SELECT count(*) FROM usage_inbox") == 1


def test_what_was_set_aside_is_counted_once_it_can_be(worlds: list[World], monkeypatch: pytest.MonkeyPatch) -> None:
    culprit = worlds[1].org_id
    send(worlds[1])
    send(worlds[2])

    def failing(items: list[InboxItem], dims: Dimensions, index: Any) -> Flush:
        if any(item.org_id == culprit for item in items):
            raise ValueError("not yet")
        return prepare(items, dims, index)

    with monkeypatch.context() as patched:
        patched.setattr(trials, "prepare", failing)
        started()
    (batch,) = rows("SELECT id, received_at FROM usage_set_aside")
    assert put_back(ids=[batch[0], batch[0] + 1]) == 1
    assert rows("SELECT org_id, received_at FROM usage_inbox WHERE events = 10 AND org_id = %s", culprit) == [
        (culprit, batch[1])
    ]
    assert rows(ASIDE) == []
    assert put_back(ids=[batch[0]]) == 0
    drain_now()
    assert value("SELECT sum(events) FROM usage_chunk") == 20
    assert entries("usage.batch_put_back", [batch[0]]) == 1


def test_a_limit_of_the_server_that_a_row_is_beyond_is_the_rows_fault() -> None:
    def raised(code: str | None) -> bool:
        cause = trials.psycopg.OperationalError("x")
        cause.sqlstate = code
        error = OperationalError("x")
        error.__cause__ = cause
        return is_the_servers(error)

    assert [raised(code) for code in (None, "08006", "53100", "57P01", "40P01")] == [True] * 5
    assert not raised("54000"), "an index row that is too long"
    assert not is_the_servers(ValueError())


@pytest.mark.processes
def test_a_row_on_which_postgresql_itself_ends_is_set_aside_after_some_ends(
    worlds: list[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    for world in worlds:
        send(world)
    culprit, own = worlds[1].org_id, os.getpid()

    def deadly(items: list[InboxItem], dims: Dimensions, index: Any) -> Flush:
        if any(item.org_id == culprit for item in items):
            assert os.getpid() != own
            os.kill(value("SELECT pg_backend_pid()"), signal.SIGKILL)
        return prepare(items, dims, index)

    monkeypatch.setattr(trials, "prepare", deadly)
    started(2)
    marks = []
    for _ in range(3):
        # All rows together, and then twice that one alone.
        with pytest.raises(trials.ServerEnded):
            started(1)
        wait_for(is_back, what="PostgreSQL")
        marks.append(rows("SELECT batch, begun FROM usage_drain_trial ORDER BY batch"))
        assert rows(ASIDE) == []
    (batch,) = rows("SELECT id FROM usage_inbox WHERE org_id = %s", culprit)[0]
    assert marks == [[(0, 1)], [(0, 1), (batch, 1)], [(0, 1), (batch, 2)]]
    drainer, groups = started(1)
    ((org, events, reason),) = rows(ASIDE)
    assert (org, events) == (culprit, 10)
    assert reason == "PostgreSQL ended each of the 2 times that it was tried by itself"
    assert value("SELECT count(*) FROM usage_drain_trial") == 0
    assert [len(group) for group in groups] == [1, 1]
    for group in groups:
        drainer.write(prepare(group, drainer.dims, drainer.index))
    assert (value("SELECT sum(events) FROM usage_chunk"), value("SELECT count(*) FROM usage_inbox")) == (20, 0)


def is_back() -> bool:
    try:
        connection.close()
        close_connection()
        return bool(value("SELECT 1"))
    except OperationalError:
        return False


def test_a_server_that_says_why_it_goes_away_has_not_ended_on_a_row(
    worlds: list[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    send(worlds[0])

    def terminated(*_: Any) -> Flush:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        raise AssertionError

    monkeypatch.setattr(trials, "prepare", terminated)
    for _ in range(6):
        started(1)
    assert (rows(ASIDE), rows("SELECT * FROM usage_drain_trial")) == ([], [])


def test_marks_of_trials_are_forgotten_once_starts_get_on(worlds: list[World]) -> None:
    rows("INSERT INTO usage_drain_trial VALUES (3, 4711, 2) RETURNING 1")
    started(1)
    assert rows("SELECT * FROM usage_drain_trial") == []


@pytest.mark.processes
def test_a_drain_that_a_batch_ends_and_that_is_killed_goes_on_with_the_others(worlds: list[World]) -> None:
    for world in worlds:
        send(world)
    frames = poison(worlds[0].org_id)
    with draining(1) as drain:
        for world in worlds:
            send(world)
        kills = 0
        end = deadline(60)
        while value("SELECT count(*) FROM usage_inbox"):
            assert not end(), "the drain does not go on"
            # Now and then in the midst of whatever it does.
            if kills < 3 and value("SELECT coalesce(max(starts), 0) FROM usage_drain_start") > kills:
                kills += 1
                drain().kill()
    assert kills
    assert value("SELECT sum(events) FROM usage_chunk") == 60
    assert value("SELECT sum(events) FROM usage_delta") == 60
    ((batch, data),) = rows("SELECT id, frames FROM usage_set_aside")
    assert bytes(data) == frames
    assert len(published("usage.batch_set_aside")) == entries("usage.batch_set_aside", [batch]) == 1
