"""Staff in a member's place: with a reason, for a time, within one organisation, and seen by it."""

from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.test import Client
from django_otp import DEVICE_ID_SESSION_KEY

from apps.accounts import impersonation
from apps.accounts import services as accounts
from apps.accounts.models import Impersonation, Membership, Organization
from apps.audit.models import AuditEntry
from apps.core import clock
from apps.core.tenancy import system_scope
from apps.identity import mfa
from apps.identity import services as identity
from apps.identity.models import User
from apps.projects.models import Project
from tests.web.conftest import PASSWORD, Cast, browser, person

REASON = "Ticket 4711: their costs look wrong"


@pytest.fixture
def staff(cast: Cast) -> Client:
    info = identity.register(email="sam@mindweave.test", password=PASSWORD, name="Sam", is_staff=True)
    return proved(browser(info), User.objects.get(pk=info.id))


def proved(client: Client, user: User) -> Client:
    """The same browser after the second factor."""
    secret = mfa.new_enrolment(user).secret
    mfa.enable_totp(
        user=user, secret=secret, code=format_hotp_value(hotp_value(secret, int(clock.now().timestamp()) // 30))
    )
    session = client.session
    device = mfa.device_of(user)
    assert device is not None
    session[DEVICE_ID_SESSION_KEY] = device.persistent_id
    session.save()
    return client


def door(cast: Cast, user: Any = None) -> str:
    with system_scope("test"):
        member = Membership.objects.get(org_id=cast.org.id, user_id=(user or cast.olive).id)
    return f"/admin/accounts/membership/{member.pk}/enter/"


def enter(staff: Client, cast: Cast, user: Any = None, **form: Any) -> Any:
    return staff.post(door(cast, user), {"reason": REASON, "minutes": 15, **form})


def stays() -> list[Impersonation]:
    with system_scope("test"):
        return list(Impersonation.objects.all())


def trail(action: str) -> list[AuditEntry]:
    with system_scope("test"):
        return list(AuditEntry.objects.filter(action=action).order_by("occurred_at"))


def test_staff_see_what_the_member_sees_and_every_page_says_so(cast: Cast, staff: Client) -> None:
    assert staff.get(cast.url()).status_code == 404
    assert staff.get(door(cast)).status_code == 200
    answer = enter(staff, cast)
    assert (answer.status_code, answer.url) == (302, cast.url())
    for path in ("", "usage", "projects", "settings", "settings/members"):
        page = staff.get(cast.url(path))
        assert page.status_code == 200
        text = page.content.decode()
        assert "sam@mindweave.test" in text
        assert "in the place of" in text
        assert REASON in text
        assert "reading only" in text
        assert "/ws/live" not in text
    assert "in the place of" not in cast.owner.get(cast.url()).content.decode()


def test_the_pages_staff_looked_at_stand_in_the_organisations_trail_once_a_stay(cast: Cast, staff: Client) -> None:
    cast.owner.get(cast.url("settings/members"))
    enter(staff, cast)
    for path in ("settings/members", "settings/members", "settings/roles"):
        assert staff.get(cast.url(path)).status_code == 200
    told = trail("data.read")
    assert [entry.target_label for entry in told] == ["Members (page)", "Roles (page)"]
    assert {(entry.org_id, entry.actor_id) for entry in told} == {(cast.org.id, cast.olive.id)}
    assert {entry.impersonator_id for entry in told} == {User.objects.get(email="sam@mindweave.test").pk}
    enter(staff, cast)
    staff.get(cast.url("settings/members"))
    assert len(trail("data.read")) == 3, "another stay is another matter"


def test_it_stands_in_the_organisations_own_trail_from_beginning_to_end(cast: Cast, staff: Client) -> None:
    enter(staff, cast)
    answer = staff.post("/impersonation/end")
    assert answer.url == f"/admin/accounts/organization/{cast.org.id}/change/"
    assert staff.get(cast.url()).status_code == 404
    (began,), (ended,) = trail("impersonation.started"), trail("impersonation.ended")
    for entry in (began, ended):
        assert entry.org_id == cast.org.id
        assert (entry.actor_label, entry.target_label, entry.reason) == ("sam@mindweave.test", cast.olive.email, REASON)
    assert began.actor_kind == "staff"
    (stay,) = stays()
    assert (stay.ended_at is not None, stay.end_reason) == (True, "ended")
    assert staff.post("/impersonation/end").status_code == 404


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"reason": ""}, "required"),
        ({"reason": "because"}, "at least 10"),
        ({"minutes": 31}, "From 1 to 30 minutes"),
        ({"minutes": 0}, "greater than or equal to 1"),
    ],
)
def test_without_a_reason_or_an_end_nobody_enters(cast: Cast, staff: Client, form: Any, words: str) -> None:
    answer = enter(staff, cast, **form)
    assert answer.status_code == 400
    assert words in answer.content.decode()
    assert stays() == []
    assert staff.get(cast.url()).status_code == 404


