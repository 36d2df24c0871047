from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from apps.core import clock
from apps.core.partitions import ensure_partitions, list_partitions
from apps.core.tenancy import system_scope
from apps.events.models import Delivery, OutboxEvent, Processed, SubscriptionState
from apps.events.registry import unregister
from apps.events.services import maintain, pause_subscription

START = datetime(2031, 5, 1, 12, tzinfo=UTC)  # a time of its own, where the migrations made no partitions


def days(table: str) -> set[str]:
    return {partition.name[-8:] for partition in list_partitions(table)}


def numbers() -> list[int]:
    with system_scope("the test looks at all"):
        return [row.envelope["data"]["n"] for row in OutboxEvent.objects.order_by("seq")]


def test_events_are_kept_for_seven_days_and_their_days_are_dropped_whole(bus, org) -> None:
    bus.subscribe(lambda event: None)
    with clock.freeze(START):
        maintain()
        bus.publish(1, org_id=org)
    with clock.freeze(START + timedelta(days=1)):
        bus.publish(2, org_id=org)
    bus.deliver()
    with clock.freeze(START + timedelta(days=7, hours=11)):
        maintain()
        assert numbers() == [1, 2], "the first day is not over for seven days yet"
    with clock.freeze(START + timedelta(days=7, hours=12)):
        maintain()
    assert numbers() == [2]
    assert Processed.objects.count() == 1
    assert "20310501" not in days("events_outbox") | days("events_processed")


def test_a_day_with_an_event_that_no_dispatcher_has_taken_is_kept(bus, org) -> None:
    with clock.freeze(START):
        maintain()
        bus.publish(1, org_id=org)
    with clock.freeze(START + timedelta(days=30)):
        maintain()
        assert numbers() == [1]
        bus.relay()
        maintain()
    assert numbers() == []


def test_an_event_of_a_day_without_a_partition_is_written_and_goes_in_its_time(bus, org) -> None:
    bus.subscribe(lambda event: None)
    with clock.freeze(START):
        bus.publish(1, org_id=org)
    bus.deliver()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM events_outbox_default")
        assert cursor.fetchone()[0] == 1
    with clock.freeze(START + timedelta(days=6)):
        maintain()
    assert numbers() == [1]
    with clock.freeze(START + timedelta(days=8)):
        maintain()
    assert numbers() == []
    assert not Processed.objects.exists()


def test_what_waits_for_a_listener_that_is_gone_is_kept_for_seven_days(bus, org) -> None:
    name = bus.subscribe(lambda event: None)
    pause_subscription(name=name)
    bus.publish(1, org_id=org)
    bus.deliver()
    unregister(name)
    for days, left in [(6, 1), (8, 0)]:
        with clock.freeze(clock.now() + timedelta(days=days)):
            maintain()
        assert (Delivery.objects.count(), SubscriptionState.objects.filter(pk=name).count()) == (left, left)


def test_what_waits_for_a_listener_that_is_there_is_kept_as_long_as_it_takes(bus, org) -> None:
    name = bus.subscribe(lambda event: None)
    pause_subscription(name=name)
    bus.publish(1, org_id=org)
    bus.deliver()
    with clock.freeze(clock.now() + timedelta(days=100)):
        maintain()
    assert bus.waiting() == [(1, "ready")]


def test_partitions_are_made_ahead_once(db) -> None:
    with clock.freeze(START):
        first = maintain()["made"]
        assert len(first) == 16  # today and seven days, of two tables
        assert maintain()["made"] == []
    with clock.freeze(START + timedelta(days=1)):
        assert [name[-8:] for name in maintain()["made"]] == ["20310509", "20310509"]


def test_a_period_whose_rows_lie_in_the_default_partition_gets_none_of_its_own(bus) -> None:
    with clock.freeze(START):
        bus.publish(1)
        made = ensure_partitions("events_outbox", period="day", ahead=1)
    assert [name[-8:] for name in made] == ["20310502"]


@pytest.mark.parametrize(
    ("month", "names"), [(11, ["203111", "203112", "203201"]), (1, ["203101", "203102", "203103"])]
)
def test_months_follow_each_other_across_the_year(db, month, names) -> None:
    with clock.freeze(datetime(2031, month, 28, tzinfo=UTC)):
        made = ensure_partitions("audit_entry", period="month", ahead=2)
    assert [name[-6:] for name in made] == names
    found = [partition for partition in list_partitions("audit_entry") if partition.name in made]
    assert [partition.end for partition in found[:2]] == [partition.start for partition in found[1:]]
