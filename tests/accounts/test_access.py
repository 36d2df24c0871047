"""The access review: who can get in and do what, when they last did, and that somebody has looked it through."""

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator

from apps.accounts import access, services
from apps.accounts.models import AccessReview, Membership, Organization
from apps.core.access import BATCH
from apps.core.clock import now
from apps.core.tenancy import org_scope, system_scope
from apps.identity.models import FactorDevice, User
from apps.projects.models import ApiKey
from apps.projects.services import give_project_access, revoke_api_key
from apps.sso.models import ScimToken
from apps.teams.services import give_team_access
from tests.cast import Api, Cast, make_key, make_person, published, rights_of, trail
from tests.teams.mail import mails_to


def path(cast: Cast, tail: str = "") -> str:
    return f"/orgs/{cast.org.id}/access{tail}"


def rows(cast: Cast, **query: Any) -> list[dict[str, Any]]:
    answer = Api(cast.erin).get(path(cast), query)
    assert answer.status_code == 200, answer.content
    return answer.json()["data"]


def names(cast: Cast, **query: Any) -> set[str]:
    return {row["name"] for row in rows(cast, **query)}


def table(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))


# ---------------------------------------------------------------- members
def test_members_are_listed_with_what_they_may_do_and_were_given(cast) -> None:
    give_project_access(
        org_id=cast.org.id, project_id=cast.project.id, grantee_id=cast.team.id, capabilities=["key.read"]
    )
    give_project_access(
        org_id=cast.org.id, project_id=cast.project.id, grantee_id=cast.bob.id, capabilities=["project.manage"]
    )
    give_team_access(org_id=cast.org.id, team_id=cast.team.id, user_id=cast.bob.id, capabilities=["team.manage"])
    listed = {row["name"]: row for row in rows(cast)}
    assert set(listed) == {"Alice", "Erin", "Bob", "Frank", "Dora"}
    bob = listed["Bob"]
    assert (bob["role"], bob["note"], bob["teams"]) == ("Developer", "bob@example.com", ["Loom"])
    assert set(bob["on"]) == {
        "team Loom: team.read, team.manage",
        "project Weaver: project.read, project.manage",
        "project Weaver by Loom: project.read, key.read",
    }
    assert "project Weaver by Loom: See it; See its keys" in bob["on_words"]
    said = dict(zip(bob["may"], bob["may_words"], strict=True))
    assert said["key.manage"] == "Manage keys of their teams' projects and of projects without a team"
    text = Api(cast.erin).client.get(f"/o/{cast.org.slug}/settings/access").content.decode()
    assert "See its keys" in text
    assert 'Change the plan and how it is paid <span class="mw-quiet mw-mono mw-hide-s">billing.manage</span>' in text
    assert [name for name, row in listed.items() if row["administers"]] == ["Alice", "Erin"]


def test_a_custom_role_that_changes_access_counts_as_an_admins(cast) -> None:
    role = services.create_role(org_id=cast.org.id, name="Door keeper", capabilities=["member.read", "member.manage"])
    services.change_member_role(org_id=cast.org.id, user_id=cast.dora.id, role=role.key)
    assert names(cast, admins="true") == {"Alice", "Erin", "Dora"}
    assert next(row for row in rows(cast) if row["name"] == "Dora")["role"] == "Door keeper"


def test_filters_by_second_factor_and_by_use(cast) -> None:
    user = User.objects.get(pk=cast.erin.id)
    factor = Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={"secret": ""})
    FactorDevice.objects.create(user=user, name="app", authenticator=factor)
    assert names(cast, no_second_factor="true") == {"Alice", "Bob", "Frank", "Dora"}
    long_ago = now() - timedelta(days=100)
    User.objects.exclude(pk=cast.erin.id).update(last_login=now())
    User.objects.filter(pk=cast.bob.id).update(last_login=long_ago)
    assert names(cast, unused_days="90") == {"Bob"}
    User.objects.filter(pk=cast.bob.id).update(last_login=None)
    # Somebody who never came counts from when they joined.
    assert names(cast, unused_days="90") == set()
    with org_scope(cast.org.id):
        Membership.objects.filter(user_id=cast.bob.id).update(created_at=long_ago)
    assert names(cast, unused_days="90") == {"Bob"}
    assert Api(cast.erin).get(path(cast), {"unused_days": "soon"}).status_code == 400


