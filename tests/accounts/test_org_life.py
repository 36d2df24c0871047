"""Deleted, restored within its grace, or erased: the end of an organisation's life."""

from datetime import timedelta

import pytest

from apps.accounts import selectors, services
from apps.accounts.models import Membership, Organization, OrgTombstone
from apps.accounts.subscribers import tell_of_deletion, tell_of_return
from apps.core.clock import now
from apps.core.errors import Conflict, ValidationFailed
from apps.core.ids import uuid7
from apps.core.tenancy import org_scope
from apps.events.contracts import Envelope
from apps.identity.models import User
from apps.projects.selectors import forget_keys, key_authenticate
from tests.cast import Api, make_key, published, rights_of, sign_in, trail
from tests.teams.mail import mails_to

HTML = {"accept": "text/html"}


def delete(cast) -> None:
    services.delete_organization(org_id=cast.org.id)


def happened(cast, type_: str, handler) -> None:
    """What the bus does with a fact."""
    envelope = Envelope.from_dict(
        {
            "id": str(uuid7()), "type": type_, "source": "accounts", "timestamp": now().isoformat(), "version": "1.0",
            "correlation_id": "c", "data": {"org_id": str(cast.org.id)}, "metadata": {"org_id": str(cast.org.id)},
        },
        topic="audit.log", key="k",
    )  # fmt: skip
    with org_scope(cast.org.id):
        handler(envelope)


def grace_over(cast) -> None:
    Organization.objects.filter(pk=cast.org.id).update(erase_at=now() - timedelta(seconds=1))


# ---------------------------------------------------------------- deleting
def test_deleting_keeps_everything_for_thirty_days(cast) -> None:
    _, token = make_key(cast)
    assert Api(cast.alice).delete(f"/orgs/{cast.org.id}").status_code == 204
    forget_keys()
    assert key_authenticate(token) is None
    org = Organization.objects.get(pk=cast.org.id)
    assert (org.status, org.status_before) == ("deleted", "active")
    assert abs(org.erase_at - now() - timedelta(days=30)) < timedelta(minutes=1)
    assert published("org.deleted") == [{"org_id": str(cast.org.id)}]
    with org_scope(cast.org.id):
        assert Membership.objects.count() == 5
    assert Api(cast.alice).delete(f"/orgs/{cast.org.id}").status_code == 404


def test_an_owner_brings_it_back_as_it_was(cast) -> None:
    _, token = make_key(cast)
    delete(cast)
    path = f"/orgs/{cast.org.id}/restore"
    refused = {"admin": 403, "developer": 403, "billing": 403, "viewer": 403, "stranger": 404, "nobody": 401}
    rights = rights_of(cast)
    assert {who: rights[who].post(path).status_code for who in refused} == refused
    assert selectors.org_find(cast.org.id) is None
    answer = rights["owner"].post(path)
    assert (answer.status_code, answer.json()["status"]) == (200, "active")
    forget_keys()
    assert key_authenticate(token) is not None
    assert published("org.restored") == [{"org_id": str(cast.org.id)}]
    [entry] = trail("org.restored")
    assert entry.actor_id == cast.alice.id
    again = rights["owner"].post(path)
    assert (again.status_code, again.json()["code"]) == (409, "not_deleted")


def test_a_suspension_outlives_deletion_and_return(cast) -> None:
    services.suspend_organization(org_id=cast.org.id, reason="unpaid")
    delete(cast)
    assert services.restore_organization(org_id=cast.org.id, by_user_id=cast.alice.id).status == "suspended"


def test_nobody_brings_back_what_is_past_its_grace(cast) -> None:
    delete(cast)
    grace_over(cast)
    answer = Api(cast.alice).post(f"/orgs/{cast.org.id}/restore")
    assert (answer.status_code, answer.json()["code"]) == (409, "grace_over")
    with pytest.raises(Conflict):
        services.restore_organization(org_id=cast.org.id, reason="they asked")
    with pytest.raises(Conflict):
        services.extend_grace(org_id=cast.org.id, days=5, reason="they asked")
    assert trail("org.restored") == trail("org.grace_extended") == []


