"""`/orgs/{id}/teams`, `/teams/{id}` and who is in them."""

import pytest

from apps.accounts import services as accounts
from apps.core.database import read_often
from apps.core.ids import uuid7
from apps.core.tenancy import TenancyError
from apps.projects import selectors as projects
from apps.teams import selectors, services
from apps.teams.models import Team, TeamMembership
from tests.cast import Api, at_once, make_cast, published, refused_by_the_database, rights_of, trail


def people_in(cast, team=None) -> set:
    rows = selectors.team_members(org_id=cast.org.id, team_id=(team or cast.team).id)
    return {row.user_id for row in rows}


def primary_teams(org_id) -> dict:
    return dict(read_often(*selectors.primary_teams_question(org_id)))


# ---------------------------------------------------------------- teams
def test_a_team_is_made_under_another(cast) -> None:
    answer = Api(cast.erin).post(f"/orgs/{cast.org.id}/teams", {"name": " Weft ", "parent_id": str(cast.team.id)})
    assert answer.status_code == 201
    team = answer.json()
    assert (team["name"], team["slug"], team["parent_id"]) == ("Weft", "weft", str(cast.team.id))
    assert published("team.created")[-1] == {"team_id": team["id"], "name": "Weft"}
    assert [entry.actor_id for entry in trail("team.created", target_id=team["id"])] == [cast.erin.id]
    again = Api(cast.erin).post(f"/orgs/{cast.org.id}/teams", {"name": "Weft"}).json()
    assert again["slug"] == "weft-2"


WRITES = {"developer": 403, "billing": 403, "viewer": 403, "stranger": 404, "nobody": 401}
READS = {"developer": 200, "billing": 403, "viewer": 200, "stranger": 404, "nobody": 401}


@pytest.mark.parametrize("who", WRITES)
def test_who_may_do_what_with_teams(cast, who) -> None:
    api, team, teams = rights_of(cast)[who], f"/teams/{cast.team.id}", f"/orgs/{cast.org.id}/teams"
    assert api.get(teams).status_code == api.get(team).status_code == READS[who]
    assert api.post(teams, {"name": "New"}).status_code == WRITES[who]
    assert api.patch(team, {"name": "Other"}).status_code == WRITES[who]
    assert api.put(f"{team}/members/{cast.dora.id}", {}).status_code == WRITES[who]
    assert api.delete(f"{team}/members/{cast.bob.id}").status_code == WRITES[who]
    assert api.delete(team).status_code == WRITES[who]
    assert selectors.team_names(cast.org.id) == {cast.team.id: "Loom"}
    assert people_in(cast) == {cast.bob.id}


def test_a_team_is_shown_with_its_members(cast) -> None:
    body = Api(cast.dora).get(f"/teams/{cast.team.id}").json()
    assert body["name"] == "Loom"
    assert body["members"] == [
        {"user_id": str(cast.bob.id), "email": "bob@example.com", "name": "Bob", "is_primary": True}
    ]


def test_teams_of_elsewhere_are_neither_listed_nor_taken_as_parent(cast) -> None:
    api = Api(cast.alice)
    assert [team["id"] for team in api.get(f"/orgs/{cast.org.id}/teams").json()["data"]] == [str(cast.team.id)]
    for parent in (cast.their_team.id, uuid7()):
        answer = api.post(f"/orgs/{cast.org.id}/teams", {"name": "New", "parent_id": str(parent)})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/parent_id")
    assert api.get(f"/teams/{uuid7()}").status_code == 404


def test_a_team_cannot_come_to_stand_below_itself(cast) -> None:
    api = Api(cast.alice)
    child = services.create_team(org_id=cast.org.id, name="Child", parent_id=cast.team.id)
    for parent in (cast.team, child):
        answer = api.patch(f"/teams/{cast.team.id}", {"parent_id": str(parent.id)})
        assert (answer.status_code, answer.json()["code"]) == (409, "team_cycle")
    assert selectors.team_get(org_id=cast.org.id, team_id=cast.team.id).parent_id is None
    assert api.patch(f"/teams/{child.id}", {"parent_id": None}).json()["parent_id"] is None