# ---------------------------------------------------------------- keys and tokens
def test_keys_that_work_are_listed_and_dead_ones_are_not(cast) -> None:
    make_key(cast, name="bob's", owner_id=cast.bob.id, scopes=("ingest",))
    make_key(cast, name="robot", scopes=("read", "admin"))
    dead, _ = make_key(cast, name="dead", owner_id=cast.bob.id)
    revoke_api_key(org_id=cast.org.id, project_id=cast.project.id, key_id=dead.id)
    [key] = rows(cast, kind="keys")
    assert key["name"].startswith("bob's (mw_")
    assert (key["note"], key["may"], key["second_factor"]) == ("Bob, project Weaver", ["ingest"], None)
    assert key["may_words"] == ["Send usage"]
    [robot] = rows(cast, kind="service_accounts")
    assert (robot["administers"], robot["note"]) == (True, "nobody: a service account, project Weaver")
    with org_scope(cast.org.id):
        ApiKey.objects.update(created_at=now() - timedelta(days=100))
        ApiKey.objects.filter(name="robot").update(last_used_at=now())
    assert [row["id"] for row in rows(cast, kind="keys", unused_days="90")] == [key["id"]]
    assert rows(cast, kind="service_accounts", unused_days="90") == []


def test_tokens_of_providers_are_listed(cast) -> None:
    with org_scope(cast.org.id):
        ScimToken.objects.create(org_id=cast.org.id, name="Okta", prefix="mws_abc", digest=b"x" * 32)
        ScimToken.objects.create(
            org_id=cast.org.id, name="Old", prefix="mws_old", digest=b"y" * 32, revoked_at=now() - timedelta(days=1)
        )
    [token] = rows(cast, kind="scim_tokens")
    assert (token["name"], token["administers"]) == ("Okta (mws_abc…)", True)


def test_a_kind_that_does_not_exist_is_404(cast) -> None:
    assert Api(cast.erin).get(path(cast), {"kind": "dragons"}).status_code == 404
    assert Api(cast.erin).get(path(cast, "/csv"), {"kind": "dragons"}).status_code == 404


