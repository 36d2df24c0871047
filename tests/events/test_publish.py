from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import transaction

from apps.core import clock, tenancy
from apps.core.context import bind, current
from apps.core.ids import uuid7
from apps.core.tenancy import system_scope
from apps.events.contracts import Envelope, NewEvent
from apps.events.models import OutboxEvent
from apps.events.registry import EventType, register_type, subscribe, subscriptions_of, unregister
from apps.events.services import PublishError, publish, publish_many


def outbox() -> list[OutboxEvent]:
    with system_scope("the test looks at all"):
        return list(OutboxEvent.objects.order_by("seq"))


@pytest.mark.django_db(transaction=True)
def test_an_event_outside_a_transaction_is_refused_and_not_written(bus) -> None:
    with pytest.raises(PublishError, match="transaction"):
        publish(type="test.happened", data={"n": 1}, org_id=None)
    assert outbox() == []


@pytest.mark.django_db(transaction=True)
def test_an_event_of_a_transaction_that_is_rolled_back_reaches_nobody(bus, org) -> None:
    heard: list[int] = []
    bus.subscribe(lambda event: heard.append(event.data["n"]))
    with transaction.atomic():
        publish(type="test.happened", data={"n": 1}, org_id=org)
        transaction.set_rollback(True)
    bus.publish(2, org_id=org)
    bus.deliver()
    assert heard == [2]


def test_an_unknown_type_is_refused(db) -> None:
    with pytest.raises(PublishError, match=r"'no\.such' is not registered"):
        publish(type="no.such", data={}, org_id=None)


@pytest.mark.parametrize(
    ("data", "where"),
    [({}, "/: 'n' is a required property"), ({"n": "1"}, "/n: "), ({"n": 1, "m": 2}, "'m' was unexpected")],
)
def test_data_that_does_not_fit_the_schema_is_refused_with_its_place(bus, data, where) -> None:
    with pytest.raises(PublishError, match=where):
        publish(type="test.happened", data=data, org_id=None)
    assert outbox() == []


def test_the_envelope_is_that_of_the_specification(bus, org) -> None:
    user_id, correlation_id = uuid7(), str(uuid7())
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with (
        clock.freeze(datetime(2026, 11, 23, 12, tzinfo=UTC)),
        bind(correlation_id=correlation_id, traceparent=traceparent),
    ):
        event_id = publish(type="test.happened", data={"n": 1}, org_id=org, user_id=user_id)
    [row] = outbox()
    assert row.envelope == {
        "id": str(event_id),
        "type": "test.happened",
        "source": "tests",
        "timestamp": "2026-11-23T12:00:00Z",
        "version": "1.0",
        "correlation_id": correlation_id,
        "data": {"n": 1},
        "metadata": {"user_id": str(user_id), "org_id": str(org), "traceparent": traceparent},
    }
    assert (row.topic, row.key, row.org_id) == ("audit.log", str(org), org)


def test_order_is_kept_by_the_key_given_else_the_organisation_else_the_user_else_none(bus, org) -> None:
    user_id = uuid7()
    ids = publish_many(
        [
            NewEvent("test.happened", {"n": 1}, org, key="k"),
            NewEvent("test.happened", {"n": 2}, org, user_id=user_id),
            NewEvent("test.happened", {"n": 3}, None, user_id=user_id),
            NewEvent("test.happened", {"n": 4}, None),
        ]
    )
    assert [row.key for row in outbox()] == ["k", str(org), str(user_id), str(ids[3])]


def test_ids_times_and_decimals_travel_as_strings(db, org) -> None:
    schema = {"properties": {name: {"type": "string"} for name in ("id", "at", "usd")}}
    register_type(EventType(name="test.typed", topic="usage.events", schema=schema))
    try:
        data = {"id": org, "at": datetime(2026, 1, 2, tzinfo=UTC), "usd": Decimal("1.10")}
        publish(type="test.typed", data=data, org_id=org)
    finally:
        unregister("test.typed")
    assert outbox()[0].envelope["data"] == {"id": str(org), "at": "2026-01-02T00:00:00Z", "usd": "1.10"}


def test_an_envelope_survives_its_json(bus, org) -> None:
    bus.publish(7, org_id=org)
    [row] = outbox()
    envelope = Envelope.from_dict(row.envelope, topic=row.topic, key=row.key)
    assert envelope.as_dict() == row.envelope
    assert envelope.org_id == org
    assert envelope.timestamp == row.published_at


def test_a_handler_runs_in_the_organisation_of_the_event_under_its_correlation_id(bus, org) -> None:
    seen: list[tuple[UUID | None, str, str]] = []

    def handler(event: Envelope) -> None:
        seen.append((tenancy.current_org_id(), current().correlation_id, current().actor.label))

    bus.subscribe(handler)
    correlation_id = str(uuid7())
    with bind(correlation_id=correlation_id):
        bus.publish(1, org_id=org)
    bus.deliver()
    assert seen == [(org, correlation_id, "bus:test.listener")]
    assert tenancy.current_org_id() is None


def test_an_event_of_no_organisation_is_handled_in_a_system_scope(bus) -> None:
    seen: list[bool] = []
    bus.subscribe(lambda event: seen.append(tenancy.in_system_scope()))
    bus.publish(1)
    bus.deliver()
    assert seen == [True]


def test_what_a_handler_publishes_carries_the_same_correlation_id(bus, org) -> None:
    def handler(event: Envelope) -> None:
        if event.data["n"] == 1:
            publish(type="test.happened", data={"n": 2}, org_id=event.org_id)

    bus.subscribe(handler)
    bus.publish(1, org_id=org)
    bus.deliver()
    first, second = outbox()
    assert second.envelope["correlation_id"] == first.envelope["correlation_id"]


def test_a_topic_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="none of the topics"):
        register_type(EventType(name="test.other", topic="gossip", schema={}))


def test_another_type_under_a_known_name_is_refused(bus) -> None:
    with pytest.raises(ValueError, match="registered already"):
        register_type(EventType(name="test.happened", topic="audit.log", schema={"properties": {}}))


def test_a_family_of_types_is_heard_by_its_star(db) -> None:
    subscribe(name="test.family", types=["team.*"], handler=print)
    try:
        assert [each.name for each in subscriptions_of("team.created") if each.name == "test.family"]
        assert not [each.name for each in subscriptions_of("teams.created") if each.name == "test.family"]
    finally:
        unregister("test.family")
