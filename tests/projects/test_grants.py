"""`/projects/{id}/grants`: rights on one project beside those of roles, of people and of teams."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.accounts import services as accounts
from apps.core.errors import NotFound, PermissionDenied
from apps.core.tenancy import org_scope, system_scope
from apps.identity.models import User
from apps.projects import grants, permissions, services
from apps.projects.models import Project, ProjectTeamObjectPermission, ProjectUserObjectPermission
from apps.teams import services as teams
from tests.cast import Api, Cast, make_key, make_person, published, refused_by_the_database, rights_of, trail


@pytest.fixture
def gina(cast) -> Any:
    """She looks at usage, and may not even see that there are projects."""
    person = make_person("gina")
    role = accounts.create_role(org_id=cast.org.id, name="Looker", capabilities=["usage.read"])
    accounts.add_member(org_id=cast.org.id, user_id=person.id, role=role.key)
    return person


def give(cast: Cast, whom: Any, *capabilities: str, by: Any = None) -> Any:
    return services.give_project_access(
        org_id=cast.org.id, project_id=cast.project.id, grantee_id=whom.id, capabilities=capabilities,
        by_user_id=by.id if by else None,
    )  # fmt: skip


def path(cast: Cast, tail: str = "") -> str:
    return f"/projects/{cast.project.id}{tail}"


def may(cast: Cast, person: Any, capability: str) -> bool:
    return permissions.may(org_id=cast.org.id, user_id=person.id, capability=capability, project_id=cast.project.id)


# ---------------------------------------------------------------- what a grant gives
def test_a_grant_opens_one_project_and_no_other(cast, gina) -> None:
    other = services.create_project(org_id=cast.org.id, name="Other")
    api = Api(gina)
    assert api.get(path(cast)).status_code == 403
    assert api.get(f"/orgs/{cast.org.id}/projects").status_code == 403
    give(cast, gina, "project.read")
    assert api.get(path(cast)).status_code == 200
    assert api.get(f"/projects/{other.id}").status_code == 403
    assert [row["id"] for row in api.get(f"/orgs/{cast.org.id}/projects").json()["data"]] == [str(cast.project.id)]
    assert api.patch(path(cast), {"name": "Mine"}).status_code == 403
    assert api.get(path(cast, "/keys")).status_code == 403


def test_who_may_see_all_projects_still_sees_all(cast) -> None:
    services.create_project(org_id=cast.org.id, name="Other")
    give(cast, cast.dora, "project.manage")
    assert len(Api(cast.dora).get(f"/orgs/{cast.org.id}/projects").json()["data"]) == 2


def test_managing_one_project_is_all_of_it_with_its_keys(cast, gina) -> None:
    _, other_token = make_key(cast, name="other")
    give(cast, gina, "project.manage", "key.read")
    api = Api(gina)
    assert api.patch(path(cast), {"name": "Renamed"}).status_code == 200
    made = api.post(path(cast, "/keys"), {"name": "ci", "scopes": ["ingest"]})
    assert made.status_code == 201
    assert api.get(path(cast, "/keys")).status_code == 200
    assert api.delete(path(cast, f"/keys/{made.json()['id']}")).status_code == 204
    assert api.post(f"/orgs/{cast.org.id}/projects", {"name": "Another"}).status_code == 403
    assert other_token


def test_a_grant_of_keys_reaches_a_project_of_another_team(cast) -> None:
    """Dora, a viewer, is in no team: the role of a developer would not reach these keys either."""
    assert Api(cast.dora).post(path(cast, "/keys"), {"name": "ci", "scopes": ["ingest"]}).status_code == 403
    give(cast, cast.dora, "key.manage")
    assert Api(cast.dora).post(path(cast, "/keys"), {"name": "ci", "scopes": ["ingest"]}).status_code == 201
    above = Api(cast.dora).post(path(cast, "/keys"), {"name": "ci", "scopes": ["admin"]})
    assert (above.status_code, above.json()["code"]) == (403, "scope_ceiling")


def test_nobody_makes_a_key_that_reads_what_they_may_not(cast, gina) -> None:
    give(cast, gina, "key.manage")
    answer = Api(gina).post(path(cast, "/keys"), {"name": "ci", "scopes": ["read"]})
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_ceiling")
    assert published("key.created") == []


def test_what_a_team_was_given_its_members_may_do_while_they_are_in_it(cast, gina) -> None:
    weft = teams.create_team(org_id=cast.org.id, name="Weft")
    give(cast, weft, "project.read", "key.read")
    assert not may(cast, gina, "project.read")
    teams.add_team_member(org_id=cast.org.id, team_id=weft.id, user_id=gina.id)
    assert may(cast, gina, "project.read")
    assert may(cast, gina, "key.read")
    assert not may(cast, gina, "project.manage")
    assert Api(gina).get(path(cast, "/keys")).status_code == 200
    teams.remove_team_member(org_id=cast.org.id, team_id=weft.id, user_id=gina.id)
    assert Api(gina).get(path(cast, "/keys")).status_code == 403


def test_a_role_loses_nothing_by_a_grant(cast) -> None:
    held = permissions.held_on_project(org_id=cast.org.id, user_id=cast.bob.id, project_id=cast.project.id)
    give(cast, cast.bob, "project.read")
    after = permissions.held_on_project(org_id=cast.org.id, user_id=cast.bob.id, project_id=cast.project.id)
    assert held == after
    assert "key.manage" in after


def test_what_was_given_on_a_project_is_read_in_one_query(cast, gina) -> None:
    give(cast, gina, "project.manage")
    with CaptureQueriesContext(connection) as asked:
        permissions.granted_on_project(org_id=cast.org.id, user_id=gina.id, project_id=cast.project.id)
    assert len(asked) == 1


def test_whoever_holds_all_by_role_is_not_asked_about_grants(cast) -> None:
    api = Api(cast.alice)
    api.get(path(cast))
    with CaptureQueriesContext(connection) as asked:
        assert api.get(path(cast)).status_code == 200
    assert not [each["sql"] for each in asked.captured_queries if "objectpermission" in each["sql"]]


def test_usage_of_a_project_is_read_by_whoever_was_given_it_and_of_no_other(cast) -> None:
    hugo, other = make_person("hugo"), services.create_project(org_id=cast.org.id, name="Other")
    role = accounts.create_role(org_id=cast.org.id, name="Next to nothing", capabilities=["org.read"])
    accounts.add_member(org_id=cast.org.id, user_id=hugo.id, role=role.key)
    api, mine = Api(hugo), str(cast.project.id)
    assert api.get("/analytics/usage", {"filter[project]": mine}).status_code == 403
    give(cast, hugo, "usage.read")
    assert api.get("/analytics/usage", {"filter[project]": mine}).status_code == 200
    assert Api(hugo).client.get(f"/o/{cast.org.slug}/projects/{cast.project.slug}/usage").status_code == 200
    for asked in ({"filter[project]": str(other.id)}, {"filter[project]": f"{mine},{other.id}"}):
        assert api.get("/analytics/usage", asked).status_code == 403
    for twice in (f"filter[project]={other.id}&filter[project]={mine}", f"filter[project]={mine},"):
        assert api.client.get(f"/analytics/usage?{twice}").status_code == 403
        assert api.client.get(f"/v1/events?{twice}").status_code == 403


def test_pages_follow_grants_too(cast, gina) -> None:
    client, page = Api(gina).client, f"/o/{cast.org.slug}/projects/{cast.project.slug}"
    assert client.get(page).status_code == 403
    give(cast, gina, "key.manage")
    answer = client.get(page)
    assert answer.status_code == 200
    assert b"Make the key" in answer.content
    listed = client.get(f"/o/{cast.org.slug}/projects")
    assert (listed.status_code, b"Weaver" in listed.content) == (200, True)


# ---------------------------------------------------------------- giving and taking
def test_a_grant_is_given_listed_changed_and_taken(cast, gina) -> None:
    api, grant = Api(cast.erin), path(cast, f"/grants/{gina.id}")
    answer = api.put(grant, {"capabilities": ["key.manage"]})
    assert answer.status_code == 200
    assert answer.json()["capabilities"] == ["project.read", "key.manage"]
    assert (answer.json()["type"], answer.json()["name"], answer.json()["email"]) == (
        "user", "Gina", "gina@example.com",
    )  # fmt: skip
    api.put(path(cast, f"/grants/{cast.team.id}"), {"capabilities": ["project.read"]})
    rows = api.get(path(cast, "/grants")).json()["data"]
    assert [(row["type"], row["name"]) for row in rows] == [("team", "Loom"), ("user", "Gina")]
    api.put(grant, {"capabilities": ["project.read", "key.read"]})
    assert api.get(path(cast, "/grants")).json()["data"][1]["capabilities"] == ["project.read", "key.read"]
    assert api.delete(grant).status_code == 204
    assert api.delete(grant).status_code == 404
    assert not may(cast, gina, "project.read")
    changed = trail("project.access_changed")
    assert [entry.changes["capabilities"] for entry in changed if "user_id" in entry.changes] == [
        [[], ["project.read", "key.manage"]],
        [["project.read", "key.manage"], ["project.read", "key.read"]],
    ]
    [entry] = trail("project.access_removed")
    assert (entry.target_id, entry.changes["user_id"]) == (str(cast.project.id), [str(gina.id), None])
    assert [event["grantee_type"] for event in published("project.access_changed")] == ["user", "team", "user"]
    assert published("project.access_removed")[0]["grantee_id"] == str(gina.id)


def test_the_same_again_leaves_no_entry(cast, gina) -> None:
    for _ in range(2):
        give(cast, gina, "key.read")
    assert len(trail("project.access_changed")) == 1


@pytest.mark.parametrize(
    ("capabilities", "pointer"), [([], "/capabilities"), (["key.read", "org.delete"], "/capabilities/1")]
)
def test_what_cannot_be_given_is_refused(cast, gina, capabilities, pointer) -> None:
    answer = Api(cast.alice).put(path(cast, f"/grants/{gina.id}"), {"capabilities": capabilities})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)


def test_only_members_and_teams_of_the_organisation_are_given_anything(cast) -> None:
    for stranger in (cast.charlie, cast.their_team, cast.project):
        answer = Api(cast.alice).put(path(cast, f"/grants/{stranger.id}"), {"capabilities": ["project.read"]})
        assert answer.status_code == 404
    theirs = Api(cast.alice).put(
        f"/projects/{cast.their_project.id}/grants/{cast.bob.id}", {"capabilities": ["project.read"]}
    )
    assert theirs.status_code == 404
    with system_scope("the test looks at all"):
        assert not ProjectUserObjectPermission.objects.exists()


@pytest.mark.parametrize("who", ["developer", "billing", "viewer", "stranger", "nobody"])
def test_others_give_and_take_nothing(cast, gina, who) -> None:
    give(cast, gina, "project.read")
    api, refused = rights_of(cast)[who], {"stranger": 404, "nobody": 401}.get(who, 403)
    assert api.get(path(cast, "/grants")).status_code == refused
    assert api.put(path(cast, f"/grants/{cast.dora.id}"), {"capabilities": ["key.read"]}).status_code == refused
    assert api.delete(path(cast, f"/grants/{gina.id}")).status_code == refused
    assert [each.id for each in grants.project_grants(org_id=cast.org.id, project_id=cast.project.id)] == [gina.id]


def test_nobody_gives_or_takes_what_they_do_not_hold_there(cast, gina) -> None:
    give(cast, gina, "project.manage")
    give(cast, cast.frank, "project.read", "key.read")
    for capabilities in (["key.read"], ["project.manage", "key.read"]):
        answer = Api(gina).put(path(cast, f"/grants/{gina.id}"), {"capabilities": capabilities})
        assert (answer.status_code, answer.json()["code"]) == (403, "grant_ceiling")
    assert Api(gina).delete(path(cast, f"/grants/{cast.frank.id}")).json()["code"] == "grant_ceiling"
    assert may(cast, cast.frank, "key.read")
    assert not may(cast, gina, "key.read")
    assert Api(gina).put(path(cast, f"/grants/{cast.dora.id}"), {"capabilities": ["key.manage"]}).status_code == 200


def test_nobody_comes_to_more_through_a_team(cast, gina) -> None:
    """Hugo puts people into teams, and manages no project: not into a team that may do what he may not."""
    hugo = make_person("hugo")
    lead = accounts.create_role(
        org_id=cast.org.id, name="Team lead", capabilities=["team.read", "team.manage", "key.manage"]
    )
    accounts.add_member(org_id=cast.org.id, user_id=hugo.id, role=lead.key)
    weft = teams.create_team(org_id=cast.org.id, name="Weft")
    give(cast, weft, "project.manage")
    api = Api(hugo)
    for team, person in ((weft, hugo), (weft, gina), (cast.team, hugo)):
        answer = api.put(f"/teams/{team.id}/members/{person.id}", {})
        assert (answer.status_code, answer.json()["code"]) == (403, "grant_ceiling")
    assert not may(cast, hugo, "key.manage")
    assert api.put(f"/teams/{cast.team.id}/members/{gina.id}", {}).status_code == 204
    assert Api(cast.erin).put(f"/teams/{weft.id}/members/{hugo.id}", {}).status_code == 204


# ---------------------------------------------------------------- ends
def test_grants_end_with_the_membership_the_team_and_the_project(cast, gina) -> None:
    weft = teams.create_team(org_id=cast.org.id, name="Weft")
    give(cast, gina, "project.manage")
    give(cast, weft, "project.read")
    accounts.remove_member(org_id=cast.org.id, user_id=gina.id)
    teams.delete_team(org_id=cast.org.id, team_id=weft.id)
    assert grants.project_grants(org_id=cast.org.id, project_id=cast.project.id) == []
    accounts.add_member(org_id=cast.org.id, user_id=gina.id, role="billing")
    assert not may(cast, gina, "project.read")
    give(cast, gina, "project.manage")
    give(cast, cast.team, "project.read")
    with org_scope(cast.org.id):
        Project.objects.filter(pk=cast.project.id).delete()
        assert not ProjectUserObjectPermission.objects.exists()
        assert not ProjectTeamObjectPermission.objects.exists()


def test_the_database_gives_nothing_to_others(cast, gina) -> None:
    give(cast, gina, "project.read")
    give(cast, cast.team, "project.read")
    with org_scope(cast.org.id):
        mine, ours = ProjectUserObjectPermission.objects.get(), ProjectTeamObjectPermission.objects.get()
    rows = ProjectUserObjectPermission.objects
    refused_by_the_database(lambda: rows.filter(pk=mine.pk).update(user_id=cast.charlie.id))
    refused_by_the_database(lambda: rows.filter(pk=mine.pk).update(content_object_id=cast.their_project.id))
    teams_rows = ProjectTeamObjectPermission.objects
    refused_by_the_database(lambda: teams_rows.filter(pk=ours.pk).update(team_id=cast.their_team.id))


def test_there_is_a_most(cast, gina, monkeypatch) -> None:
    monkeypatch.setattr(grants, "MAX_GRANTS", 1)
    give(cast, gina, "project.read")
    give(cast, gina, "project.read", "key.read")
    answer = Api(cast.alice).put(path(cast, f"/grants/{cast.dora.id}"), {"capabilities": ["key.read"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_grants")


def test_who_does_not_exist_has_nothing(cast) -> None:
    with pytest.raises(NotFound):
        give(cast, cast.charlie, "project.read")
    with pytest.raises(PermissionDenied):
        give(cast, cast.dora, "project.read", by=cast.charlie)


# ---------------------------------------------------------------- django-guardian
def test_guardian_knows_the_same_of_a_person_and_nothing_of_nobody(cast, gina) -> None:
    give(cast, gina, "key.manage")
    user = User.objects.get(pk=gina.id)
    with org_scope(cast.org.id):
        project = Project.objects.get(pk=cast.project.id)
        assert user.has_perm("projects.key_manage", project)
        assert not user.has_perm("projects.project_manage", project)
        assert not AnonymousUser().has_perm("projects.key_manage", project)
    assert not User.objects.filter(email="AnonymousUser").exists()


def test_a_superuser_of_the_staff_has_nothing_in_an_organisation_by_it(cast) -> None:
    User.objects.filter(pk=cast.charlie.id).update(is_superuser=True, is_staff=True)
    assert not may(cast, cast.charlie, "project.read")
    assert Api(cast.charlie).get(path(cast)).status_code == 404
