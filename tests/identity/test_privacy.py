"""A person's data: handed out to them, and erased, on request."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.urls import reverse

from apps.accounts import services as accounts
from apps.accounts.models import Membership
from apps.analytics.people import person_names
from apps.analytics.services import create_view
from apps.audit.chain import seal_all
from apps.audit.models import AuditEntry
from apps.audit.sealed import ERASED
from apps.audit.services import verify_all
from apps.core.errors import Conflict
from apps.core.personal import all_parts, pseudonym
from apps.core.tenancy import system_scope
from apps.identity.contracts import UserInfo
from apps.identity.models import OAuthIdentity, SignIn, User
from apps.identity.services import erase_person, export_person, register
from apps.notify.models import EmailMessage
from apps.notify.services import send_email
from apps.projects.models import ApiKey
from apps.sso.models import ScimUser
from apps.sso.scim.resources import UserValues
from apps.sso.services import provisioning
from apps.teams.models import Invitation, TeamMembership
from apps.teams.services import accept_invitation, invite_member
from apps.usage.models import Person
from mindweave.admin_site import StaffSite
from tests.cast import PASSWORD, Api, Cast, at_once, make_key, published, sign_in, trail
from tests.teams.mail import token_of
from tests.usage.engine.conftest import _fresh_caches, committed, drain, event  # noqa: F401 - fixtures
from tests.waiting import wait_for

pytestmark = pytest.mark.django_db(transaction=True)
PARTS = {"accounts", "teams", "projects", "sso", "usage", "analytics", "notify", "identity", "audit"}


def parts_of(document: dict[str, Any]) -> dict[str, Any]:
    return {part["key"]: part["data"] for part in document["parts"]}


def said_of(person: UserInfo, *actions: str) -> list[AuditEntry]:
    """The entries about one person: the trail is never emptied, not even between tests."""
    return [entry for action in actions for entry in trail(action, target_id=str(person.id))]


def furnish(cast: Cast) -> str:
    """Give Bob a line in each part that a test can make; returns his key's token."""
    _, token = make_key(cast, name="bobs", owner_id=cast.bob.id)
    OAuthIdentity.objects.create(
        user_id=cast.bob.id, provider="google", subject="bob-at-google", email="bob@gmail.test"
    )
    invite_member(org_id=cast.elsewhere.id, email="bob@gmail.test", role="viewer")
    send_email(to="bob@example.com", template="password_changed", context={}, org_id=None)
    create_view(org_id=cast.org.id, user_id=cast.bob.id, page="usage", name="Bobs own", query="")
    return token


# ---------------------------------------------------------------- handing out
def test_the_export_has_every_part_and_nothing_of_others(cast: Cast) -> None:
    furnish(cast)
    api = Api(cast.bob)
    api.patch("/auth/me", {"name": "Robert"})
    answer = api.post("/auth/me/export")
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    found = parts_of(answer.json())
    assert set(found) == PARTS == {part.key for part in all_parts()}
    assert found["identity"]["profile"]["name"] == "Robert"
    assert found["identity"]["sign_ins"][0]["kind"] == "web"
    assert [each["email"] for each in found["identity"]["sign_in_providers"]] == ["bob@gmail.test"]
    assert [each["org__name"] for each in found["accounts"]["memberships"]] == ["Wonder Looms"]
    assert [each["team__name"] for each in found["teams"]["teams"]] == ["Loom"]
    assert [each["email"] for each in found["teams"]["invitations"]] == ["bob@gmail.test"]
    assert [each["name"] for each in found["projects"]] == ["bobs"]
    assert {each["to"] for each in found["notify"]["mails"]} == {"bob@example.com", "bob@gmail.test"}
    assert [each["name"] for each in found["analytics"]["views"]] == ["Bobs own"]
    assert "user.updated" in {each["action"] for each in found["audit"]}
    text = answer.content.decode()
    assert not [name for name in ("alice", "erin", "charlie", "argon2", "digest") if name in text.lower()]
    [entry] = trail("user.data_exported", target_id=str(cast.bob.id))
    assert entry.actor_id == cast.bob.id


