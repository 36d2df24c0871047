"""Several members changed at once: all of them or none, each by the rules and in the trail by itself."""

from typing import Any
from uuid import UUID

import pytest

from apps.accounts import services as accounts
from apps.accounts.selectors import member_infos, role_of
from apps.core.errors import MindWeaveError
from apps.core.ids import uuid7
from apps.projects.selectors import key_authenticate
from apps.teams import services
from apps.teams.selectors import is_team_member
from tests.cast import Api, Cast, at_once, make_cast, make_key, published, trail


def ask(cast: Cast, who: Any, action: str, people: list[Any], **more: Any) -> Any:
    body = {"action": action, "user_ids": [str(getattr(one, "id", one)) for one in people], **more}
    return Api(who).post(f"/orgs/{cast.org.id}/members/bulk", body)


def outcomes(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row["outcome"] for row in answer.json()["data"]]


def roles(cast: Cast) -> dict[str, str]:
    return {one.name.lower(): one.role for one in member_infos(cast.org.id)}


def test_a_role_for_several_is_told_of_each_and_again_changes_nothing(cast: Cast) -> None:
    people = [cast.bob, cast.dora]
    assert outcomes(ask(cast, cast.erin, "change_role", people, role="viewer")) == ["changed", "unchanged"]
    assert (roles(cast)["bob"], roles(cast)["dora"]) == ("viewer", "viewer")
    assert [entry.target_id for entry in trail("member.role_changed")] == [str(cast.bob.id)]
    assert len(published("member.role_changed")) == 1
    assert outcomes(ask(cast, cast.erin, "change_role", people, role="viewer")) == ["unchanged", "unchanged"]
    assert len(trail("member.role_changed")) == 1


def test_several_are_removed_with_their_keys_and_again_is_harmless(cast: Cast) -> None:
    _, token = make_key(cast, owner_id=cast.bob.id)
    people = [cast.bob, cast.dora]
    assert outcomes(ask(cast, cast.erin, "remove", people)) == ["changed", "changed"]
    assert set(roles(cast)) == {"alice", "erin", "frank"}
    assert len(trail("member.removed")) == 2
    assert key_authenticate(token) is None
    assert outcomes(ask(cast, cast.erin, "remove", people)) == ["unchanged", "unchanged"]
    assert len(trail("member.removed")) == 2


def test_several_come_into_a_team(cast: Cast) -> None:
    people = [cast.bob, cast.dora, cast.erin]
    answer = ask(cast, cast.erin, "add_to_team", people, team_id=str(cast.team.id))
    assert outcomes(answer) == ["unchanged", "changed", "changed"]
    for person in people:
        assert is_team_member(org_id=cast.org.id, team_id=cast.team.id, user_id=person.id)
    assert len(trail("team.member_added")) == 3  # one of them by the cast


@pytest.mark.parametrize(
    ("who", "action", "names", "pointers"),
    [
        ("erin", "change_role", ["bob", "alice"], ["/user_ids/1"]),  # an owner is above an admin
        ("erin", "remove", ["alice", "bob"], ["/user_ids/0"]),
        ("erin", "remove", ["bob", "erin"], ["/user_ids/1"]),  # nobody removes themselves among others
        ("erin", "change_role", ["erin", "bob"], ["/user_ids/0"]),
        ("alice", "change_role", ["bob", "charlie"], ["/user_ids/1"]),  # of another organisation
        ("alice", "add_to_team", ["charlie", "bob"], ["/user_ids/0"]),
        ("alice", "change_role", ["bob", "nobody"], ["/user_ids/1"]),
    ],
)
def test_where_one_cannot_be_changed_nobody_is(
    who: str, action: str, names: list[str], pointers: list[str], cast: Cast
) -> None:
    before, told = roles(cast), len(trail("team.member_added"))
    people = [getattr(cast, name, uuid7()) for name in names]
    more = {"change_role": {"role": "viewer"}, "add_to_team": {"team_id": str(cast.team.id)}}.get(action, {})
    answer = ask(cast, getattr(cast, who), action, people, **more)
    assert (answer.status_code, answer.json()["code"]) == (409, "bulk_refused")
    assert [item["pointer"] for item in answer.json()["errors"]] == pointers
    assert roles(cast) == before
    assert role_of(org_id=cast.elsewhere.id, user_id=cast.charlie.id) == "owner"
    assert trail("member.role_changed") == trail("member.removed") == []
    assert len(trail("team.member_added")) == told


def test_a_member_of_another_organisation_is_not_removed_from_there(cast: Cast) -> None:
    assert outcomes(ask(cast, cast.alice, "remove", [cast.charlie, cast.bob])) == ["unchanged", "changed"]
    assert role_of(org_id=cast.elsewhere.id, user_id=cast.charlie.id) == "owner"
    wrong = ask(cast, cast.alice, "add_to_team", [cast.dora], team_id=str(cast.their_team.id))
    assert wrong.status_code == 404


