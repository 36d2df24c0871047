"""What a dispatcher may never do: lose an event, overtake within a key, let one key hold up another."""

import threading
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction

from apps.core import clock
from apps.core.ids import uuid7
from apps.events.contracts import Envelope
from apps.events.dispatcher import Dispatcher
from apps.events.services import publish
from tests.waiting import wait_for


@pytest.mark.django_db(transaction=True)
def test_an_event_whose_transaction_commits_after_a_later_one_is_not_lost(bus, org) -> None:
    heard: list[int] = []
    bus.subscribe(lambda event: heard.append(event.data["n"]))
    published, may_commit = threading.Event(), threading.Event()

    def slow_publisher() -> None:
        try:
            with transaction.atomic():
                publish(type="test.happened", data={"n": 1}, org_id=org)
                connection.cursor().close()  # whatever waits for the next statement takes its number now
                published.set()
                may_commit.wait(10)
        finally:
            connections.close_all()

    thread = threading.Thread(target=slow_publisher)
    thread.start()
    assert published.wait(10)
    bus.publish(2, org_id=org)  # takes a higher number and commits first
    bus.deliver()
    assert heard == [2]

    may_commit.set()
    thread.join()
    bus.deliver()
    assert heard == [2, 1]
    with connection.cursor() as cursor:
        cursor.execute("SELECT envelope->'data'->'n' FROM events_outbox ORDER BY seq")
        assert [row[0] for row in cursor.fetchall()] == ["1", "2"], "the late one did have the lower number"


@pytest.mark.django_db(transaction=True)
def test_a_long_transaction_elsewhere_does_not_hold_up_the_bus(bus, org) -> None:
    heard: list[int] = []
    bus.subscribe(lambda event: heard.append(event.data["n"]))
    begun, may_end = threading.Event(), threading.Event()

    def long_transaction() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT pg_current_xact_id()")
                begun.set()
                may_end.wait(10)
        finally:
            connections.close_all()

    thread = threading.Thread(target=long_transaction)
    thread.start()
    assert begun.wait(10)
    bus.publish(1, org_id=org)
    bus.deliver()
    may_end.set()
    thread.join()
    assert heard == [1]


def test_what_follows_a_failing_event_waits_within_its_key_and_only_there(bus) -> None:
    heard: list[int] = []
    broken = {1}

    def handler(event) -> None:
        if event.data["n"] in broken:
            raise RuntimeError("not today")
        heard.append(event.data["n"])

    bus.subscribe(handler)
    for n, key in [(1, "a"), (2, "a"), (3, "b"), (4, "a"), (5, "b")]:
        bus.publish(n, key=key)
    bus.deliver()
    assert [n for n in heard if n in (3, 5)] == [3, 5]
    assert bus.waiting() == [(1, "retrying"), (2, "parked"), (4, "parked")]

    bus.publish(6, key="a")
    bus.publish(7, key="c")
    bus.deliver()
    assert bus.waiting() == [(1, "retrying"), (2, "parked"), (4, "parked"), (6, "parked")]

    broken.clear()
    with clock.freeze(clock.now() + timedelta(minutes=1)):
        bus.deliver()
    assert bus.waiting() == []
    assert [n for n in heard if n in (1, 2, 4, 6)] == [1, 2, 4, 6]
    assert 7 in heard


@pytest.mark.django_db(transaction=True)
def test_two_dispatchers_deliver_each_event_once_and_in_the_order_of_its_key(bus) -> None:
    heard: dict[str, list[int]] = defaultdict(list)
    for name in ("test.one", "test.two"):
        bus.subscribe(lambda event, name=name: heard[f"{name}/{event.key}"].append(event.data["n"]), name=name)
    dispatchers = [Dispatcher(threads=2, poll=0.05) for _ in range(2)]
    threads = [threading.Thread(target=dispatcher.run) for dispatcher in dispatchers]
    for thread in threads:
        thread.start()
    try:
        keys = [str(uuid7()) for _ in range(5)]
        for start in range(0, 500, 20):
            with transaction.atomic():
                for n in range(start, start + 20):
                    publish(type="test.happened", data={"n": n}, org_id=None, key=keys[n % 5])
        wait_for(lambda: sum(map(len, heard.values())) >= 1000)
    finally:
        for dispatcher in dispatchers:
            dispatcher.stop()
        for thread in threads:
            thread.join()
    expected = {
        f"{name}/{key}": list(range(i, 500, 5)) for name in ("test.one", "test.two") for i, key in enumerate(keys)
    }
    assert heard == expected


@pytest.mark.django_db(transaction=True)
def test_a_slow_subscription_does_not_hold_up_another(bus, org) -> None:
    release, heard = threading.Event(), []
    bus.subscribe(lambda event: release.wait(10), name="test.slow")
    bus.subscribe(lambda event: heard.append(event.data["n"]), name="test.quick")
    dispatcher = Dispatcher(threads=2, poll=0.05)
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    try:
        bus.publish(1, org_id=org)
        wait_for(lambda: heard == [1])
        bus.publish(2, org_id=org)
        wait_for(lambda: heard == [1, 2])
    finally:
        release.set()
        dispatcher.stop()
        thread.join()


@pytest.mark.django_db(transaction=True)
def test_a_subscription_that_picks_is_given_what_it_picks_and_all_where_it_cannot(bus) -> None:
    heard: list[int] = []
    asked: list[int] = []

    def pick(events: Sequence[Envelope]) -> list[bool]:
        asked.append(len(events))
        if any(each.data["note"] == "fail" for each in events):
            raise ZeroDivisionError
        return [each.data["n"] % 2 == 0 for each in events]

    name = bus.subscribe(lambda event: heard.append(event.data["n"]), picks=pick)
    for n in range(6):
        bus.publish(n)
    bus.deliver()
    assert (heard, asked) == ([0, 2, 4], [6]), "asked once for all of them"
    for n in (7, 8):
        bus.publish(n, note="fail")
    bus.deliver()
    assert heard[3:] == [7, 8]
    assert bus.waiting(name) == []


@pytest.mark.django_db(transaction=True)
def test_what_was_published_right_after_a_word_to_the_dispatcher_does_not_wait_for_the_next_look(bus, org) -> None:
    heard: list[int] = []
    bus.subscribe(lambda event: heard.append(event.data["n"]))
    # So long that nothing would come by a look of its own.
    dispatcher = Dispatcher(threads=2, poll=60)
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    try:
        for n in range(1, 30):
            bus.publish(n, org_id=org)
        wait_for(lambda: len(heard) == 29)
    finally:
        dispatcher.stop()
        thread.join()
    assert heard == list(range(1, 30))
