from pathlib import Path

import orjson
import pytest
from django.core.management import CommandError, call_command

from apps.events.catalogue import CATALOGUE, topic_of
from apps.events.checks import check_subscriptions
from apps.events.compatibility import breaking_changes, published_schemas
from apps.events.contracts import TOPICS
from apps.events.registry import event_types, subscribe, unregister

SNAPSHOT = Path(__file__).with_name("schemas.snapshot.json")


def test_published_events_have_only_grown_since_the_snapshot() -> None:
    assert breaking_changes(orjson.loads(SNAPSHOT.read_bytes()), published_schemas()) == []


def test_the_snapshot_holds_every_published_event() -> None:
    call_command("events_snapshot", "--check", verbosity=0)


def test_every_type_stands_in_the_catalogue_under_its_topic() -> None:
    assert {each.name: topic_of(each.name) for each in event_types()} == {
        each.name: each.topic for each in event_types()
    }


def test_the_catalogue_knows_the_five_topics_of_the_specification() -> None:
    assert tuple(CATALOGUE) == TOPICS


def snapshot(schema: dict, topic: str = "audit.log") -> dict:
    return {"a.happened": {"topic": topic, "version": "1.0", "schema": schema}}


OLD = {
    "properties": {
        "id": {"type": "string"},
        "kind": {"enum": ["x", "y"]},
        "parts": {"type": "array", "items": {"properties": {"n": {"type": "integer"}}}},
    },
    "required": ["id"],
}


@pytest.mark.parametrize(
    "change",
    [
        {"properties": {**OLD["properties"], "more": {"type": "string"}}},
        {"properties": {**OLD["properties"], "more": {"type": "string"}}, "required": ["id", "more"]},
        {"properties": {**OLD["properties"], "kind": {"enum": ["x", "y", "z"]}}},
        {"properties": {**OLD["properties"], "id": {"type": "string", "description": "whose"}}},
        {"required": ["id", "kind"]},
    ],
)
def test_an_addition_is_no_break(change) -> None:
    assert breaking_changes(snapshot(OLD), snapshot({**OLD, **change})) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"properties": {}}, "a.happened/id is gone"),
        ({"properties": {**OLD["properties"], "id": {"type": "integer"}}}, "type changed from 'string' to 'integer'"),
        ({"required": []}, "a.happened/id may be missing now"),
        ({"properties": {**OLD["properties"], "kind": {"enum": ["x"]}}}, "no longer takes y"),
        (
            {"properties": {**OLD["properties"], "parts": {"type": "array", "items": {"properties": {}}}}},
            "a.happened/parts/[]/n is gone",
        ),
    ],
)
def test_a_field_that_goes_or_changes_is_a_break(change, said) -> None:
    found = breaking_changes(snapshot(OLD), snapshot({**OLD, **change}))
    assert any(said in sentence for sentence in found), found


def test_a_type_that_goes_or_moves_is_a_break() -> None:
    assert breaking_changes(snapshot(OLD), {}) == ["a.happened is no longer published"]
    assert breaking_changes(snapshot(OLD), snapshot(OLD, "notifications")) == [
        "a.happened moved from audit.log to notifications"
    ]


def test_the_snapshot_command_writes_additions_and_refuses_breaks(tmp_path, bus) -> None:
    path = tmp_path / "snapshot.json"
    call_command("events_snapshot", "--path", str(path), verbosity=0)
    written = orjson.loads(path.read_bytes())
    assert "test.happened" in written

    written["test.happened"]["schema"]["properties"]["gone"] = {"type": "string"}
    path.write_bytes(orjson.dumps(written))
    with pytest.raises(CommandError, match=r"test\.happened/gone is gone"):
        call_command("events_snapshot", "--path", str(path), verbosity=0)
    assert orjson.loads(path.read_bytes()) == written


def test_a_subscription_to_a_type_that_nobody_publishes_is_an_error_at_start() -> None:
    subscribe(name="test.deaf", types=["no.such_thing", "nobody.*"], handler=print)
    try:
        assert [message.id for message in check_subscriptions(None)] == ["events.E001"] * 2
    finally:
        unregister("test.deaf")
