"""An organisation's page in the staff admin, and how staff suspend and resume."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from apps.accounts import services as accounts
from apps.accounts.models import Membership, Organization
from apps.accounts.selectors import org_get, role_of
from apps.core import ports
from apps.core.registry import PanelContent, StaffOrgPanel, staff_org_panels
from apps.core.tenancy import org_scope
from apps.identity.models import User
from apps.projects.selectors import forget_keys, key_authenticate
from apps.projects.services import create_project
from apps.teams.services import invite_member
from apps.usage.drain.shard import drain_now
from apps.usage.models import Import
from apps.usage.repricing import reprice_start
from apps.usage.services import ingest
from tests.cast import make_key, make_person, trail
from tests.staff.counting import counted
from tests.web.conftest import event


def page(cast, org=None) -> str:
    return f"/admin/accounts/organization/{(org or cast.org).id}/change/"


def read(office: Client, url: str) -> str:
    response = office.get(url)
    assert response.status_code == 200
    return response.content.decode()


def test_it_shows_what_the_organisation_is_and_who_is_in_it(office, cast) -> None:
    make_key(cast)
    text = read(office, page(cast))
    for said in (
        "Wonder Looms", "wonder-looms", "Free", "nothing is limited", "Nobody is invited.",
        "7 days", "alice@example.com", "owner", "Weaver", "Loom",
        "Last entries of the audit trail", "key.created", "Nothing is under way.", "/o/wonder-looms/projects",
    ):  # fmt: skip
        assert said in text, said
    assert "charlie@example.com" not in text, "of another organisation"
    assert "Organizations" not in text, "one spelling"


def test_it_shows_what_was_counted(office, cast) -> None:
    _, token = make_key(cast)
    key = key_authenticate(token)
    ingest(key=key, events=[event(), event(), event(model="nobody-knows-it"), event(ago=timedelta(days=3))])
    drain_now()
    text = read(office, page(cast))
    assert "3 events, 3 calls, 1 without a price" in text, "today"
    assert "4 events, 4 calls, 1 without a price" in text, "in seven days"
    assert "Never" not in text


def test_it_shows_the_limits_in_force(office, cast, monkeypatch) -> None:
    class Plan:
        def limit(self, org_id, name):
            return {"projects": 3}.get(name)

    monkeypatch.setattr(ports.plan_limits, "get", Plan)
    text = read(office, page(cast))
    assert "Projects: 3" in text
    assert "nothing is limited" not in text


def test_it_shows_imports_and_repricings_under_way(office, cast) -> None:
    with org_scope(cast.org.id):
        Import.objects.create(
            org_id=cast.org.id, project_id=cast.project.id, key_id=cast.org.id, origin="upload", name="history.jsonl",
            size_bytes=10, content_bytes=200, bytes_read=50, state="running",
        )  # fmt: skip
    reprice_start(org_id=cast.org.id, model="claude-opus-4", start=None, end=None, only_unpriced=True, reason="late")
    text = read(office, page(cast))
    for said in ("history.jsonl", "25%", "claude-opus-4", "queued"):
        assert said in text, said


def test_a_panel_that_fails_says_so_and_leaves_the_others(office, cast, monkeypatch) -> None:
    def broken(org_id) -> PanelContent:
        with connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column")
        raise AssertionError

    monkeypatch.setitem(staff_org_panels._items, "usage", StaffOrgPanel("usage", "Usage", broken, order=10))
    text = read(office, page(cast))
    assert "This part could not be read." in text
    assert "no_such_column" not in text
    assert "alice@example.com" in text
    assert "Weaver" in text


def test_it_costs_the_same_number_of_queries_however_much_there_is(office, cast) -> None:
    def queries() -> int:
        with counted() as statements:
            read(office, page(cast))
        return len(statements)

    queries()
    few = queries()
    for n in range(25):
        accounts.add_member(org_id=cast.org.id, user_id=make_person(f"person{n}").id, role="viewer")
        make_key(cast, project_id=create_project(org_id=cast.org.id, name=f"Project {n}").id)
    text = read(office, page(cast))
    assert "20 of 30" in text
    assert queries() <= few + 1
    assert few < 25


def test_a_deleted_organisation_still_has_its_page_and_an_unknown_one_none(office, cast) -> None:
    accounts.delete_organization(org_id=cast.elsewhere.id)
    assert "This organisation is deleted" in read(office, page(cast, cast.elsewhere))
    assert office.get(page(cast).replace(str(cast.org.id), str(cast.alice.id))).status_code == 302
    assert office.get(page(cast).replace(str(cast.org.id), "nonsense")).status_code == 302
    assert office.post(page(cast), {"name": "Other"}).status_code == 403
    assert Client().get(page(cast)).status_code == 302


def test_it_shows_who_is_invited_and_the_seats(office, cast) -> None:
    invite_member(org_id=cast.org.id, email="grace@example.com", role="viewer", by_user_id=cast.erin.id)
    text = read(office, page(cast))
    assert "grace@example.com" in text
    assert "Seats taken" in text


# ---------------------------------------------------------------- deleted
def test_staff_extend_the_grace_and_restore(office, cast, clerk) -> None:
    accounts.delete_organization(org_id=cast.org.id)
    ends = Organization.objects.get(pk=cast.org.id).erase_at
    text = read(office, page(cast))
    assert "Restore…" in text
    assert "Extend the grace…" in text
    assert "Suspend…" not in text
    extend, restore = "/admin/accounts/organization/extend/", "/admin/accounts/organization/restore/"
    assert office.post(extend, {"id": cast.org.id, "days": 900, "reason": "they asked"}).status_code == 400
    assert office.post(restore, {"id": cast.org.id, "reason": ""}).status_code == 400
    assert Organization.objects.get(pk=cast.org.id).erase_at == ends
    assert office.post(extend, {"id": cast.org.id, "days": 10, "reason": "they asked"}).status_code == 302
    assert Organization.objects.get(pk=cast.org.id).erase_at == ends + timedelta(days=10)
    assert office.post(restore, {"id": cast.org.id, "reason": "they asked"}).status_code == 302
    assert org_get(cast.org.id).status == "active"
    [entry] = trail("org.restored")
    assert (entry.actor_kind, entry.actor_id, entry.reason) == ("staff", clerk.pk, "they asked")
    again = office.post(restore, {"id": cast.org.id, "reason": "again"})
    assert again.status_code == 400
    assert "not deleted" in again.content.decode()


def test_staff_make_an_owner_where_the_only_ones_account_is_closed(office, cast) -> None:
    User.objects.filter(pk=cast.alice.id).update(is_active=False)
    with org_scope(cast.org.id):
        member = Membership.objects.get(user_id=cast.erin.id)
    path = reverse("admin:accounts_membership_make_owner", args=[member.pk])
    assert "Make erin@example.com an owner" in read(office, path)
    assert office.post(path, {"reason": ""}).status_code == 400
    assert role_of(org_id=cast.org.id, user_id=cast.erin.id) == "admin"
    assert office.post(path, {"reason": "Alice has left the company"}).status_code == 302
    assert role_of(org_id=cast.org.id, user_id=cast.erin.id) == "owner"
    assert [entry.reason for entry in trail("org.ownership_transferred")] == ["Alice has left the company"]


# ---------------------------------------------------------------- suspending and resuming
SUSPEND, RESUME = "/admin/accounts/organization/suspend/", "/admin/accounts/organization/resume/"


def test_suspending_asks_for_a_reason_and_is_audited_in_the_name_of_the_staff(office, cast, clerk) -> None:
    _, token = make_key(cast)
    asked = office.get(SUSPEND, {"id": cast.org.id})
    assert asked.status_code == 200
    assert "Suspend Wonder Looms" in asked.content.decode()
    assert org_get(cast.org.id).status == "active", "asking changes nothing"

    for empty in ("", "   "):
        refused = office.post(SUSPEND, {"id": cast.org.id, "reason": empty})
        assert refused.status_code == 400
        assert "Say why." in refused.content.decode()
    assert office.post(SUSPEND, {"id": cast.org.id, "reason": "x" * 301}).status_code == 400
    assert trail("org.suspended") == []

    done = office.post(SUSPEND, {"id": cast.org.id, "reason": "Unpaid since March"}, follow=True)
    assert done.redirect_chain == [(page(cast), 302)]
    assert "Unpaid since March" in done.content.decode()
    assert "since " in done.content.decode()
    (entry,) = trail("org.suspended")
    assert (entry.actor_kind, entry.actor_id, entry.reason) == ("staff", clerk.pk, "Unpaid since March")
    forget_keys()
    assert key_authenticate(token) is None

    office.post(RESUME, {"id": cast.org.id, "reason": "Paid"})
    (entry,) = trail("org.resumed")
    assert (entry.actor_kind, entry.reason) == ("staff", "Paid")
    assert org_get(cast.org.id).status == "active"


@pytest.mark.parametrize(("url", "said"), [(SUSPEND, "suspended already"), (RESUME, "not suspended")])
def test_what_is_done_already_is_said_and_nothing_is_written(office, cast, url, said) -> None:
    if url == SUSPEND:
        accounts.suspend_organization(org_id=cast.org.id, reason="unpaid")
    before = len(trail("org.suspended") + trail("org.resumed"))
    assert f"Wonder Looms: {said}. Nothing was changed." in read(office, f"{url}?id={cast.org.id}")
    refused = office.post(url, {"id": cast.org.id, "reason": "again"})
    assert refused.status_code == 400
    assert said in refused.content.decode()
    assert len(trail("org.suspended") + trail("org.resumed")) == before


def test_what_changed_since_the_form_was_shown_is_refused_by_the_service(office, cast, monkeypatch) -> None:
    monkeypatch.setattr("apps.accounts.admin._cannot", lambda orgs, change: "")
    accounts.suspend_organization(org_id=cast.org.id, reason="unpaid")
    refused = office.post(SUSPEND, {"id": cast.org.id, "reason": "again"})
    assert (refused.status_code, len(trail("org.suspended"))) == (400, 1)
    assert "suspended already" in refused.content.decode()


def _act(office: Client, action: str, *orgs):
    data = {"action": action, "_selected_action": [str(org.id) for org in orgs]}
    return office.post("/admin/accounts/organization/", data, follow=True)


def test_the_list_suspends_several_with_one_reason_all_or_none(office, cast) -> None:
    asked = _act(office, "suspend", cast.org, cast.elsewhere)
    assert "Suspend 2 organisations" in asked.content.decode()
    assert trail("org.suspended") == []
    both = {"id": [cast.org.id, cast.elsewhere.id], "reason": "Abuse of the free plan"}
    assert office.post(SUSPEND, both).headers["Location"] == "/admin/accounts/organization/"
    assert [entry.reason for entry in trail("org.suspended")] == ["Abuse of the free plan"] * 2

    accounts.resume_organization(org_id=cast.org.id, reason="sorry")
    assert "Elsewhere: suspended already" in _act(office, "suspend", cast.org, cast.elsewhere).content.decode()
    assert office.post(SUSPEND, both).status_code == 400
    assert org_get(cast.org.id).status == "active"


@pytest.mark.parametrize("ids", [[], ["nonsense"], ["00000000-0000-0000-0000-000000000001"]])
def test_organisations_that_do_not_exist_are_refused_with_all_the_others(office, cast, ids) -> None:
    named = [*ids, str(cast.org.id)] if ids else []
    refused = office.post(SUSPEND, {"id": named, "reason": "why"}, follow=True)
    assert "Choose 1 to 100 organisations that exist." in refused.content.decode()
    assert org_get(cast.org.id).status == "active"


def test_the_form_is_protected_and_for_staff_only(office, cast, clerk) -> None:
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(clerk)
    assert careful.post(SUSPEND, {"id": cast.org.id, "reason": "why"}).status_code == 403
    assert Client().post(SUSPEND, {"id": cast.org.id, "reason": "why"}).status_code == 302
    assert org_get(cast.org.id).status == "active"