def test_an_own_role_above_the_one_who_gives_it_is_given_to_nobody(cast: Cast) -> None:
    mighty = accounts.create_role(org_id=cast.org.id, name="Mighty", capabilities=["member.manage", "billing.manage"])
    people = accounts.create_role(org_id=cast.org.id, name="People", capabilities=["member.manage", "member.read"])
    accounts.change_member_role(org_id=cast.org.id, user_id=cast.frank.id, role=people.key)
    answer = ask(cast, cast.frank, "change_role", [cast.bob, cast.dora], role=mighty.key)
    assert answer.status_code == 409
    assert len(answer.json()["errors"]) == 2
    assert (roles(cast)["bob"], roles(cast)["dora"]) == ("developer", "viewer")
    # Nor does he fill teams, which his role does not.
    answer = ask(cast, cast.frank, "add_to_team", [cast.dora], team_id=str(cast.team.id))
    assert answer.status_code == 403
    assert not is_team_member(org_id=cast.org.id, team_id=cast.team.id, user_id=cast.dora.id)


def test_what_is_no_whole_request_is_refused(cast: Cast) -> None:
    bob, dora = str(cast.bob.id), str(cast.dora.id)
    for body in (
        {"action": "change_role"},
        {"action": "add_to_team"},
        {"action": "remove", "role": "viewer"},
        {"action": "change_role", "role": "emperor"},
        {"action": "dance"},
        {"action": "remove", "user_ids": []},
        {"action": "remove", "user_ids": [bob, bob]},
        {"action": "remove", "user_ids": [bob, dora], "keys_to": dora},
    ):
        answer = Api(cast.alice).post(f"/orgs/{cast.org.id}/members/bulk", {"user_ids": [bob], **body})
        assert answer.status_code == 400, body
    assert (roles(cast)["bob"], roles(cast)["dora"]) == ("developer", "viewer")


@pytest.mark.django_db(transaction=True)
def test_of_two_owners_who_remove_each_other_with_others_one_stays() -> None:
    cast = make_cast()
    accounts.change_member_role(org_id=cast.org.id, user_id=cast.erin.id, role="owner")

    def remove(by: UUID, other: UUID) -> Any:
        return lambda: services.remove_members(
            org_id=cast.org.id, user_ids=[other, cast.bob.id, cast.dora.id], by_user_id=by
        )

    results = at_once(remove(cast.alice.id, cast.erin.id), remove(cast.erin.id, cast.alice.id))
    assert sum(isinstance(result, MindWeaveError) for result in results) == 1, results
    owners = [one for one in member_infos(cast.org.id) if one.role == "owner"]
    assert len(owners) == 1
    assert set(roles(cast)) == {owners[0].name.lower(), "frank"}


# ---------------------------------------------------------------- the page
def test_the_page_does_it_without_javascript_and_asks_before_it_removes(cast: Cast) -> None:
    client, page = Api(cast.erin).client, f"/o/{cast.org.slug}/settings/members"
    shown = client.get(page).content.decode()
    assert f'name="user_id" value="{cast.bob.id}" form="bulk"' in shown
    ticked = {"user_id": [str(cast.bob.id), str(cast.dora.id), str(cast.erin.id)]}
    asked = client.post(f"{page}/bulk", {**ticked, "act": "remove"})
    assert b"Remove 2 members?" in asked.content
    assert b"You are left out" in asked.content
    assert "bob" in roles(cast)
    two = {"user_id": [str(cast.bob.id), str(cast.dora.id)]}
    told = client.post(f"{page}/bulk", {**two, "act": "role", "role": "viewer"}, follow=True).content
    assert b"1 person is now viewer here. For 1 it was so already." in told
    told = client.post(f"{page}/bulk", {**two, "act": "team", "team_id": str(cast.team.id)}, follow=True).content
    assert b"1 person is now in Loom. For 1 it was so already." in told
    above = client.post(f"{page}/bulk", {"user_id": str(cast.alice.id), "act": "role", "role": "viewer"}, follow=True)
    assert b"Alice: This role is above your own. Nobody was changed." in above.content
    client.post(f"{page}/bulk", {**two, "act": "remove", "sure": "1"})
    assert set(roles(cast)) == {"alice", "erin", "frank"}
    for wrong in ({}, {**two, "act": ""}, {"user_id": "x", "act": "remove", "sure": "1"}):
        assert client.post(f"{page}/bulk", wrong).status_code == 302
    viewer = Api(cast.frank).client
    assert b'form="bulk"' not in viewer.get(page).content
    assert viewer.post(f"{page}/bulk", {**ticked, "act": "remove", "sure": "1"}).status_code == 403