@pytest.mark.parametrize(("method", "path"), [("POST", "/auth/me/export"), ("DELETE", "/auth/me")])
def test_it_needs_a_person_who_confirmed_a_short_while_ago(method: str, path: str, cast: Cast) -> None:
    old = Api()
    sign_in(old.client, User.objects.get(pk=cast.bob.id), age=timedelta(minutes=16))
    assert old(method, path).json()["code"] == "step_up_required"
    assert Api(token=make_key(cast, owner_id=cast.bob.id)[1])(method, path).status_code == 403
    assert Api()(method, path).status_code == 401
    assert User.objects.get(pk=cast.bob.id).is_active
    assert said_of(cast.bob, "user.data_exported", "user.erased") == []


# ---------------------------------------------------------------- erasing
def test_an_erased_person_has_no_name_left_and_no_way_in(cast: Cast) -> None:
    token = furnish(cast)
    pair = Api().post("/auth/login", {"email": "bob@example.com", "password": PASSWORD}).json()
    web, jwt, key = Api(cast.bob), Api(token=pair["access_token"]), Api(token=token)
    assert (web.get("/auth/me").status_code, jwt.get("/auth/me").status_code) == (200, 200)
    assert key.get(f"/orgs/{cast.org.id}/projects").status_code == 200
    others = list(User.objects.exclude(pk=cast.bob.id).order_by("pk").values())

    assert web.delete("/auth/me", Idempotency_Key="once").status_code == 204

    user = User.objects.get(pk=cast.bob.id)
    assert (user.email, user.name) == (f"erased-{user.pk}@erased.invalid", pseudonym(user.pk))
    assert (user.is_active, user.has_usable_password(), user.email_verified_at) == (False, False, None)
    assert (web.get("/auth/me").status_code, jwt.get("/auth/me").status_code) == (401, 401)
    assert Api().post("/auth/refresh", {"refresh_token": pair["refresh_token"]}).status_code == 401
    assert key.get(f"/orgs/{cast.org.id}/projects").status_code == 401
    assert set(SignIn.objects.filter(user=user).values_list("ip", "device", "end_reason")) == {(None, "", "erased")}
    with system_scope("the test looks at all"):
        assert not Membership.objects.filter(user=user).exists()
        assert not TeamMembership.objects.filter(user=user).exists()
        assert not Invitation.objects.filter(email="bob@gmail.test").exists()
        assert not EmailMessage.objects.filter(to__in=["bob@example.com", "bob@gmail.test"]).exists()
        assert all(ApiKey.objects.filter(owner=user).values_list("revoked_at", flat=True))
    assert not OAuthIdentity.objects.filter(user=user).exists()
    assert list(User.objects.exclude(pk=user.pk).order_by("pk").values()) == others
    assert Api(cast.dora).get("/auth/me").status_code == 200
    assert published("user.erased") == [{"user_id": str(user.pk)}]
    assert str(user.pk) in {each["user_id"] for each in published("member.removed")}


def test_the_trail_forgets_who_they_were_and_still_verifies(cast: Cast) -> None:
    Api(cast.bob).patch("/auth/me", {"name": "Robert"})
    [before] = trail("user.updated", actor_id=cast.bob.id)
    assert before.actor_label == "bob@example.com"
    erase_person(user_id=cast.bob.id, reason="asked by letter", by_staff=True)
    seal_all()
    assert verify_all()["broken"] == {}
    [entry] = trail("user.updated", actor_id=cast.bob.id)
    assert (entry.actor_label, entry.target_label, entry.ip) == (ERASED, ERASED, None)
    [left] = trail("member.removed", target_id=str(cast.bob.id))
    assert left.target_label == ERASED
    [erased] = said_of(cast.bob, "user.erased")
    assert erased.reason == "asked by letter"
    assert erased.changes["by_staff"] == [None, True]


def test_the_last_owner_stays_until_there_is_another(cast: Cast) -> None:
    make_key(cast, owner_id=cast.alice.id)
    answer = Api(cast.alice).delete("/auth/me")
    assert (answer.status_code, answer.json()["code"]) == (409, "last_owner")
    assert "Wonder Looms" in answer.json()["detail"]
    assert answer.json()["organisations"] == ["Wonder Looms"]
    assert User.objects.get(pk=cast.alice.id).email == "alice@example.com"
    assert not SignIn.objects.exclude(ended_at=None).exists()
    with system_scope("the test looks at all"):
        assert not ApiKey.objects.exclude(revoked_at=None).exists()
        assert Membership.objects.filter(user_id=cast.alice.id).count() == 1
    assert said_of(cast.alice, "user.erased", "audit.person_forgotten") == []
    assert published("user.erased") == []

    accounts.change_member_role(org_id=cast.org.id, user_id=cast.erin.id, role="owner")
    assert Api(cast.alice).delete("/auth/me").status_code == 204


