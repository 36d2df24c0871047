"""Handing an organisation over, and the owner whom it always has."""

import pytest

from apps.accounts import selectors, services
from apps.core.errors import Conflict, MindWeaveError, PermissionDenied, ValidationFailed
from apps.identity.models import User
from tests.cast import Api, at_once, make_person, published, rights_of, trail

HTML = {"accept": "text/html"}


def role(cast, person) -> str | None:
    return selectors.role_of(org_id=cast.org.id, user_id=person.id)


def test_an_owner_hands_over_and_becomes_an_admin(cast) -> None:
    answer = Api(cast.alice).post(f"/orgs/{cast.org.id}/transfer", {"user_id": str(cast.dora.id)})
    assert answer.status_code == 204
    assert (role(cast, cast.alice), role(cast, cast.dora)) == ("admin", "owner")
    assert [(event["role"], event["previous_role"]) for event in published("member.role_changed")] == [
        ("owner", "viewer"), ("admin", "owner"),
    ]  # fmt: skip
    [entry] = trail("org.ownership_transferred")
    assert entry.actor_id == cast.alice.id
    assert Api(cast.alice).delete(f"/orgs/{cast.org.id}").status_code == 403


def test_an_owner_may_stay_one_beside_the_new(cast) -> None:
    body = {"user_id": str(cast.erin.id), "stay_owner": True}
    assert Api(cast.alice).post(f"/orgs/{cast.org.id}/transfer", body).status_code == 204
    assert (role(cast, cast.alice), role(cast, cast.erin)) == ("owner", "owner")
    again = Api(cast.alice).post(f"/orgs/{cast.org.id}/transfer", body)
    assert (again.status_code, again.json()["code"]) == (409, "already_owner")


@pytest.mark.parametrize("who", ["admin", "developer", "billing", "viewer", "stranger", "nobody"])
def test_nobody_else_hands_it_over(cast, who) -> None:
    refused = {"stranger": 404, "nobody": 401}.get(who, 403)
    body = {"user_id": str(cast.dora.id)}
    assert rights_of(cast)[who].post(f"/orgs/{cast.org.id}/transfer", body).status_code == refused
    with pytest.raises(PermissionDenied):
        services.transfer_ownership(org_id=cast.org.id, to_user_id=cast.dora.id, by_user_id=cast.erin.id)
    assert role(cast, cast.alice) == "owner"
    assert trail("org.ownership_transferred") == []


@pytest.mark.parametrize("whom", ["themselves", "a stranger", "a closed account"])
def test_it_goes_only_to_another_member_whose_account_is_open(cast, whom) -> None:
    User.objects.filter(pk=cast.bob.id).update(is_active=False)
    to = {"themselves": cast.alice, "a stranger": cast.charlie, "a closed account": cast.bob}[whom]
    answer = Api(cast.alice).post(f"/orgs/{cast.org.id}/transfer", {"user_id": str(to.id)})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/user_id"
    assert role(cast, cast.alice) == "owner"


def test_an_owner_whose_account_is_closed_counts_for_none(cast) -> None:
    services.change_member_role(org_id=cast.org.id, user_id=cast.erin.id, role="owner")
    User.objects.filter(pk=cast.erin.id).update(is_active=False)
    for work in (
        lambda: services.remove_member(org_id=cast.org.id, user_id=cast.alice.id),
        lambda: services.change_member_role(org_id=cast.org.id, user_id=cast.alice.id, role="admin"),
    ):
        with pytest.raises(Conflict) as refused:
            work()
        assert refused.value.code == "last_owner"
    services.remove_member(org_id=cast.org.id, user_id=cast.erin.id)
    assert role(cast, cast.alice) == "owner"


def test_staff_make_an_owner_where_nobody_inside_can(cast) -> None:
    User.objects.filter(pk=cast.alice.id).update(is_active=False)
    with pytest.raises(ValidationFailed):
        services.appoint_owner(org_id=cast.org.id, user_id=cast.erin.id, reason=" ")
    services.appoint_owner(org_id=cast.org.id, user_id=cast.erin.id, reason="Alice has left the company")
    assert role(cast, cast.erin) == "owner"
    [entry] = trail("org.ownership_transferred")
    assert entry.reason == "Alice has left the company"


def test_the_page_hands_over(cast) -> None:
    client = Api(cast.alice).client
    page = client.get("/o/wonder-looms/settings/danger", headers=HTML).content.decode()
    assert "erin@example.com" in page
    refused = client.post("/o/wonder-looms/settings/owner", {"user_id": str(cast.charlie.id)}, headers=HTML)
    assert refused.status_code == 400
    done = client.post("/o/wonder-looms/settings/owner", {"user_id": str(cast.erin.id)}, headers=HTML, follow=True)
    assert "You are an admin now" in done.content.decode()
    assert "Hand over" not in done.content.decode()


@pytest.mark.django_db(transaction=True)
def test_of_two_owners_who_hand_over_to_each_other_or_leave_at_once_one_stays() -> None:
    first, second = make_person("first"), make_person("second")
    org = services.create_organization(owner_id=first.id, name="Pair")
    services.add_member(org_id=org.id, user_id=second.id, role="owner")
    results = at_once(
        lambda: services.transfer_ownership(org_id=org.id, to_user_id=second.id, by_user_id=first.id),
        lambda: services.transfer_ownership(org_id=org.id, to_user_id=first.id, by_user_id=second.id),
        lambda: services.remove_member(org_id=org.id, user_id=second.id, by_user_id=second.id),
    )
    assert all(result is None or isinstance(result, MindWeaveError) for result in results), results
    assert [member.role for member in selectors.member_infos(org.id)].count("owner") >= 1