def test_it_reads_only_unless_it_was_begun_to_write(cast: Cast, staff: Client) -> None:
    enter(staff, cast)
    answer = staff.post(cast.url("projects"), {"name": "Theirs"})
    assert answer.status_code == 403
    assert "reads only" in answer.content.decode()
    with system_scope("test"):
        assert not Project.objects.filter(name="Theirs").exists()
    enter(staff, cast, may_write="on")
    assert staff.post(cast.url("projects"), {"name": "Theirs"}).status_code == 302
    (entry,) = [entry for entry in trail("project.created") if entry.target_label == "Theirs"]
    assert (entry.actor_label, entry.actor_id) == (cast.olive.email, cast.olive.id)
    assert entry.impersonator_id == User.objects.get(email="sam@mindweave.test").pk
    assert [stay.end_reason for stay in stays()].count("ended") == 1


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("projects/{project}", {"name": "k", "scopes": "ingest"}),
        ("connect", {"name": "k", "once": "x"}),
        ("welcome", {"step": "key"}),
        ("settings/members", {"email": "sam@mindweave.test", "role": "owner"}),
        ("settings/leave", {}),
        ("settings/delete", {"slug": "loom-co"}),
    ],
)
def test_nobody_makes_keys_gives_rights_or_deletes_in_anothers_name(
    cast: Cast, staff: Client, path: str, form: Any
) -> None:
    enter(staff, cast, may_write="on")
    answer = staff.post(cast.url(path.format(project=cast.project.slug)), form)
    assert answer.status_code == 403
    assert "another&#x27;s name" in answer.content.decode()
    with system_scope("test"):
        assert Membership.objects.filter(org_id=cast.org.id, user_id=cast.olive.id, role="owner").exists()
        assert Organization.objects.get(pk=cast.org.id).status == "active"


def test_another_organisation_and_their_account_stay_closed(cast: Cast, staff: Client) -> None:
    enter(staff, cast)
    assert staff.get(f"/o/{cast.other.slug}/").status_code == 404
    assert "sam@mindweave.test" in staff.get("/admin/").content.decode()
    assert staff.get("/orgs", headers={"accept": "application/json"}).json()["data"] == []


def test_its_time_ends_it(cast: Cast, staff: Client) -> None:
    enter(staff, cast)
    with system_scope("test"):
        Impersonation.objects.update(ends_at=clock.now() - timedelta(seconds=1))
    assert staff.get(cast.url()).status_code == 404
    assert impersonation.end_expired() == 1
    assert impersonation.end_expired() == 0
    (entry,) = trail("impersonation.ended")
    assert entry.changes["how"] == [None, "expired"]
    assert staff.get(cast.url()).status_code == 404


def _demote(cast: Cast) -> None:
    User.objects.filter(email="sam@mindweave.test").update(is_staff=False)


def _close(cast: Cast) -> None:
    User.objects.filter(pk=cast.olive.id).update(is_active=False)


def _promote_the_member(cast: Cast) -> None:
    User.objects.filter(pk=cast.olive.id).update(is_staff=True)


def _lose_the_factor(cast: Cast) -> None:
    mfa.disable_totp(user=User.objects.get(email="sam@mindweave.test"), reason="lost")


def _leave(cast: Cast) -> None:
    with system_scope("test"):
        Membership.objects.filter(org_id=cast.org.id, user_id=cast.olive.id).delete()


@pytest.mark.parametrize("change", [_demote, _close, _promote_the_member, _lose_the_factor, _leave])
def test_whatever_it_stands_on_may_go_in_the_middle(cast: Cast, staff: Client, change: Any) -> None:
    enter(staff, cast)
    assert staff.get(cast.url()).status_code == 200
    change(cast)
    assert staff.get(cast.url()).status_code == 404


def test_other_staff_end_it_at_once(cast: Cast, staff: Client) -> None:
    enter(staff, cast)
    (stay,) = stays()
    page = f"/admin/accounts/impersonation/{stay.pk}/end/"
    assert staff.get(page).status_code == 200
    assert stays()[0].ended_at is None
    assert staff.post(page).status_code == 302
    assert staff.get(cast.url()).status_code == 404
    assert stays()[0].end_reason == "ended_by_staff"


def test_nobody_is_in_the_place_of_other_staff(cast: Cast, staff: Client) -> None:
    accounts.add_member(org_id=cast.org.id, user_id=person("tess").id, role="viewer")
    tess = User.objects.get(email="tess@loom.test")
    User.objects.filter(pk=tess.pk).update(is_staff=True)
    answer = enter(staff, cast, user=tess)
    assert answer.status_code == 400
    assert "place of other staff" in answer.content.decode()
    assert stays() == []


def test_only_staff_with_a_proved_second_factor_get_to_the_door(cast: Cast, staff: Client) -> None:
    for client in (cast.owner, cast.nobody):
        assert client.get(door(cast)).status_code in (302, 403)
        assert client.post(door(cast), {"reason": REASON, "minutes": 5}).status_code in (302, 403)
    session = staff.session
    del session[DEVICE_ID_SESSION_KEY]
    session.save()
    assert staff.post(door(cast), {"reason": REASON, "minutes": 5}).status_code == 302
    assert stays() == []


def test_it_is_of_one_browser_and_ends_with_the_sign_in(cast: Cast, staff: Client) -> None:
    enter(staff, cast)
    sam = User.objects.get(email="sam@mindweave.test")
    other = Client(headers={"accept": "text/html"})
    other.force_login(sam)
    assert other.get(cast.url()).status_code == 404
    before = staff.session.session_key
    staff.post("/logout")
    assert staff.session.session_key != before
    staff.force_login(sam)
    assert staff.get(cast.url()).status_code == 404


def test_a_session_key_from_before_is_worth_nothing_after(cast: Cast, staff: Client) -> None:
    before = staff.session.session_key
    enter(staff, cast)
    assert staff.session.session_key != before