def test_nobody_is_erased_twice(cast: Cast) -> None:
    erase_person(user_id=cast.bob.id, reason="once")
    with pytest.raises(Conflict) as refused:
        erase_person(user_id=cast.bob.id, reason="twice")
    assert refused.value.code == "already_erased"
    assert len(said_of(cast.bob, "user.erased")) == 1


@pytest.mark.usefixtures("committed")
def test_what_they_used_stays_counted_under_a_pseudonym(cast: Cast, drain: Callable[[], None]) -> None:  # noqa: F811
    _, token = make_key(cast, owner_id=cast.bob.id)
    events = [event(model="claude-opus-5", input_tokens=1000, output_tokens=10)]
    assert Api(token=token).post("/v1/events", {"events": events}).json()["accepted"] == 1
    drain()
    with system_scope("telemetry named them by an address that they had"):
        first = Person.objects.create(
            id=cast.project.id,
            org_id=cast.org.id,
            email="bob@example.com",
            name="Bob",
            first_seen_at="2026-01-01T00:00Z",
        )

    def rows() -> list[dict[str, Any]]:
        query = {"granularity": "none", "group_by": "user"}
        answer = Api(cast.erin).get("/analytics/usage", query)
        assert answer.status_code == 200, answer.content
        found: list[dict[str, Any]] = answer.json()["data"]
        return found

    people = {cast.bob.id, first.pk}
    before = rows()
    assert {UUID(row["group"]["user"]) for row in before} == {cast.bob.id}
    assert set(person_names(cast.org.id, people).values()) == {"Bob", "bob@example.com"}
    erase_person(user_id=cast.bob.id, reason="asked by the person")
    assert rows() == before
    assert set(person_names(cast.org.id, people).values()) == {pseudonym(cast.bob.id)}


def test_somebody_who_comes_back_is_somebody_new(cast: Cast) -> None:
    erase_person(user_id=cast.bob.id, reason="asked by the person")
    again = register(email="bob@example.com", password=PASSWORD, name="Bob")
    assert again.id != cast.bob.id
    assert parts_of(export_person(user_id=again.id))["accounts"]["memberships"] == []


# ---------------------------------------------------------------- the page
# ---------------------------------------------------------------- at the same moment
def by_invitation(cast: Cast, person: UserInfo) -> Callable[[], Any]:
    """How a person joins by the link in a mail."""
    invite_member(org_id=cast.org.id, email=person.email, role="viewer", by_user_id=cast.alice.id)
    token = token_of(person.email)
    return lambda: accept_invitation(token=token, user_id=person.id)


def by_an_admin(cast: Cast, person: UserInfo) -> Callable[[], Any]:
    """How an admin makes them a member."""
    return lambda: accounts.add_member(org_id=cast.org.id, user_id=person.id, role="viewer")


def one_while_the_other_waits(first: Callable[[], Any], second: Callable[[], Any]) -> list[Any]:
    """What two transactions come to, the second of which begins when the first is done and has not committed."""
    done = threading.Event()

    def ahead() -> Any:
        with transaction.atomic():
            result = first()
            done.set()
            wait_for(waiting, seconds=10, what="the other to wait")
        return result

    def behind() -> Any:
        assert done.wait(10)
        return second()

    return at_once(ahead, behind)


def waiting() -> bool:
    """Whether somebody waits for a lock, asked in the midst of a transaction."""
    with connection.cursor() as cursor:
        # A transaction sees what it saw of the others at first, until it is told to look again.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])


@pytest.mark.parametrize("way", [by_invitation, by_an_admin])
def test_who_is_being_erased_joins_nothing_any_more(cast: Cast, way: Any) -> None:
    grace = register(email="grace@example.com", password=PASSWORD, name="Grace", email_verified=True)
    join = way(cast, grace)
    erased, joined = one_while_the_other_waits(lambda: erase_person(user_id=grace.id, reason="asked"), join)
    assert erased["accounts"] == 0
    assert isinstance(joined, Conflict)
    assert joined.code == "account_closed"
    with system_scope("the test looks at all"):
        assert not Membership.objects.filter(user_id=grace.id).exists()


