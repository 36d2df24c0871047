from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from apps.core import clock
from apps.core.errors import Conflict, NotFound
from apps.core.ids import uuid7
from apps.core.tenancy import system_scope
from apps.events import registry
from apps.events.models import DeadLetter, Delivery, SubscriptionState
from apps.events.queues import LONGEST_BACKOFF
from apps.events.services import (
    discard_dead_letters,
    pause_subscription,
    replay_dead_letters,
    resume_subscription,
)
from apps.events.transports import Outgoing, get_transport


@pytest.fixture
def written(db: None):
    """A table that handlers write to, to see what was kept and what rolled back."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE test_written (n int)")

    def write(n: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO test_written VALUES (%s)", [n])

    def read() -> list[int]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT n FROM test_written ORDER BY n")
            return [row[0] for row in cursor.fetchall()]

    write.read = read
    yield write
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE test_written")


def letters() -> list[DeadLetter]:
    with system_scope("the test looks at all"):
        return list(DeadLetter.objects.order_by("created_at"))


def exhaust(bus, moment=None, times: int = 10) -> None:
    """Deliver again and again, each time after the longest back-off."""
    moment = moment or clock.now()
    for _ in range(times):
        moment += 2 * LONGEST_BACKOFF
        with clock.freeze(moment):
            bus.deliver()


def test_what_a_failing_handler_wrote_is_rolled_back_and_its_neighbours_is_kept(bus, written) -> None:
    def handler(event) -> None:
        written(event.data["n"])
        if event.data["n"] == 2:
            raise RuntimeError

    bus.subscribe(handler)
    for n in (1, 2, 3):
        bus.publish(n)
    bus.deliver()
    assert written.read() == [1, 3]
    assert bus.waiting() == [(2, "retrying")]


def test_a_handler_that_breaks_its_transaction_is_a_failure_like_any_other(bus, written) -> None:
    def handler(event) -> None:
        written(event.data["n"])
        if event.data["n"] == 2:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1/0")

    bus.subscribe(handler)
    for n in (1, 2, 3):
        bus.publish(n)
    bus.deliver()
    assert written.read() == [1, 3]
    [delivery] = Delivery.objects.all()
    assert "division by zero" in delivery.error


@pytest.mark.django_db(transaction=True)
def test_a_handler_whose_writes_fail_only_at_the_commit_is_retried_alone(bus) -> None:
    """Foreign keys of Django are checked at the commit."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE test_parent (id int PRIMARY KEY); CREATE TABLE test_child (parent int"
            " REFERENCES test_parent DEFERRABLE INITIALLY DEFERRED); INSERT INTO test_parent VALUES (1)"
        )
    try:

        def handler(event) -> None:
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO test_child VALUES (%s)", [event.data["n"]])

        bus.subscribe(handler)
        for n in (1, 2, 1):
            bus.publish(n)
        bus.deliver()
        assert bus.waiting() == [(2, "retrying")]
        with connection.cursor() as cursor:
            cursor.execute("SELECT parent FROM test_child")
            assert cursor.fetchall() == [(1,), (1,)]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE test_child; DROP TABLE test_parent")


def test_a_retry_is_not_made_before_its_time(bus) -> None:
    tries = []

    def handler(event) -> None:
        tries.append(event.data["n"])
        raise RuntimeError

    bus.subscribe(handler)
    moment = clock.now()
    with clock.freeze(moment):
        bus.publish(1)
        bus.deliver()
        begun = len(tries)
        bus.deliver()
        assert len(tries) == begun
    [delivery] = Delivery.objects.all()
    assert timedelta(seconds=1) <= delivery.due_at - moment <= timedelta(seconds=3)
    with clock.freeze(delivery.due_at):
        bus.deliver()
    assert len(tries) == begun + 1


def test_after_the_last_attempt_an_event_is_a_dead_letter_and_its_key_goes_on(bus, org) -> None:
    heard = []

    def handler(event) -> None:
        if event.data["n"] == 1:
            raise RuntimeError("never")
        heard.append(event.data["n"])

    bus.subscribe(handler, max_attempts=3)
    event_id = bus.publish(1, org_id=org)
    bus.publish(2, org_id=org)
    bus.deliver()
    exhaust(bus, times=1)
    assert (letters(), heard) == ([], [])
    exhaust(bus, clock.now() + timedelta(days=1), times=2)
    assert heard == [2]
    [letter] = letters()
    assert (letter.event_id, letter.attempts, letter.status, letter.org_id) == (event_id, 3, "open", org)
    assert "RuntimeError: never" in letter.error
    assert bus.waiting() == []


