"""`/orgs/{id}/projects` and `/projects/{id}`."""

import pytest

from apps.core import ports
from apps.core.ids import uuid7
from apps.core.tenancy import TenancyError
from apps.projects import selectors, services
from apps.projects.models import ApiKey, Project
from tests.cast import Api, make_key, published, refused_by_the_database, rights_of, trail


def test_a_project_is_made_with_a_team(cast) -> None:
    body = {"name": " Nightly import ", "team_id": str(cast.team.id)}
    answer = Api(cast.erin).post(f"/orgs/{cast.org.id}/projects", body)
    assert answer.status_code == 201
    project = answer.json()
    assert (project["name"], project["slug"]) == ("Nightly import", "nightly-import")
    assert (project["org_id"], project["team_id"]) == (str(cast.org.id), str(cast.team.id))
    assert published("project.created")[-1] == {"project_id": project["id"], "name": "Nightly import"}
    [entry] = trail("project.created", target_id=project["id"])
    assert (entry.actor_id, entry.org_id) == (cast.erin.id, cast.org.id)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": " "}, "/name"),
        ({}, "/name"),
        ({"name": "x", "team_id": "t"}, "/team_id"),
        ({"name": "x", "a": 1}, "/a"),
    ],
)
def test_a_project_that_is_not_valid_is_not_made(cast, body, pointer) -> None:
    answer = Api(cast.alice).post(f"/orgs/{cast.org.id}/projects", body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)
    assert list(selectors.project_names(cast.org.id)) == [cast.project.id]


def test_a_team_of_elsewhere_is_no_team_of_a_project(cast) -> None:
    body = {"name": "x", "team_id": str(cast.their_team.id)}
    assert Api(cast.alice).post(f"/orgs/{cast.org.id}/projects", body).status_code == 400
    change = {"team_id": str(cast.their_team.id)}
    assert Api(cast.alice).patch(f"/projects/{cast.project.id}", change).status_code == 400


WRITES = {"developer": 403, "billing": 403, "viewer": 403, "stranger": 404, "nobody": 401}
READS = {"developer": 200, "billing": 403, "viewer": 200, "stranger": 404, "nobody": 401}


@pytest.mark.parametrize("who", WRITES)
def test_who_may_do_what_with_projects(cast, who) -> None:
    api, project, all_ = rights_of(cast)[who], f"/projects/{cast.project.id}", f"/orgs/{cast.org.id}/projects"
    assert api.get(all_).status_code == api.get(project).status_code == READS[who]
    assert api.post(all_, {"name": "New"}).status_code == WRITES[who]
    assert api.patch(project, {"name": "Other"}).status_code == WRITES[who]
    assert api.delete(project).status_code == WRITES[who]
    assert selectors.project_names(cast.org.id) == {cast.project.id: "Weaver"}


def test_a_key_reads_the_projects_of_its_organisation_and_no_other(cast) -> None:
    _, token = make_key(cast)
    api = Api(token=token)
    assert [row["id"] for row in api.get(f"/orgs/{cast.org.id}/projects").json()["data"]] == [str(cast.project.id)]
    assert api.get(f"/projects/{cast.project.id}").status_code == 200
    assert api.get(f"/projects/{cast.their_project.id}").status_code == 404
    assert api.get(f"/orgs/{cast.elsewhere.id}/projects").status_code == 404
    _, ingest_only = make_key(cast, scopes=("ingest",))
    assert Api(token=ingest_only).get(f"/projects/{cast.project.id}").json()["code"] == "scope_missing"


def test_a_change_is_recorded_and_none_is_not(cast) -> None:
    api, path = Api(cast.alice), f"/projects/{cast.project.id}"
    assert api.patch(path, {"name": "Weaver", "team_id": str(cast.team.id)}).status_code == 200
    assert trail("project.updated") == []
    assert api.patch(path, {"name": "Spinner", "team_id": None}).json()["team_id"] is None
    [entry] = trail("project.updated")
    assert entry.changes == {"name": ["Weaver", "Spinner"], "team_id": [str(cast.team.id), None]}


def test_an_archived_project_keeps_its_row_and_loses_its_keys(cast) -> None:
    _, token = make_key(cast)
    api = Api(cast.alice)
    assert selectors.key_authenticate(token) is not None
    for _ in range(2):
        assert api.delete(f"/projects/{cast.project.id}").status_code == 204
    selectors.forget_keys()
    assert selectors.key_authenticate(token) is None
    assert api.get(f"/orgs/{cast.org.id}/projects").json()["data"] == []
    archived = api.get(f"/orgs/{cast.org.id}/projects", {"archived": "true"}).json()["data"]
    assert [row["archived_at"] is not None for row in archived] == [True]
    assert published("project.deleted") == [{"project_id": str(cast.project.id)}]
    refused = api.post(f"/projects/{cast.project.id}/keys", {"name": "late", "scopes": ["read"]})
    assert (refused.status_code, refused.json()["code"]) == (409, "project_archived")


def test_the_plan_may_limit_how_many_projects_there_are(cast, monkeypatch) -> None:
    class One:
        def limit(self, org_id, name):
            return 1 if name == "projects" else None

    monkeypatch.setattr(ports.plan_limits, "get", One)
    answer = Api(cast.alice).post(f"/orgs/{cast.org.id}/projects", {"name": "Second"})
    assert (answer.status_code, answer.json()["code"]) == (403, "plan_limit_reached")
    services.archive_project(org_id=cast.org.id, project_id=cast.project.id)
    assert Api(cast.alice).post(f"/orgs/{cast.org.id}/projects", {"name": "Second"}).status_code == 201


def test_a_project_that_does_not_exist_is_not_found(cast) -> None:
    for path in (f"/projects/{uuid7()}", f"/projects/{uuid7()}/keys"):
        assert Api(cast.alice).get(path).status_code == 404


def test_the_database_holds_projects_and_keys_of_two_organisations_apart(cast) -> None:
    key = {"org_id": cast.org.id, "name": "x", "prefix": "mw_xxxxxx", "digest": b"x" * 32, "scopes": ["read"]}
    refused_by_the_database(
        lambda: Project.objects.create(org_id=cast.org.id, name="x", slug="x", team_id=cast.their_team.id)
    )
    refused_by_the_database(lambda: ApiKey.objects.create(project_id=cast.their_project.id, **key))
    refused_by_the_database(
        lambda: ApiKey.objects.create(project_id=cast.project.id, team_id=cast.their_team.id, **key)
    )


def test_projects_and_keys_are_not_read_outside_a_scope(cast) -> None:
    for model in (Project, ApiKey):
        with pytest.raises(TenancyError):
            model.objects.count()