@pytest.mark.parametrize("way", [by_invitation, by_an_admin])
def test_who_joins_in_the_moment_of_their_erasure_is_taken_out_by_it(cast: Cast, way: Any) -> None:
    grace = register(email="grace@example.com", password=PASSWORD, name="Grace", email_verified=True)
    join = way(cast, grace)
    joined, erased = one_while_the_other_waits(join, lambda: erase_person(user_id=grace.id, reason="asked"))
    assert not isinstance(joined, Exception)
    assert erased["accounts"] == 1
    with system_scope("the test looks at all"):
        assert not Membership.objects.filter(user_id=grace.id).exists()


def deactivate(org_id: UUID, scim_user_id: UUID, values: UserValues) -> None:
    provisioning.update_scim_user(org_id=org_id, scim_user_id=scim_user_id, values=replace(values, is_active=False))


def delete(org_id: UUID, scim_user_id: UUID, values: UserValues) -> None:
    provisioning.delete_scim_user(org_id=org_id, scim_user_id=scim_user_id)


@pytest.mark.parametrize("write", [deactivate, delete])
def test_provisioning_and_an_erasure_at_once_come_one_after_the_other(
    write: Any, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = UserValues("bob@example.com", "00u1", is_active=True, email="bob@example.com", name="Bob")
    made = provisioning.create_scim_user(org_id=cast.org.id, values=values)
    begun, row = threading.Event(), provisioning._row

    def in_the_midst(scim_user_id: UUID) -> Any:
        if not begun.is_set():
            begun.set()
            wait_for(waiting, seconds=10, what="the other to wait")
        return row(scim_user_id)

    def erase() -> Any:
        assert begun.wait(10)
        return erase_person(user_id=cast.bob.id, reason="asked")

    monkeypatch.setattr(provisioning, "_row", in_the_midst)
    written, erased = at_once(lambda: write(cast.org.id, made, values), erase)
    assert written is None
    assert erased["sso"] == (1 if write is deactivate else 0)
    with system_scope("the test looks at all"):
        assert not ScimUser.objects.filter(user_id=cast.bob.id).exists()
        assert not Membership.objects.filter(user_id=cast.bob.id).exists()


def test_the_page_hands_out_a_file_and_erases_who_types_their_address(cast: Cast) -> None:
    api = Api(cast.bob)
    page = api.client.get("/account/privacy").content.decode()
    assert "Type bob@example.com to confirm" in page
    assert "API keys" in page
    file = api.client.post("/account/privacy/export")
    assert set(parts_of(file.json())) == PARTS
    assert api.client.post("/account/privacy", {"confirm": "erin@example.com"}).status_code == 400
    assert User.objects.get(pk=cast.bob.id).is_active
    answer = api.client.post("/account/privacy", {"confirm": "Bob@example.com"}, follow=True)
    assert answer.redirect_chain[-1][0] == "/account/erased"
    assert "Your account is deleted" in answer.content.decode()
    assert not User.objects.get(pk=cast.bob.id).is_active
    assert api.client.get("/account").status_code == 302


def test_the_page_tells_the_last_owner_why_not(cast: Cast) -> None:
    answer = Api(cast.alice).client.post("/account/privacy", {"confirm": "alice@example.com"})
    assert answer.status_code == 409
    assert "Nobody else owns Wonder Looms" in answer.content.decode()
    assert User.objects.get(pk=cast.alice.id).is_active


def test_staff_erase_somebody_for_a_reason(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    # That the second factor was proved; that itself is tested elsewhere.
    monkeypatch.setattr(StaffSite, "has_permission", lambda self, request: request.user.is_staff)
    User.objects.filter(pk=cast.charlie.id).update(is_staff=True, is_superuser=True)
    client = Api(cast.charlie).client
    path = reverse("admin:identity_user_erase", args=[cast.bob.id])
    assert "bob@example.com" in client.get(path).content.decode()
    assert client.post(path, {"reason": ""}).status_code == 400
    owner = client.post(reverse("admin:identity_user_erase", args=[cast.alice.id]), {"reason": "asked by letter"})
    assert "Nobody else owns Wonder Looms" in owner.content.decode()
    assert User.objects.filter(pk__in=[cast.alice.id, cast.bob.id], is_active=True).count() == 2
    assert client.post(path, {"reason": "asked by letter"}).status_code == 302
    assert not User.objects.get(pk=cast.bob.id).is_active
    [entry] = said_of(cast.bob, "user.erased")
    assert (entry.actor_id, entry.changes["by_staff"]) == (cast.charlie.id, [None, True])
