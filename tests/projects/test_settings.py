"""What a project asks of its events: kept, checked, and obeyed at ingest."""

from typing import Any

import pytest

from apps.accounts.services import update_organization
from apps.core.tenancy import org_scope
from apps.projects import selectors, services
from apps.projects.models import ProjectSettings
from apps.projects.selectors import forget_keys, key_authenticate
from tests.cast import Api, make_key, published, refused_by_the_database, rights_of, trail


def path(cast) -> str:
    return f"/projects/{cast.project.id}/settings"


def change(cast, **changes: Any) -> Any:
    return services.update_project_settings(org_id=cast.org.id, project_id=cast.project.id, changes=changes)


# ---------------------------------------------------------------- reading and changing
def test_a_project_begins_with_settings_that_ask_nothing(cast) -> None:
    answer = Api(cast.dora).get(path(cast))
    assert answer.status_code == 200
    assert answer.json() == {
        "project_id": str(cast.project.id), "allowed_models": [], "allowed_sources": [], "outside": "report",
        "raw_retention_days": None, "metadata": "keep", "metadata_drop": [], "metadata_hash": [],
        "email_attribution": True, "default_tags": {}, "environments": ["production", "staging", "development"],
        "updated_at": None,
    }  # fmt: skip
    _, token = make_key(cast)
    assert key_authenticate(token).rules is None


def test_a_change_is_recorded_published_and_seen_by_every_key(cast) -> None:
    _, token = make_key(cast)
    assert key_authenticate(token).rules is None
    body = {"allowed_models": ["claude-haiku-*", "claude-haiku-*"], "default_tags": {"cost_center": "42"}}
    answer = Api(cast.erin).patch(path(cast), body)
    assert answer.status_code == 200
    assert answer.json()["allowed_models"] == ["claude-haiku-*"]
    [entry] = trail("project.settings_changed")
    assert (entry.actor_id, entry.changes["allowed_models"]) == (cast.erin.id, [[], ["claude-haiku-*"]])
    assert published("project.settings_changed") == [
        {
            "project_id": str(cast.project.id), "changed": ["allowed_models", "default_tags"],
            "tag_keys": ["cost_center"],
        }
    ]  # fmt: skip
    forget_keys()  # the transaction of a test commits nothing
    rules = key_authenticate(token).rules
    assert (rules.allowed_models, rules.default_tags) == (("claude-haiku-*",), (("cost_center", "42"),))
    assert Api(cast.erin).patch(path(cast), body).status_code == 200
    assert len(trail("project.settings_changed")) == 1, "the same again is no change"


def test_another_process_sees_a_change_by_the_version_of_keys(cast, monkeypatch) -> None:
    _, token = make_key(cast)
    assert key_authenticate(token).rules is None
    with org_scope(cast.org.id):  # what another process writes, of which this one hears nothing
        ProjectSettings.objects.create(org_id=cast.org.id, project_id=cast.project.id, allowed_models=["x"])
    later = selectors.time.monotonic() + 0.5
    monkeypatch.setattr(selectors.time, "monotonic", lambda: later)
    assert key_authenticate(token).rules is not None


