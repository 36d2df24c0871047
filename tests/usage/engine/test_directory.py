"""The copy of people that attribution goes by is refreshed by what the bus tells of them, not by the clock."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from apps.accounts.services import add_member, remove_member
from apps.core.clock import now
from apps.core.tenancy import system_scope
from apps.events.delivery import drain
from apps.events.queues import sync_subscriptions
from apps.events.relay import relay
from apps.identity.models import User
from apps.identity.services import register
from apps.teams.services import add_team_member, create_team
from apps.usage.ingest import attribution
from apps.usage.ingest.attribution import directory_of, forget_directory_changes
from apps.usage.models import DirectoryChange
from tests.usage.engine.conftest import World


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, db: None) -> Callable[[], None]:
    """Deliver what the bus holds; copies last for ever otherwise."""
    monkeypatch.setattr(attribution, "MIN_AGE_SECONDS", 1e6)
    monkeypatch.setattr(attribution, "MAX_AGE_SECONDS", 1e6)
    monkeypatch.setattr(attribution, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(attribution, "_heard", None)
    monkeypatch.setattr(attribution, "_left_out", {})
    sync_subscriptions()

    def tell() -> None:
        while relay():
            pass
        for name in ("usage.people", "usage.addresses"):
            drain(name)

    return tell


def somebody(email: str, **options: Any) -> UUID:
    return register(email=email, password=None, **options).id


def test_who_joins_and_who_leaves_is_known_as_soon_as_it_is_told(world: World, told: Callable[[], None]) -> None:
    carol = somebody("carol@acme.test", email_verified=True)
    assert str(carol) not in directory_of(world.org_id).members
    add_member(org_id=world.org_id, user_id=carol, role="developer")
    assert str(carol) not in directory_of(world.org_id).members, "nothing was told yet"
    told()
    assert directory_of(world.org_id).by_email["carol@acme.test"] == carol
    remove_member(org_id=world.org_id, user_id=carol)
    told()
    assert str(carol) not in directory_of(world.org_id).members


def test_a_team_counts_for_its_people_at_once(world: World, told: Callable[[], None]) -> None:
    assert world.bob not in directory_of(world.org_id).primary_team
    team = create_team(org_id=world.org_id, name="Warp")
    add_team_member(org_id=world.org_id, team_id=team.id, user_id=world.bob)
    told()
    assert directory_of(world.org_id).primary_team[world.bob] == team.id


def test_an_address_that_was_proved_counts_in_every_organisation_of_its_person(
    world: World, told: Callable[[], None]
) -> None:
    dave = somebody("dave@acme.test")
    add_member(org_id=world.org_id, user_id=dave, role="viewer")
    told()
    assert "dave@acme.test" not in directory_of(world.org_id).by_email
    from apps.usage.subscriptions import on_person_changed

    User.objects.filter(pk=dave).update(email_verified_at=now())

    class Told:
        org_id = None
        data = {"user_id": str(dave), "changed": ["email_verified"]}

    on_person_changed(Told())  # type: ignore[arg-type]
    assert directory_of(world.org_id).by_email["dave@acme.test"] == dave


def test_another_organisations_copy_is_left_alone(world: World, told: Callable[[], None]) -> None:
    from tests.usage.engine.conftest import make_world

    other = make_world("other")
    mine, theirs = directory_of(world.org_id), directory_of(other.org_id)
    add_member(org_id=other.org_id, user_id=somebody("erin@other.test"), role="viewer")
    told()
    assert directory_of(other.org_id) is not theirs
    assert directory_of(world.org_id) is mine


@pytest.mark.parametrize("is_first", [True, False])
def test_a_change_is_heard_that_is_committed_after_one_with_a_higher_number(
    world: World, told: Callable[[], None], monkeypatch: pytest.MonkeyPatch, is_first: bool
) -> None:
    def change(number: int, org_id: UUID = world.org_id) -> None:
        with system_scope("the test commits in an order of its own"):
            DirectoryChange.objects.create(id=number, org_id=org_id)

    change(1_000_000, UUID(int=1))
    if not is_first:
        directory_of(world.org_id)
    change(1_000_003, UUID(int=1))
    mine = directory_of(world.org_id)
    assert attribution._left_out.keys() >= {1_000_001, 1_000_002}
    change(1_000_002)
    assert directory_of(world.org_id) is not mine
    assert 1_000_001 in attribution._left_out
    assert 1_000_002 not in attribution._left_out
    # Numbers that nobody commits are not asked for for ever, nor any number of them.
    change(2_000_000, UUID(int=1))
    attribution._hear()
    assert len(attribution._left_out) == attribution._MOST_LATE
    monkeypatch.setattr(attribution, "_LATE_SECONDS", -1.0)
    attribution._hear()
    assert attribution._left_out == {}


def test_what_was_told_is_forgotten_within_hours(world: World) -> None:
    attribution.directory_changed(world.org_id)
    assert forget_directory_changes(now() - timedelta(hours=1)) == 0
    assert forget_directory_changes(now() + timedelta(seconds=1)) == 1
    with system_scope("the test looks at all"):
        assert not DirectoryChange.objects.exists()