def test_teams_are_nested_one_level_and_no_deeper(cast) -> None:
    api, teams = Api(cast.alice), f"/orgs/{cast.org.id}/teams"
    part = services.create_team(org_id=cast.org.id, name="Part", parent_id=cast.team.id)
    other = services.create_team(org_id=cast.org.id, name="Other")
    for answer in (
        api.post(teams, {"name": "Deeper", "parent_id": str(part.id)}),
        api.patch(f"/teams/{other.id}", {"parent_id": str(part.id)}),
        api.patch(f"/teams/{cast.team.id}", {"parent_id": str(other.id)}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "team_nesting")
    assert len(selectors.team_names(cast.org.id)) == 3
    assert api.patch(f"/teams/{part.id}", {"parent_id": str(other.id)}).json()["parent_id"] == str(other.id)


def test_the_database_itself_nests_teams_one_level(cast) -> None:
    part = services.create_team(org_id=cast.org.id, name="Part", parent_id=cast.team.id)
    other = services.create_team(org_id=cast.org.id, name="Other")
    refused_by_the_database(lambda: Team.objects.create(org_id=cast.org.id, name="x", slug="x", parent_id=part.id))
    refused_by_the_database(lambda: Team.objects.filter(pk=cast.team.id).update(parent_id=other.id))


def test_the_page_offers_only_what_can_be(cast) -> None:
    services.create_team(org_id=cast.org.id, name="Part", parent_id=cast.team.id)
    client = Api(cast.alice).client
    whole = client.get("/o/wonder-looms/settings/teams/loom", headers={"accept": "text/html"}).content.decode()
    assert "It has parts of its own" in whole
    assert 'href="/o/wonder-looms/settings/teams/part"' in whole
    listed = client.get("/o/wonder-looms/settings/teams", headers={"accept": "text/html"}).content.decode()
    assert ">Loom</option>" in listed
    assert ">Part</option>" not in listed


def test_somebodys_usage_is_made_to_count_for_another_team_of_theirs(cast) -> None:
    other = services.create_team(org_id=cast.org.id, name="Weft")
    services.add_team_member(org_id=cast.org.id, team_id=other.id, user_id=cast.bob.id)
    client = Api(cast.alice).client
    client.post(f"/o/wonder-looms/settings/teams/weft/members/{cast.bob.id}/primary")
    assert primary_teams(cast.org.id) == {cast.bob.id: other.id}


def test_a_change_is_recorded_and_none_is_not(cast) -> None:
    api = Api(cast.alice)
    assert api.patch(f"/teams/{cast.team.id}", {"name": "Loom"}).status_code == 200
    assert trail("team.updated") == []
    assert api.patch(f"/teams/{cast.team.id}", {"name": " Warp "}).json()["name"] == "Warp"
    assert [entry.changes for entry in trail("team.updated")] == [{"name": ["Loom", "Warp"]}]
    assert api.patch(f"/teams/{cast.team.id}", {"name": "  "}).status_code == 400


def test_a_deleted_team_lets_go_of_what_was_its(cast) -> None:
    child = services.create_team(org_id=cast.org.id, name="Child", parent_id=cast.team.id)
    assert Api(cast.alice).delete(f"/teams/{cast.team.id}").status_code == 204
    assert selectors.team_get(org_id=cast.org.id, team_id=child.id).parent_id is None
    assert projects.project_get(org_id=cast.org.id, project_id=cast.project.id).team_id is None
    assert primary_teams(cast.org.id) == {}
    assert published("team.deleted") == [{"team_id": str(cast.team.id)}]
    assert Api(cast.alice).get(f"/teams/{cast.team.id}").status_code == 404


# ---------------------------------------------------------------- members
def test_a_persons_first_team_is_their_primary_one_until_another_is_named(cast) -> None:
    api, other = Api(cast.alice), services.create_team(org_id=cast.org.id, name="Weft")
    assert api.put(f"/teams/{other.id}/members/{cast.bob.id}").status_code == 204
    assert primary_teams(cast.org.id) == {cast.bob.id: cast.team.id}
    assert api.put(f"/teams/{other.id}/members/{cast.bob.id}", {"is_primary": True}).status_code == 204
    assert primary_teams(cast.org.id) == {cast.bob.id: other.id}
    assert people_in(cast) == people_in(cast, other) == {cast.bob.id}


def test_putting_somebody_into_a_team_again_changes_and_tells_nothing(cast) -> None:
    before = len(published("team.member_added"))
    for _ in range(2):
        assert Api(cast.alice).put(f"/teams/{cast.team.id}/members/{cast.bob.id}", {}).status_code == 204
    assert len(published("team.member_added")) == before
    assert primary_teams(cast.org.id) == {cast.bob.id: cast.team.id}


def test_only_members_of_the_organisation_are_put_into_its_teams(cast) -> None:
    for stranger in (cast.charlie.id, uuid7()):
        assert Api(cast.alice).put(f"/teams/{cast.team.id}/members/{stranger}", {}).status_code == 404
    assert people_in(cast) == {cast.bob.id}


def test_somebody_is_taken_out_of_a_team(cast) -> None:
    path = f"/teams/{cast.team.id}/members/{cast.bob.id}"
    assert Api(cast.erin).delete(path).status_code == 204
    assert people_in(cast) == set()
    assert published("team.member_removed") == [{"team_id": str(cast.team.id), "user_id": str(cast.bob.id)}]
    assert Api(cast.erin).delete(path).status_code == 404


def test_whoever_leaves_the_organisation_leaves_its_teams(cast) -> None:
    accounts.remove_member(org_id=cast.org.id, user_id=cast.bob.id)
    assert people_in(cast) == set()
    accounts.add_member(org_id=cast.org.id, user_id=cast.bob.id, role="viewer")
    assert people_in(cast) == set(), "and does not come back into them"


# ---------------------------------------------------------------- the database's own line
def test_the_database_holds_teams_of_two_organisations_apart(cast) -> None:
    mine = {"org_id": cast.org.id, "team_id": cast.their_team.id, "user_id": cast.alice.id}
    refused_by_the_database(lambda: TeamMembership.objects.create(**mine))
    refused_by_the_database(
        lambda: Team.objects.create(org_id=cast.org.id, name="x", slug="x", parent_id=cast.their_team.id)
    )
    refused_by_the_database(
        lambda: TeamMembership.objects.create(org_id=cast.org.id, team_id=cast.team.id, user_id=cast.charlie.id)
    )


def test_teams_are_not_read_outside_a_scope(cast) -> None:
    with pytest.raises(TenancyError):
        Team.objects.count()
    with pytest.raises(TenancyError):
        TeamMembership.objects.count()


# ---------------------------------------------------------------- at once
@pytest.mark.django_db(transaction=True)
def test_two_teams_put_below_each_other_at_once_make_no_circle() -> None:
    cast = make_cast()
    a, b = (services.create_team(org_id=cast.org.id, name=name) for name in "ab")
    at_once(
        lambda: services.update_team(org_id=cast.org.id, team_id=a.id, changes={"parent_id": b.id}),
        lambda: services.update_team(org_id=cast.org.id, team_id=b.id, changes={"parent_id": a.id}),
    )
    parents = {team_id: selectors.team_get(org_id=cast.org.id, team_id=team_id).parent_id for team_id in (a.id, b.id)}
    assert sorted(map(bool, parents.values())) == [False, True]


@pytest.mark.django_db(transaction=True)
def test_two_primary_teams_named_at_once_leave_one() -> None:
    cast = make_cast()
    made = [services.create_team(org_id=cast.org.id, name=name) for name in "ab"]
    results = at_once(
        *[
            lambda team=team: services.add_team_member(
                org_id=cast.org.id, team_id=team.id, user_id=cast.dora.id, is_primary=True
            )
            for team in made
        ]
    )
    assert results == [None, None]
    assert primary_teams(cast.org.id)[cast.dora.id] in {team.id for team in made}
