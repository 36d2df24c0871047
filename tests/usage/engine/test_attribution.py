"""Whose usage it is: person, team, tags."""

import json
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.core.errors import Conflict, NotFound, ValidationFailed
from apps.core.tenancy import system_scope
from apps.teams.models import Team, TeamMembership
from apps.usage.contracts import TelemetryEvent
from apps.usage.drain import dims
from apps.usage.drain.shard import drain_now
from apps.usage.ingest.attribution import forget_directories
from apps.usage.services import claim_person, ingest, register_tag_key, remove_tag_key
from tests.usage.engine.conftest import World, event, make_world, rows, typed, value


def counted_for(world: World, *events: Any, **key_changes: Any) -> list[tuple[UUID | None, UUID | None]]:
    """(person, team) of the events, counted under a key with these changes."""
    forget_directories()
    ingest(key=world.key_with(**key_changes), events=list(events))
    drain_now()
    return rows(
        "SELECT w.person_id, w.team_id FROM usage_event e JOIN usage_who w ON w.id = e.who ORDER BY e.input_tokens"
    )


def telemetry(**fields: Any) -> TelemetryEvent:
    return TelemetryEvent(**event(**fields))


def team(world: World, name: str) -> UUID:
    with system_scope("test"):
        return Team.objects.create(org_id=world.org_id, name=name, slug=name).pk


def test_a_member_is_the_person(world: World) -> None:
    assert counted_for(world, typed(user_id=str(world.alice)), owner_id=world.bob) == [(world.alice, None)]


def test_whoever_is_no_member_leaves_it_to_the_keys_owner(world: World) -> None:
    stranger = make_world("globex").alice
    events = (typed(user_id=str(stranger), input_tokens=1), typed(input_tokens=2))
    assert counted_for(world, *events, owner_id=world.bob) == [(world.bob, None)] * 2


def test_without_owner_and_member_there_is_nobody(world: World) -> None:
    assert counted_for(world, typed()) == [(None, None)]


def test_the_keys_team_comes_first_then_the_projects_then_the_persons(world: World) -> None:
    of_key, of_project, of_alice = (team(world, name) for name in ("key", "project", "alice"))
    with system_scope("test"):
        TeamMembership.objects.create(org_id=world.org_id, team_id=of_alice, user_id=world.alice, is_primary=True)
    mine, nobodys = typed(user_id=str(world.alice), input_tokens=1), typed(input_tokens=2)
    assert counted_for(world, mine, nobodys) == [(world.alice, of_alice), (None, None)]
    again = typed(user_id=str(world.alice), input_tokens=3)
    assert counted_for(world, again, project_team_id=of_project)[-1] == (world.alice, of_project)
    once_more = typed(user_id=str(world.alice), input_tokens=4)
    assert counted_for(world, once_more, project_team_id=of_project, team_id=of_key)[-1] == (world.alice, of_key)


def test_moving_to_another_team_does_not_rewrite_history(world: World) -> None:
    first, second = team(world, "first"), team(world, "second")
    with system_scope("test"):
        place = TeamMembership.objects.create(org_id=world.org_id, team_id=first, user_id=world.alice, is_primary=True)
        counted_for(world, typed(user_id=str(world.alice), input_tokens=1))
        TeamMembership.objects.filter(pk=place.pk).update(team_id=second)
    teams = counted_for(world, typed(user_id=str(world.alice), input_tokens=2))
    assert [t for _, t in teams] == [first, second]


def test_a_members_verified_address_is_that_member(world: World) -> None:
    assert counted_for(world, telemetry(user_email="Alice@ACME.test "), owner_id=world.bob) == [(world.alice, None)]


def test_an_unverified_address_is_nobody_elses(world: World) -> None:
    from django.contrib.auth import get_user_model

    get_user_model().objects.filter(pk=world.alice).update(email_verified_at=None)
    ((person, _),) = counted_for(world, telemetry(user_email="alice@acme.test"))
    assert person not in (None, world.alice)


def test_an_unknown_address_is_one_unclaimed_person_that_an_admin_can_claim(world: World) -> None:
    events = [
        telemetry(user_email=e, input_tokens=n) for n, e in enumerate(["new@x.test", "NEW@x.test", "other@x.test"])
    ]
    people = [p for p, _ in counted_for(world, *events, owner_id=world.bob)]
    assert people[0] == people[1] != people[2]
    assert {row[0] for row in rows("SELECT email FROM usage_person")} == {"new@x.test", "other@x.test"}
    claim_person(org_id=world.org_id, person_id=people[0], user_id=world.alice)
    assert value("SELECT claimed_by FROM usage_person WHERE id = %s", people[0]) == world.alice
    with pytest.raises(NotFound):
        claim_person(org_id=world.org_id, person_id=world.alice, user_id=world.alice)
    with pytest.raises(ValidationFailed):
        claim_person(org_id=world.org_id, person_id=people[0], user_id=make_world("globex").alice)


