"""`/teams/{id}/grants`: rights of single people on single teams, which make a team's lead."""

from typing import Any

import pytest

from apps.accounts import services as accounts
from apps.teams import grants, permissions, services
from apps.teams.models import TeamUserObjectPermission
from tests.cast import Api, Cast, make_person, published, refused_by_the_database, trail


@pytest.fixture
def gina(cast) -> Any:
    person = make_person("gina")
    role = accounts.create_role(org_id=cast.org.id, name="Looker", capabilities=["usage.read"])
    accounts.add_member(org_id=cast.org.id, user_id=person.id, role=role.key)
    return person


def path(cast: Cast, tail: str = "") -> str:
    return f"/teams/{cast.team.id}{tail}"


def test_a_lead_manages_their_team_and_no_other(cast, gina) -> None:
    weft, api = services.create_team(org_id=cast.org.id, name="Weft"), Api(gina)
    assert api.get(path(cast)).status_code == 403
    answer = Api(cast.erin).put(path(cast, f"/grants/{gina.id}"), {"capabilities": ["team.manage"]})
    assert answer.json()["capabilities"] == ["team.read", "team.manage"]
    assert api.patch(path(cast), {"name": "Renamed"}).status_code == 200
    assert api.put(path(cast, f"/members/{cast.dora.id}"), {}).status_code == 204
    assert api.patch(f"/teams/{weft.id}", {"name": "Mine"}).status_code == 403
    assert [row["name"] for row in api.get(f"/orgs/{cast.org.id}/teams").json()["data"]] == ["Renamed"]
    assert api.post(f"/orgs/{cast.org.id}/teams", {"name": "Another"}).status_code == 403
    page = f"/o/{cast.org.slug}/settings/teams/{cast.team.slug}"
    assert b"Add to the team" in api.client.get(page).content
    assert b"Weft" not in api.client.get(f"/o/{cast.org.slug}/settings/teams").content


def test_a_lead_names_another_and_takes_it_back(cast, gina) -> None:
    services.give_team_access(org_id=cast.org.id, team_id=cast.team.id, user_id=gina.id, capabilities=["team.manage"])
    api = Api(gina)
    assert api.put(path(cast, f"/grants/{cast.dora.id}"), {"capabilities": ["team.manage"]}).status_code == 200
    assert [row["name"] for row in api.get(path(cast, "/grants")).json()["data"]] == ["Dora", "Gina"]
    assert api.delete(path(cast, f"/grants/{cast.dora.id}")).status_code == 204
    assert api.delete(path(cast, f"/grants/{cast.dora.id}")).status_code == 404
    assert trail("team.access_changed")[-1].actor_id == gina.id
    assert published("team.access_removed") == [{"team_id": str(cast.team.id), "user_id": str(cast.dora.id)}]


def test_who_may_read_one_team_gives_nothing(cast, gina) -> None:
    services.give_team_access(org_id=cast.org.id, team_id=cast.team.id, user_id=gina.id, capabilities=["team.read"])
    api = Api(gina)
    assert api.get(path(cast)).status_code == 200
    assert api.get(path(cast, "/grants")).status_code == 403
    assert api.put(path(cast, f"/grants/{gina.id}"), {"capabilities": ["team.manage"]}).status_code == 403
    assert not permissions.may(org_id=cast.org.id, user_id=gina.id, capability="team.manage", team_id=cast.team.id)


def test_strangers_are_given_nothing(cast, gina) -> None:
    alice = Api(cast.alice)
    assert alice.put(path(cast, f"/grants/{cast.charlie.id}"), {"capabilities": ["team.read"]}).status_code == 404
    theirs = f"/teams/{cast.their_team.id}/grants/{gina.id}"
    assert alice.put(theirs, {"capabilities": ["team.read"]}).status_code == 404
    assert alice.put(path(cast, f"/grants/{gina.id}"), {"capabilities": ["project.read"]}).status_code == 400
    assert grants.team_grants(org_id=cast.org.id, team_id=cast.team.id) == []


def test_rights_end_with_the_membership(cast, gina) -> None:
    services.give_team_access(org_id=cast.org.id, team_id=cast.team.id, user_id=gina.id, capabilities=["team.read"])
    rows = TeamUserObjectPermission.objects
    refused_by_the_database(lambda: rows.update(user_id=cast.charlie.id))
    accounts.remove_member(org_id=cast.org.id, user_id=gina.id)
    assert grants.team_grants(org_id=cast.org.id, team_id=cast.team.id) == []
