"""`/orgs/{id}/members`: who may give which role to whom, and the owner who must stay."""

import pytest

from apps.accounts import selectors, services
from apps.accounts.models import Role
from apps.accounts.permissions import CAPABILITIES, ROLE_CAPABILITIES, RolePermissions
from apps.core.contracts import Actor
from apps.core.database import read_often
from apps.core.errors import Conflict
from apps.core.ids import uuid7
from apps.identity.models import User
from apps.projects.selectors import forget_keys, key_authenticate
from tests.cast import Api, at_once, make_key, make_person, published, rights_of, trail


def role(cast, person) -> str | None:
    return selectors.role_of(org_id=cast.org.id, user_id=person.id)


# ---------------------------------------------------------------- reading
def test_members_are_listed_with_name_address_and_role(cast) -> None:
    answer = Api(cast.dora).get(f"/orgs/{cast.org.id}/members", {"limit": 2})
    assert answer.status_code == 200
    rows, cursor = answer.json()["data"], answer.json()["next_cursor"]
    assert [(row["email"], row["role"]) for row in rows] == [
        ("alice@example.com", "owner"),
        ("erin@example.com", "admin"),
    ]
    assert set(rows[0]) == {"user_id", "email", "name", "role", "is_active", "joined_at"}
    rest = Api(cast.dora).get(f"/orgs/{cast.org.id}/members", {"limit": 200, "cursor": cursor}).json()["data"]
    assert [row["name"] for row in rest] == ["Bob", "Frank", "Dora"]


def test_who_may_list_members(cast) -> None:
    path = f"/orgs/{cast.org.id}/members"
    seen = {role: api.get(path).status_code for role, api in rights_of(cast).items()}
    assert seen == {
        "owner": 200, "admin": 200, "developer": 200, "billing": 403, "viewer": 200, "stranger": 404, "nobody": 401,
    }  # fmt: skip


# ---------------------------------------------------------------- adding
def test_an_admin_adds_somebody_who_has_registered(cast) -> None:
    grace = make_person("grace")
    body = {"email": "GRACE@example.com", "role": "developer"}
    answer = Api(cast.erin).post(f"/orgs/{cast.org.id}/members", body)
    assert answer.status_code == 201
    assert (answer.json()["user_id"], answer.json()["role"]) == (str(grace.id), "developer")
    assert role(cast, grace) == "developer"
    assert published("member.added")[-1] == {
        "org_id": str(cast.org.id), "user_id": str(grace.id), "role": "developer",
    }  # fmt: skip
    [entry] = trail("member.added", target_id=str(grace.id))
    assert (entry.actor_id, entry.org_id, entry.changes) == (cast.erin.id, cast.org.id, {"role": [None, "developer"]})
    again = Api(cast.erin).post(f"/orgs/{cast.org.id}/members", body)
    assert (again.status_code, again.json()["code"]) == (409, "already_member")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"email": "nobody@example.com", "role": "viewer"}, "/email"),
        ({"email": "charlie@example.com", "role": "emperor"}, "/role"),
        ({"email": "charlie@example.com"}, "/role"),
    ],
)
def test_whom_or_what_does_not_exist_cannot_be_added(cast, body, pointer) -> None:
    answer = Api(cast.alice).post(f"/orgs/{cast.org.id}/members", body)
    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert role(cast, cast.charlie) is None


@pytest.mark.parametrize("who", ["developer", "billing", "viewer", "stranger", "nobody"])
def test_others_add_change_and_remove_nobody(cast, who) -> None:
    api, path = rights_of(cast)[who], f"/orgs/{cast.org.id}/members"
    refused = {"stranger": 404, "nobody": 401}.get(who, 403)
    victim = cast.erin
    assert api.post(path, {"email": "charlie@example.com", "role": "viewer"}).status_code == refused
    assert api.patch(f"{path}/{victim.id}", {"role": "viewer"}).status_code == refused
    assert api.delete(f"{path}/{victim.id}").status_code == refused
    assert (role(cast, cast.charlie), role(cast, victim)) == (None, "admin")
    assert published("member.role_changed") == published("member.removed") == []


def test_a_key_manages_no_members(cast) -> None:
    _, token = make_key(cast, scopes=("read", "admin"))
    api = Api(token=token)
    assert api.get(f"/orgs/{cast.org.id}/members").status_code == 200
    assert api.get(f"/orgs/{cast.elsewhere.id}/members").status_code == 404
    body = {"email": "charlie@example.com", "role": "owner"}
    assert api.post(f"/orgs/{cast.org.id}/members", body).json()["code"] == "keys_not_allowed"
    assert api.delete(f"/orgs/{cast.org.id}/members/{cast.dora.id}").json()["code"] == "keys_not_allowed"