def test_the_same_address_in_another_organisation_is_another_person(world: World) -> None:
    other = make_world("globex")
    ingest(key=other.key, events=[telemetry(user_email="new@x.test", input_tokens=2)])
    people = counted_for(world, telemetry(user_email="new@x.test", input_tokens=1))
    assert len({person for person, _ in people}) == 2
    with pytest.raises(NotFound):
        claim_person(org_id=other.org_id, person_id=people[0][0], user_id=other.alice)


# ---------------------------------------------------------------------------------------------- tags
def tags_of(world: World) -> list[dict[str, str] | None]:
    drain_now()
    return [
        json.loads(row[0]) if row[0] else None
        for row in rows(
            "SELECT t.tags::text FROM usage_event e JOIN usage_who w ON w.id = e.who LEFT JOIN usage_tagset t"
            " ON t.id = w.tagset ORDER BY e.input_tokens"
        )
    ]


def tagged(number: int, **metadata: Any) -> Any:
    import msgspec

    return typed(input_tokens=number, metadata=msgspec.Raw(msgspec.json.encode(metadata)))


def test_registered_metadata_keys_become_tags(world: World) -> None:
    register_tag_key(org_id=world.org_id, key="department")
    register_tag_key(org_id=world.org_id, key="prio")
    ingest(
        key=world.key,
        events=[
            tagged(1, department="R&D", other="x", prio=3),
            tagged(2, other="x"),
            typed(input_tokens=3),
            tagged(4, department=""),
        ],
    )
    assert tags_of(world) == [{"department": "R&D", "prio": "3"}, None, None, None]


def test_another_organisations_keys_do_not_apply(world: World) -> None:
    register_tag_key(org_id=make_world("globex").org_id, key="department")
    ingest(key=world.key, events=[tagged(1, department="x")])
    assert tags_of(world) == [None]


def test_what_comes_after_a_thousand_values_counts_as_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dims, "MAX_TAG_VALUES", 3)
    register_tag_key(org_id=world.org_id, key="build")
    ingest(key=world.key, events=[tagged(n, build=f"b{n}") for n in range(5)])
    assert [t["build"] for t in tags_of(world) if t] == ["b0", "b1", "b2", "other", "other"]
    ingest(key=world.key, events=[tagged(5, build="b1"), tagged(6, build="b9")])
    assert [t["build"] for t in tags_of(world) if t][5:] == ["b1", "other"]


def test_an_organisation_has_at_most_twenty_tag_keys(world: World) -> None:
    for number in range(20):
        register_tag_key(org_id=world.org_id, key=f"key{number}")
    with pytest.raises(Conflict, match="20"):
        register_tag_key(org_id=world.org_id, key="one more")
    with pytest.raises(Conflict, match="already"):
        register_tag_key(org_id=world.org_id, key="key3")
    remove_tag_key(org_id=world.org_id, key="key3")
    register_tag_key(org_id=world.org_id, key="one more")
    with pytest.raises(NotFound):
        remove_tag_key(org_id=world.org_id, key="key3")


def test_new_tag_sets_of_a_flush_are_one_statement(world: World) -> None:
    for key in ("feature", "ring"):
        register_tag_key(org_id=world.org_id, key=key)
    ingest(key=world.key, events=[tagged(n, feature=f"f{n % 30}", ring=f"r{n // 30}") for n in range(300)])
    with CaptureQueriesContext(connection) as made:
        drain_now()
    assert sum("INSERT INTO usage_tagset" in query["sql"] for query in made.captured_queries) == 1
    found = tags_of(world)
    assert [found[n] for n in (0, 31, 299)] == [
        {"feature": "f0", "ring": "r0"}, {"feature": "f1", "ring": "r1"}, {"feature": "f29", "ring": "r9"},
    ]  # fmt: skip
    # Keys registered in another order make no other sets.
    remove_tag_key(org_id=world.org_id, key="feature")
    register_tag_key(org_id=world.org_id, key="feature")
    ingest(key=world.key, events=[tagged(300, feature="f0", ring="r0")])
    drain_now()
    assert value("SELECT count(*) FROM usage_tagset") == 300
