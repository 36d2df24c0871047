"""Small requests share a commit; each still waits for its own."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from django.db import connection

from apps.usage.ingest.committer import GroupCommitter
from apps.usage.ingest.inbox import InboxRow, insert, slot_of
from apps.usage.services import ingest
from tests.usage.engine.conftest import make_world, typed, value


def row(org_id: UUID, frames: bytes) -> InboxRow:
    return InboxRow(org_id, datetime.now(UTC), 1, frames)


def test_what_gathers_during_a_commit_goes_into_the_next_one() -> None:
    commits: list[list[InboxRow]] = []
    first_is_in, go_on = threading.Event(), threading.Event()

    def write(rows: list[InboxRow]) -> None:
        commits.append(rows)
        first_is_in.set()
        assert go_on.wait(5)

    committer = GroupCommitter(write)
    orgs = [uuid4(), uuid4()]
    threads = [threading.Thread(target=committer.commit, args=([row(orgs[0], b"a")],))]
    threads[0].start()
    assert first_is_in.wait(5)
    for n in range(10):
        threads.append(threading.Thread(target=committer.commit, args=([row(orgs[n % 2], bytes([n]))],)))
        threads[-1].start()
    while len(committer._turns._waiting) < 10:
        pass
    go_on.set()
    for thread in threads:
        thread.join(5)
    assert [len(rows) for rows in commits] == [1, 2]
    assert sorted(b"".join(r.frames for r in commits[1])) == list(range(10))
    assert sorted(r.events for r in commits[1]) == [5, 5]


def test_a_commit_that_fails_is_told_to_all_that_waited_for_it_and_to_no_other() -> None:
    fail = True

    def write(rows: list[InboxRow]) -> None:
        if fail:
            raise RuntimeError("no")

    committer = GroupCommitter(write)
    with pytest.raises(RuntimeError, match="no"):
        committer.commit([row(uuid4(), b"")])
    fail = False
    committer.commit([row(uuid4(), b"")])


def test_many_single_events_at_once_are_each_committed(committed: None) -> None:
    world = make_world("busy")

    def send(_: int) -> None:
        try:
            for _ in range(10):
                ingest(key=world.key, events=[typed()])
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(send, range(8)))
    assert value("SELECT sum(events) FROM usage_inbox") == 80
    assert value("SELECT count(*) FROM usage_inbox") <= 80


def test_whoever_waits_leads_when_its_turn_comes_and_a_failure_ahead_is_not_its_own() -> None:
    first_is_in, go_on = threading.Event(), threading.Event()
    commits: list[int] = []

    def write(rows: list[InboxRow]) -> None:
        commits.append(sum(r.events for r in rows))
        if not go_on.is_set():
            first_is_in.set()
            assert go_on.wait(5)
            raise RuntimeError("no")

    committer = GroupCommitter(write)
    committer._turns.most = 2
    outcomes: list[str] = []

    def send() -> None:
        try:
            committer.commit([row(uuid4(), b"")])
            outcomes.append("committed")
        except RuntimeError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=send) for _ in range(6)]
    threads[0].start()
    assert first_is_in.wait(5)
    for thread in threads[1:]:
        thread.start()
    while len(committer._turns._waiting) < 5:
        pass
    go_on.set()
    for thread in threads:
        thread.join(5)
    assert (sorted(outcomes), commits) == (["committed"] * 5 + ["no"], [1, 2, 2, 1])


def test_rows_of_several_organisations_are_written_as_they_are(committed: None) -> None:
    rows = [row(uuid4(), bytes([n]) * n) for n in range(1, 4)]
    insert(rows)
    with connection.cursor() as cursor:
        cursor.execute("SELECT slot, org_id, received_at, events, frames FROM usage_inbox ORDER BY id")
        found = [(slot, org, at, events, bytes(frames)) for slot, org, at, events, frames in cursor.fetchall()]
    assert found == [(slot_of(r.org_id), r.org_id, r.received_at, r.events, r.frames) for r in rows]