# ---------------------------------------------------------------- roles
def test_a_role_is_changed_and_recorded(cast) -> None:
    answer = Api(cast.erin).patch(f"/orgs/{cast.org.id}/members/{cast.dora.id}", {"role": "developer"})
    assert (answer.status_code, answer.json()["role"]) == (200, "developer")
    [event] = published("member.role_changed")
    assert (event["role"], event["previous_role"]) == ("developer", "viewer")
    [entry] = trail("member.role_changed")
    assert entry.changes == {"role": ["viewer", "developer"]}


def test_nobody_gives_or_takes_a_role_above_their_own(cast) -> None:
    erin, path = Api(cast.erin), f"/orgs/{cast.org.id}/members"
    make_person("grace")
    for answer in (
        erin.patch(f"{path}/{cast.dora.id}", {"role": "owner"}),
        erin.patch(f"{path}/{cast.erin.id}", {"role": "owner"}),
        erin.patch(f"{path}/{cast.alice.id}", {"role": "viewer"}),
        erin.delete(f"{path}/{cast.alice.id}"),
        erin.post(path, {"email": "grace@example.com", "role": "owner"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "role_ceiling")
    assert (role(cast, cast.alice), role(cast, cast.erin), role(cast, cast.dora)) == ("owner", "admin", "viewer")


def test_a_member_of_elsewhere_cannot_be_changed_from_here(cast) -> None:
    path = f"/orgs/{cast.org.id}/members/{cast.charlie.id}"
    assert Api(cast.alice).patch(path, {"role": "viewer"}).status_code == 404
    assert Api(cast.alice).delete(path).status_code == 404
    assert Api(cast.alice).delete(f"/orgs/{cast.elsewhere.id}/members/{cast.charlie.id}").status_code == 404
    assert selectors.role_of(org_id=cast.elsewhere.id, user_id=cast.charlie.id) == "owner"


# ---------------------------------------------------------------- leaving
def test_anybody_may_leave_and_sees_nothing_any_more(cast) -> None:
    dora = Api(cast.dora)
    assert dora.delete(f"/orgs/{cast.org.id}/members/{cast.dora.id}").status_code == 204
    assert role(cast, cast.dora) is None
    assert dora.get(f"/orgs/{cast.org.id}").status_code == 404
    assert published("member.removed") == [{"org_id": str(cast.org.id), "user_id": str(cast.dora.id), "role": "viewer"}]


def test_the_last_owner_can_neither_leave_nor_become_something_else(cast) -> None:
    alice, path = Api(cast.alice), f"/orgs/{cast.org.id}/members/{cast.alice.id}"
    for answer in (alice.delete(path), alice.patch(path, {"role": "admin"})):
        assert (answer.status_code, answer.json()["code"]) == (409, "last_owner")
    assert role(cast, cast.alice) == "owner"
    assert published("member.removed") == []


def test_an_owner_may_leave_once_there_is_another(cast) -> None:
    alice = Api(cast.alice)
    assert alice.patch(f"/orgs/{cast.org.id}/members/{cast.erin.id}", {"role": "owner"}).status_code == 200
    assert alice.delete(f"/orgs/{cast.org.id}/members/{cast.alice.id}").status_code == 204
    assert (role(cast, cast.alice), role(cast, cast.erin)) == (None, "owner")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", ["leave", "demote"])
def test_of_two_owners_who_go_at_once_one_stays(way) -> None:
    first, second = make_person("first"), make_person("second")
    org = services.create_organization(owner_id=first.id, name="Pair")
    services.add_member(org_id=org.id, user_id=second.id, role="owner")

    def go(person):
        if way == "leave":
            return services.remove_member(org_id=org.id, user_id=person.id, by_user_id=person.id)
        return services.change_member_role(org_id=org.id, user_id=person.id, role="viewer", by_user_id=person.id)

    results = at_once(lambda: go(first), lambda: go(second))
    assert sum(isinstance(result, Conflict) and result.code == "last_owner" for result in results) == 1, results
    assert [member.role for member in selectors.member_infos(org.id)].count("owner") == 1


# ---------------------------------------------------------------- what they leave
def test_whoever_is_removed_leaves_no_working_key(cast) -> None:
    _, token = make_key(cast, owner_id=cast.bob.id)
    _, service = make_key(cast)
    assert Api(cast.erin).delete(f"/orgs/{cast.org.id}/members/{cast.bob.id}").status_code == 204
    forget_keys()
    assert key_authenticate(token) is None
    assert key_authenticate(service) is not None, "a key without a person goes on"
    [entry] = trail("member.removed")
    assert entry.changes["keys_revoked"] == [1, None]


def test_their_keys_are_handed_over_where_somebody_takes_them(cast) -> None:
    _, token = make_key(cast, owner_id=cast.bob.id)
    path = f"/orgs/{cast.org.id}/members/{cast.bob.id}"
    for nobody in (cast.charlie.id, cast.bob.id, "x"):
        assert Api(cast.erin).delete(f"{path}?keys_to={nobody}").status_code == 400
    assert role(cast, cast.bob) == "developer"
    assert Api(cast.erin).delete(f"{path}?keys_to={cast.erin.id}").status_code == 204
    forget_keys()
    context = key_authenticate(token)
    assert context is not None
    assert context.owner_id == cast.erin.id
    assert [event["changed"] for event in published("key.updated")] == [["owner_id"]]


def test_a_member_whose_account_is_closed_is_shown_so(cast) -> None:
    User.objects.filter(pk=cast.bob.id).update(is_active=False)
    rows = Api(cast.alice).get(f"/orgs/{cast.org.id}/members").json()["data"]
    assert [row["email"] for row in rows if not row["is_active"]] == ["bob@example.com"]
    page = Api(cast.alice).client.get("/o/wonder-looms/settings/members", headers={"accept": "text/html"})
    assert "account closed" in page.content.decode()


def test_whoever_guesses_addresses_is_stopped(cast) -> None:
    path = f"/orgs/{cast.org.id}/members"
    seen = [Api(cast.alice).post(path, {"email": f"x{n}@example.com", "role": "viewer"}).status_code for n in range(22)]
    assert set(seen[:20]) == {400}
    assert seen[-1] == 429


# ---------------------------------------------------------------- what roles may do
def test_every_role_has_a_row_and_every_capability_an_owner() -> None:
    assert set(ROLE_CAPABILITIES) == set(Role.values)
    assert ROLE_CAPABILITIES["owner"] == CAPABILITIES
    assert CAPABILITIES - ROLE_CAPABILITIES["admin"] == {"org.delete"}
    # A viewer writes nothing but what is their own.
    assert {c for c in ROLE_CAPABILITIES["viewer"] if not c.endswith(".read")} == {"view.save"}
    assert not ROLE_CAPABILITIES["viewer"] & {"audit.read", "billing.read"}
    assert ROLE_CAPABILITIES["developer"] - ROLE_CAPABILITIES["viewer"] == {"key.manage"}


def test_a_capability_that_does_not_exist_is_a_bug_not_a_refusal(cast) -> None:
    with pytest.raises(ValueError, match=r"org\.paint"):
        RolePermissions().check(Actor(kind="user", id=cast.alice.id), "org.paint", cast.org.id)


@pytest.mark.parametrize("kind", ["key", "system", "staff", "anonymous"])
def test_only_people_hold_roles(cast, kind) -> None:
    actor = Actor(kind=kind, id=cast.alice.id)
    assert not RolePermissions().check(actor, "org.read", cast.org.id)
    assert not RolePermissions().is_member(actor, cast.org.id)
    assert not RolePermissions().is_member(Actor(kind="user", id=uuid7()), cast.org.id)


def test_addresses_of_members_count_once_they_are_verified(cast) -> None:
    User.objects.filter(pk=cast.bob.id).update(email_verified_at=None)
    verified = {person.id: person.email for person in (cast.alice, cast.erin, cast.frank, cast.dora)}
    assert dict(read_often(*selectors.member_addresses_question(cast.org.id))) == {**verified, cast.bob.id: None}


def test_whom_to_tell_is_found_in_two_queries_however_many_members_there_are(cast, django_assert_num_queries) -> None:
    role = services.create_role(org_id=cast.org.id, name="Reviewer", capabilities=["org.read", "access.review"])
    services.change_member_role(org_id=cast.org.id, user_id=cast.dora.id, role=role.key)
    User.objects.filter(pk=cast.erin.id).update(is_active=False)
    besides = [cast.bob.id, cast.charlie.id, None]
    with django_assert_num_queries(2):
        found = selectors.members_who_may(cast.org.id, "access.review", besides=besides)
    assert [member.name for member in found] == ["Alice", "Bob", "Dora"]