def test_nobody_overwrites_what_they_have_not_seen(cast) -> None:
    api = Api(cast.alice)
    seen = api.get(path(cast)).headers["ETag"]
    assert api.patch(path(cast), {"outside": "refuse"}, If_Match=seen).status_code == 200
    late = api.patch(path(cast), {"outside": "report"}, If_Match=seen)
    assert (late.status_code, late.json()["code"]) == (412, "stale")
    assert api.get(path(cast)).json()["outside"] == "refuse"
    assert api.patch(path(cast), {"metadata": "drop"}, If_Match="*").status_code == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"allowed_models": [""]}, "/allowed_models/0"),
        ({"allowed_models": ["x"] * 101}, "/allowed_models"),
        ({"allowed_sources": ["x" * 65]}, "/allowed_sources/0"),
        ({"outside": "maybe"}, "/outside"),
        ({"raw_retention_days": 8}, "/raw_retention_days"),
        ({"raw_retention_days": 0}, "/raw_retention_days"),
        ({"metadata": "burn"}, "/metadata"),
        ({"default_tags": {"": "x"}}, "/default_tags/"),
        ({"default_tags": {"a/b": ""}}, "/default_tags/a~1b"),
        ({"default_tags": {"environment": "production"}}, "/default_tags/environment"),
        ({"environments": ["Production"]}, "/environments/0"),
        ({"environments": [f"e{n}" for n in range(21)]}, "/environments"),
        ({"version": 7}, "/version"),
    ],
)
def test_settings_that_are_not_valid_change_nothing(cast, body, pointer) -> None:
    answer = Api(cast.alice).patch(path(cast), body)
    assert answer.status_code == 400, answer.content
    assert answer.json()["errors"][0]["pointer"].startswith(pointer.rstrip("/"))
    assert selectors.project_settings_get(org_id=cast.org.id, project_id=cast.project.id).version == 0
    assert trail("project.settings_changed") == []


def test_raw_events_are_kept_as_long_as_the_organisation_says_at_most(cast) -> None:
    assert Api(cast.alice).patch(path(cast), {"raw_retention_days": 7}).status_code == 200
    assert Api(cast.alice).patch(path(cast), {"raw_retention_days": 30}).status_code == 400
    update_organization(org_id=cast.org.id, changes={"raw_retention_days": 30})
    assert Api(cast.alice).patch(path(cast), {"raw_retention_days": 30}).status_code == 200


WRITES = {"owner": 200, "admin": 200, "developer": 403, "billing": 403, "viewer": 403, "stranger": 404, "nobody": 401}


@pytest.mark.parametrize("who", WRITES)
def test_who_may_change_settings(cast, who) -> None:
    assert rights_of(cast)[who].patch(path(cast), {"outside": "refuse"}).status_code == WRITES[who]
    changed = selectors.project_settings_get(org_id=cast.org.id, project_id=cast.project.id).outside == "refuse"
    assert changed == (WRITES[who] == 200)


def test_settings_are_of_a_project_of_the_same_organisation(cast) -> None:
    refused_by_the_database(
        lambda: ProjectSettings.objects.create(org_id=cast.org.id, project_id=cast.their_project.id)
    )


# ---------------------------------------------------------------- environments
def test_a_key_is_of_one_of_its_projects_environments(cast) -> None:
    key, token = make_key(cast, environment="staging")
    assert key.environment == "staging"
    assert key_authenticate(token).rules.default_tags == (("environment", "staging"),)
    wrong = Api(cast.alice).post(
        f"/projects/{cast.project.id}/keys", {"name": "k", "scopes": ["read"], "environment": "moon"}
    )
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (400, "/environment")


def test_an_environment_that_a_living_key_is_of_stays(cast) -> None:
    key, _ = make_key(cast, environment="staging")
    answer = Api(cast.alice).patch(path(cast), {"environments": ["production", "preview"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "environment_in_use")
    services.revoke_api_key(org_id=cast.org.id, project_id=cast.project.id, key_id=key.id)
    answer = Api(cast.alice).patch(path(cast), {"environments": ["production", "preview"]})
    assert answer.json()["environments"] == ["production", "preview"]


# ---------------------------------------------------------------- archive
def test_a_project_comes_back_from_the_archive_with_its_keys(cast) -> None:
    _, token = make_key(cast)
    api, where = Api(cast.erin), f"/projects/{cast.project.id}"
    api.delete(where)
    forget_keys()
    assert key_authenticate(token) is None
    for _ in range(2):
        answer = api.post(f"{where}/unarchive")
        assert (answer.status_code, answer.json()["archived_at"]) == (200, None)
    forget_keys()
    assert key_authenticate(token) is not None
    assert published("project.restored") == [{"project_id": str(cast.project.id)}]
    assert len(trail("project.restored")) == 1
    assert Api(cast.bob).post(f"{where}/unarchive").status_code == 403