# ---------------------------------------------------------------- pages and CSV
def test_pages_reach_every_member_once(cast) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        answer = Api(cast.erin).get(path(cast), {"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        seen += [row["id"] for row in answer["data"]]
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 5
    first = Api(cast.erin).get(path(cast), {"limit": 2}).json()["next_cursor"]
    assert Api(cast.erin).get(path(cast), {"kind": "keys", "cursor": first}).status_code == 400


def test_a_batch_is_not_the_end(cast, monkeypatch) -> None:
    monkeypatch.setattr(access, "BATCH", 2)
    assert len(list(access.member_entries(cast.org.id, None))) == 5
    assert BATCH == 200


def test_csv_holds_every_kind_and_runs_nowhere(cast) -> None:
    evil = make_person("evil")
    User.objects.filter(pk=evil.id).update(name='=HYPERLINK("http://evil.test")')
    services.add_member(org_id=cast.org.id, user_id=evil.id, role="viewer")
    make_key(cast, name="robot")
    answer = Api(cast.erin).get(path(cast, "/csv"))
    assert answer["Content-Type"].startswith("text/csv")
    lines = table(answer)
    assert {line["kind"] for line in lines} == {"members", "service_accounts"}
    assert [line["name"] for line in lines if "HYPERLINK" in line["name"]] == ['\'=HYPERLINK("http://evil.test")']
    only = table(Api(cast.erin).get(path(cast, "/csv"), {"kind": "members", "admins": "true"}))
    assert {line["name"] for line in only} == {"Alice", "Erin"}
    assert "See the organisation, its settings and its notifications; " in only[0]["may_words"]


def test_nothing_of_another_organisation_is_listed(cast) -> None:
    make_key(cast)
    charlie = Api(cast.charlie)
    answer = charlie.get(f"/orgs/{cast.elsewhere.id}/access").json()["data"]
    assert [row["name"] for row in answer] == ["Charlie"]
    assert charlie.get(f"/orgs/{cast.elsewhere.id}/access", {"kind": "service_accounts"}).json()["data"] == []
    assert charlie.get(path(cast)).status_code == 404


@pytest.mark.parametrize("who", ["developer", "billing", "viewer", "stranger", "nobody"])
def test_others_neither_read_nor_confirm(cast, who) -> None:
    api, refused = rights_of(cast)[who], {"stranger": 404, "nobody": 401}.get(who, 403)
    for tail in ("", "/csv", "/reviews"):
        assert api.get(path(cast, tail)).status_code == refused
    assert api.post(path(cast, "/reviews"), {}).status_code == refused
    assert access.last_reviews(cast.org.id) == []


# ---------------------------------------------------------------- reviews
def test_a_review_is_kept_with_who_when_and_how_much(cast) -> None:
    make_key(cast, name="robot")
    answer = Api(cast.erin).post(path(cast, "/reviews"), {"note": "  All as   it should be "})
    assert answer.status_code == 201
    kept = answer.json()
    assert (kept["reviewer"], kept["note"]) == ("Erin", "All as it should be")
    assert kept["counts"] == {"members": 5, "keys": 0, "service_accounts": 1, "scim_tokens": 0}
    assert kept["next_due"] == (now().date() + timedelta(days=90)).isoformat()
    [entry] = trail("access.reviewed")
    assert (entry.actor_id, entry.target_id) == (cast.erin.id, kept["id"])
    assert published("access.reviewed") == [
        {"org_id": str(cast.org.id), "review_id": kept["id"], "next_due": kept["next_due"]}
    ]
    Api(cast.alice).post(path(cast, "/reviews"), {"next_due": (now().date() + timedelta(days=30)).isoformat()})
    assert [row["reviewer"] for row in Api(cast.erin).get(path(cast, "/reviews")).json()["data"]] == ["Alice", "Erin"]
    assert access.review_due(cast.org.id) == now().date() + timedelta(days=30)


@pytest.mark.parametrize("days", [-1, 0, 367])
def test_a_next_review_is_due_within_a_year(cast, days) -> None:
    due = (now().date() + timedelta(days=days)).isoformat()
    answer = Api(cast.erin).post(path(cast, "/reviews"), {"next_due": due})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/next_due")
    assert access.last_reviews(cast.org.id) == []


def test_a_review_outlives_its_reviewer(cast) -> None:
    services.confirm_access_review(org_id=cast.org.id, by_user_id=cast.erin.id)
    with system_scope("the test erases a person"):
        User.objects.filter(pk=cast.erin.id).delete()
    [kept] = access.last_reviews(cast.org.id)
    assert (kept.reviewer_id, kept.reviewer) == (None, "somebody who is gone")


# ---------------------------------------------------------------- reminders
def test_a_review_that_is_due_is_told_once_to_those_who_may_do_it(cast) -> None:
    assert services.remind_access_reviews() == 0  # both organisations are new
    Organization.objects.filter(pk=cast.org.id).update(created_at=now() - timedelta(days=91))
    assert services.remind_access_reviews() == 1
    assert services.remind_access_reviews() == 0
    due = (now() - timedelta(days=1)).date()
    assert published("access.review_due") == [{"org_id": str(cast.org.id), "due": due.isoformat()}]
    assert len(trail("access.review_due")) == 1
    told = {name for name in ("alice", "erin", "bob", "dora") if mails_to(f"{name}@example.com", "access_review_due")}
    assert told == {"alice", "erin"}
    assert f"/o/{cast.org.slug}/settings/access" in mails_to("erin@example.com", "access_review_due")[0].text
    # Done, and due again half a year later.
    services.update_organization(org_id=cast.org.id, changes={"access_review_every": "half_year"})
    review = services.confirm_access_review(org_id=cast.org.id, by_user_id=cast.erin.id)
    assert review.next_due == now().date() + timedelta(days=182)
    assert services.remind_access_reviews() == 0
    with org_scope(cast.org.id):
        AccessReview.objects.update(next_due=now().date())
    assert services.remind_access_reviews() == 1


def test_who_wants_no_reminder_and_who_is_suspended_gets_none(cast) -> None:
    Organization.objects.update(created_at=now() - timedelta(days=500))
    page = f"/o/{cast.org.slug}/settings/access"
    assert Api(cast.erin).client.post(page, {"access_review_every": "off"}).status_code == 302
    assert Api(cast.alice).get(f"/orgs/{cast.org.id}").json()["access_review_every"] == "off"
    assert trail("org.updated")[-1].changes["access_review_every"] == ["quarter", "off"]
    services.suspend_organization(org_id=cast.elsewhere.id, reason="unpaid")
    assert services.remind_access_reviews() == 0
    assert published("access.review_due") == []
    assert access.review_due(cast.org.id) is None
    assert Api(cast.alice).patch(f"/orgs/{cast.org.id}", {"access_review_every": "daily"}).status_code == 400
    assert Api(cast.alice).patch(f"/orgs/{cast.org.id}", {"access_review_every": "year"}).status_code == 200
    assert "overdue since" in Api(cast.erin).client.get(page).content.decode()