def test_staff_restore_and_extend_with_a_reason(cast) -> None:
    delete(cast)
    before = Organization.objects.get(pk=cast.org.id).erase_at
    for work in (
        lambda: services.restore_organization(org_id=cast.org.id),
        lambda: services.extend_grace(org_id=cast.org.id, days=30, reason=" "),
        lambda: services.extend_grace(org_id=cast.org.id, days=400, reason="they asked"),
    ):
        with pytest.raises(ValidationFailed):
            work()
    services.extend_grace(org_id=cast.org.id, days=30, reason="they asked")
    assert Organization.objects.get(pk=cast.org.id).erase_at == before + timedelta(days=30)
    services.restore_organization(org_id=cast.org.id, reason="they asked")
    assert selectors.org_get(cast.org.id).status == "active"
    assert [entry.reason for entry in trail("org.grace_extended") + trail("org.restored")] == ["they asked"] * 2


def test_members_are_told_by_mail_and_owners_where_to_restore(cast) -> None:
    delete(cast)
    happened(cast, "org.deleted", tell_of_deletion)
    [to_owner], [to_viewer] = mails_to("alice@example.com", "org_deleted"), mails_to("dora@example.com", "org_deleted")
    assert to_owner.subject == "Wonder Looms was deleted"
    assert "/account/organisations" in to_owner.text
    assert "/account/organisations" not in to_viewer.text
    assert mails_to("charlie@example.com", "org_deleted") == []
    services.restore_organization(org_id=cast.org.id, by_user_id=cast.alice.id)
    happened(cast, "org.deleted", tell_of_deletion)
    assert len(mails_to("dora@example.com", "org_deleted")) == 1, "news that is old is told to nobody"
    happened(cast, "org.restored", tell_of_return)
    assert [mail.subject for mail in mails_to("dora@example.com", "org_restored")] == ["Wonder Looms is back"]


def test_the_account_leads_to_what_can_be_restored(cast) -> None:
    alice = Api(cast.alice).client
    wrong = alice.post("/o/wonder-looms/settings/delete", {"confirm": "wonder"}, headers=HTML)
    assert wrong.status_code == 400
    done = alice.post("/o/wonder-looms/settings/delete", {"confirm": "wonder-looms"}, headers=HTML)
    assert (done.status_code, done["Location"]) == (302, "/account/organisations")
    page = alice.get("/account/organisations", headers=HTML).content.decode()
    assert "Wonder Looms" in page
    assert f"/account/organisations/{cast.org.id}/restore" in page
    dora = Api(cast.dora).client
    seen = dora.get("/account/organisations", headers=HTML).content.decode()
    assert "unless an owner restores it" in seen
    assert f"/account/organisations/{cast.org.id}/restore" not in seen
    dora.post(f"/account/organisations/{cast.org.id}/restore", headers=HTML)
    assert selectors.org_find(cast.org.id) is None
    assert Api(cast.charlie).client.post(f"/account/organisations/{cast.org.id}/restore").status_code == 404
    alice.post(f"/account/organisations/{cast.org.id}/restore", headers=HTML)
    assert alice.get("/o/wonder-looms/", headers=HTML).status_code == 200


def test_deleting_and_handing_over_want_a_credential_shown_a_short_while_ago(cast) -> None:
    stale = Api(cast.alice)
    sign_in(stale.client, User.objects.get(pk=cast.alice.id), age=timedelta(hours=1))
    for answer in (
        stale.delete(f"/orgs/{cast.org.id}"),
        stale.post(f"/orgs/{cast.org.id}/transfer", {"user_id": str(cast.erin.id)}),
        stale.post(f"/orgs/{cast.org.id}/export"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (401, "step_up_required")
    assert selectors.org_get(cast.org.id).status == "active"
    assert selectors.role_of(org_id=cast.org.id, user_id=cast.alice.id) == "owner"


# ---------------------------------------------------------------- erasing
def test_what_is_not_due_is_not_erased(cast) -> None:
    assert not services.erase_organization(org_id=cast.org.id, seconds=60)
    delete(cast)
    assert not services.erase_organization(org_id=cast.org.id, seconds=60)
    assert services.erase_due() == {"erased": 0, "left": 0}
    assert OrgTombstone.objects.count() == 0
    grace_over(cast)
    assert services.erase_due() == {"erased": 1, "left": 0}
    assert Organization.objects.filter(pk=cast.org.id).count() == 0