def _one_dead_letter(bus, org, fails: list[bool]) -> DeadLetter:
    def handler(event) -> None:
        if fails[0]:
            raise RuntimeError
        fails.append(True)

    bus.subscribe(handler, max_attempts=1)
    bus.publish(1, org_id=org)
    bus.deliver()
    [letter] = letters()
    return letter


def test_a_replayed_dead_letter_is_delivered_again_once(bus, org) -> None:
    fails = [True]
    letter = _one_dead_letter(bus, org, fails)
    fails[0] = False
    assert replay_dead_letters(ids=[letter.pk], by="staff@example.com", reason="fixed") == 1
    assert replay_dead_letters(ids=[letter.pk], by="staff@example.com") == 0
    bus.deliver()
    assert fails == [False, True]
    [letter] = letters()
    assert (letter.status, letter.resolved_by) == ("replayed", "staff@example.com")


def test_replaying_is_audited_and_stands_or_falls_with_its_entry(bus, org, monkeypatch) -> None:
    from apps.events import ports

    letter = _one_dead_letter(bus, org, [True])
    recorded = []
    monkeypatch.setattr(ports.audit, "_impl", lambda **entry: recorded.append(entry))
    replay_dead_letters(ids=[letter.pk], by="x", reason="fixed")
    [entry] = recorded
    assert (entry["action"], entry["org_id"], entry["reason"]) == ("bus.dead_letter_replayed", org, "fixed")

    def refuse(**entry) -> None:
        raise IntegrityError

    with system_scope("the test"):
        DeadLetter.objects.filter(pk=letter.pk).update(status="open")
    Delivery.objects.all().delete()
    monkeypatch.setattr(ports.audit, "_impl", refuse)
    with pytest.raises(IntegrityError), transaction.atomic():
        replay_dead_letters(ids=[letter.pk], by="x")
    assert not Delivery.objects.exists()
    assert letters()[0].status == "open"


def test_a_discarded_dead_letter_is_not_delivered(bus, org) -> None:
    fails = [True]
    letter = _one_dead_letter(bus, org, fails)
    fails[0] = False
    assert discard_dead_letters(ids=[letter.pk], by="x") == 1
    assert replay_dead_letters(ids=[letter.pk], by="x") == 0
    bus.deliver()
    assert fails == [False]


def test_a_dead_letter_that_does_not_exist_or_whose_subscription_is_gone_is_refused(bus, org) -> None:
    with pytest.raises(NotFound):
        replay_dead_letters(ids=[uuid7()], by="x")
    letter = _one_dead_letter(bus, org, [True])
    registry.unregister("test.listener")
    with pytest.raises(Conflict, match=r"test\.listener"):
        replay_dead_letters(ids=[letter.pk], by="x")


def test_an_event_that_a_transport_brings_twice_is_handled_once(bus, org, written) -> None:
    bus.subscribe(lambda event: written(event.data["n"]))
    bus.publish(1, org_id=org)
    bus.relay()
    row = Delivery.objects.get()
    outgoing = Outgoing(row.event_id, "test.happened", row.topic, row.key, '{"x": 1}')
    bus.deliver()
    with connection.cursor() as cursor:
        cursor.execute("SELECT envelope::text FROM events_outbox")
        envelope = cursor.fetchone()[0]
    get_transport().send([Outgoing(outgoing.event_id, "test.happened", row.topic, row.key, envelope)] * 2)
    bus.deliver()
    assert written.read() == [1]
    assert bus.waiting() == []


@pytest.mark.django_db(transaction=True)
def test_a_callback_on_commit_that_fails_keeps_no_other_from_running(bus) -> None:
    called = []

    def handler(event) -> None:
        n = event.data["n"]
        transaction.on_commit(lambda: called.append(n) if n != 2 else 1 / 0)

    bus.subscribe(handler)
    for n in (1, 2, 3):
        bus.publish(n, key="k")
    bus.deliver()
    assert called == [1, 3]
    assert bus.waiting() == []


def test_a_paused_subscription_gets_nothing_until_it_is_resumed(bus, org) -> None:
    heard = []
    bus.subscribe(lambda event: heard.append(event.data["n"]))
    pause_subscription(name="test.listener", reason="overloaded")
    bus.publish(1, org_id=org)
    bus.deliver()
    assert heard == []
    assert SubscriptionState.objects.get(pk="test.listener").is_paused
    resume_subscription(name="test.listener")
    bus.deliver()
    assert heard == [1]
    with pytest.raises(NotFound):
        pause_subscription(name="no.such")
