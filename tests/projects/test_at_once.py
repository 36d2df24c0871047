"""Two things at once: keys whose owner leaves, keys replaced twice, people who join while they are erased."""

from typing import Any

import pytest

from apps.accounts import services as accounts
from apps.accounts.selectors import role_of
from apps.core.errors import Conflict, MindWeaveError
from apps.core.tenancy import org_scope, system_scope
from apps.identity.models import User
from apps.identity.services import erase_person
from apps.projects import services
from apps.projects.models import ApiKey
from apps.teams import services as teams
from apps.teams.selectors import is_team_member
from tests.cast import Cast, at_once, make_cast, make_key, make_person, trail
from tests.teams.mail import token_of

pytestmark = pytest.mark.django_db(transaction=True)


def live_keys_of(cast: Cast, person: Any) -> int:
    with org_scope(cast.org.id):
        return ApiKey.objects.filter(owner_id=person.id, revoked_at=None).count()


def test_whoever_is_removed_while_a_key_of_theirs_is_made_or_replaced_leaves_none_that_works() -> None:
    cast = make_cast()
    key, _ = make_key(cast, owner_id=cast.bob.id)
    common = {"org_id": cast.org.id, "project_id": cast.project.id}
    at_once(
        lambda: accounts.remove_member(org_id=cast.org.id, user_id=cast.bob.id),
        lambda: services.create_api_key(**common, name="late", scopes=["ingest"], owner_id=cast.bob.id),
        lambda: services.rotate_api_key(**common, key_id=key.id),
    )
    assert role_of(org_id=cast.org.id, user_id=cast.bob.id) is None
    assert live_keys_of(cast, cast.bob) == 0


def test_of_two_who_replace_a_key_at_once_one_does() -> None:
    cast = make_cast()
    key, _ = make_key(cast)
    rotate = lambda: services.rotate_api_key(org_id=cast.org.id, project_id=cast.project.id, key_id=key.id)  # noqa: E731
    results = at_once(rotate, rotate)
    assert [one.code for one in results if isinstance(one, MindWeaveError)] == ["key_replaced"]
    assert len(trail("key.rotated", org_id=cast.org.id)) == 1
    # Nor is a key of an archived project.
    services.archive_project(org_id=cast.org.id, project_id=cast.project.id)
    with system_scope("the test"):
        newest = ApiKey.objects.exclude(pk=key.id).get()
    with pytest.raises(Conflict) as refused:
        services.rotate_api_key(org_id=cast.org.id, project_id=cast.project.id, key_id=newest.pk)
    assert refused.value.code == "project_archived"
    assert len(trail("key.rotated", org_id=cast.org.id)) == 1


def test_whoever_is_erased_while_they_join_is_no_member_with_a_closed_account() -> None:
    cast = make_cast()
    hugo = make_person("hugo")
    teams.invite_member(org_id=cast.org.id, email="hugo@example.com", role="viewer", by_user_id=cast.alice.id)
    token = token_of("hugo@example.com")
    at_once(
        lambda: teams.accept_invitation(token=token, user_id=hugo.id),
        lambda: erase_person(user_id=hugo.id, reason="asked"),
    )
    assert not User.objects.get(pk=hugo.id).is_active
    assert role_of(org_id=cast.org.id, user_id=hugo.id) is None
    with pytest.raises(Conflict):
        accounts.add_member(org_id=cast.org.id, user_id=hugo.id, role="viewer")


def test_whoever_is_removed_while_they_accept_is_a_member_wholly_or_not_at_all() -> None:
    cast = make_cast()
    hugo = make_person("hugo")
    teams.invite_member(
        org_id=cast.org.id, email="hugo@example.com", role="viewer", by_user_id=cast.alice.id, team_ids=[cast.team.id]
    )
    token = token_of("hugo@example.com")
    joined, _ = at_once(
        lambda: teams.accept_invitation(token=token, user_id=hugo.id),
        lambda: teams.remove_members(org_id=cast.org.id, user_ids=[hugo.id], by_user_id=cast.alice.id),
    )
    assert joined == cast.org.id
    # Whichever came first, nothing is left half: no place in a team without a membership.
    member = role_of(org_id=cast.org.id, user_id=hugo.id) is not None
    assert is_team_member(org_id=cast.org.id, team_id=cast.team.id, user_id=hugo.id) == member
