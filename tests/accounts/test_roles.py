"""`/orgs/{id}/roles`: roles that an organisation makes, who may make which, and what they give at once."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.accounts import selectors, services
from apps.accounts.contracts import RoleInfo
from apps.accounts.models import CustomRole, Membership
from apps.accounts.permissions import (
    CAPABILITIES,
    GROUPS,
    PERMISSIONS,
    ROLE_CAPABILITIES,
    capabilities_of_role,
    may_give,
)
from apps.accounts.role_services import MAX_ROLES
from apps.core import ports
from apps.core.errors import Conflict, PermissionDenied, ValidationFailed
from apps.core.tenancy import org_scope
from tests.cast import Api, Cast, at_once, make_key, make_person, published, refused_by_the_database, rights_of, trail


def roles_path(cast: Cast) -> str:
    return f"/orgs/{cast.org.id}/roles"


def make_role(cast: Cast, *capabilities: str, name: str = "Release manager", **fields: Any) -> RoleInfo:
    return services.create_role(org_id=cast.org.id, name=name, capabilities=capabilities, **fields)


def hold(cast: Cast, person: Any, role: str) -> None:
    services.change_member_role(org_id=cast.org.id, user_id=person.id, role=role)


# ---------------------------------------------------------------- reading
def test_built_in_roles_come_first_and_say_what_they_may(cast) -> None:
    make_role(cast, "usage.read", "key.manage", description="Ships")
    rows = Api(cast.dora).get(roles_path(cast)).json()["data"]
    assert [row["role"] for row in rows] == ["owner", "admin", "billing", "developer", "viewer", "release-manager"]
    assert [row["members"] for row in rows] == [1, 1, 1, 1, 1, 0]
    assert [row["built_in"] for row in rows] == [True] * 5 + [False]
    assert set(rows[0]["capabilities"]) == CAPABILITIES
    made = rows[-1]
    assert (made["name"], made["description"]) == ("Release manager", "Ships")
    assert made["capabilities"] == ["key.manage", "usage.read"]
    assert Api(cast.dora).get(f"{roles_path(cast)}/{made['id']}").json() == made


def test_every_permission_is_listed_with_a_sentence(cast) -> None:
    rows = Api(cast.dora).get(f"/orgs/{cast.org.id}/permissions").json()["data"]
    assert {row["name"] for row in rows} == CAPABILITIES
    assert all(row["description"] and row["group"] in GROUPS for row in rows)
    assert [row["name"] for row in rows if row["owners_only"]] == ["org.delete"]
    assert len({each.words for each in PERMISSIONS}) == len(PERMISSIONS)


def test_roles_of_another_organisation_are_not_there(cast) -> None:
    theirs = services.create_role(org_id=cast.elsewhere.id, name="Theirs", capabilities=["usage.read"])
    alice = Api(cast.alice)
    assert [row["role"] for row in alice.get(roles_path(cast)).json()["data"]] == list(ROLE_CAPABILITIES)
    assert alice.get(f"{roles_path(cast)}/{theirs.id}").status_code == 404
    assert alice.patch(f"{roles_path(cast)}/{theirs.id}", {"name": "Mine"}).status_code == 404
    assert alice.delete(f"{roles_path(cast)}/{theirs.id}").status_code == 404
    answer = alice.patch(f"/orgs/{cast.org.id}/members/{cast.dora.id}", {"role": theirs.key})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/role")
    assert selectors.role_get(org_id=cast.elsewhere.id, role_id=theirs.id).name == "Theirs"


# ---------------------------------------------------------------- making
def test_a_role_is_made_recorded_and_published(cast) -> None:
    body = {"name": "  Release   manager ", "capabilities": ["usage.read", "key.manage", "usage.read"]}
    answer = Api(cast.erin).post(roles_path(cast), body)
    assert answer.status_code == 201
    made = answer.json()
    assert (made["role"], made["name"], made["built_in"], made["members"]) == (
        "release-manager", "Release manager", False, 0,
    )  # fmt: skip
    [entry] = trail("role.created")
    assert (entry.actor_id, entry.target_id) == (cast.erin.id, made["id"])
    assert entry.changes["capabilities"] == [None, ["key.manage", "usage.read"]]
    assert published("role.created") == [{"org_id": str(cast.org.id), "role_id": made["id"], "role": "release-manager"}]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": " ", "capabilities": ["usage.read"]}, "/name"),
        ({"name": "Owner", "capabilities": ["usage.read"]}, "/name"),
        ({"name": "x" * 61, "capabilities": ["usage.read"]}, "/name"),
        ({"name": "x", "capabilities": []}, "/capabilities"),
        ({"name": "x"}, "/capabilities"),
        ({"name": "x", "capabilities": ["usage.read", "org.paint"]}, "/capabilities/1"),
        ({"name": "x", "capabilities": ["org.delete"]}, "/capabilities/0"),
        ({"name": "x", "capabilities": ["usage.read"], "description": "x" * 201}, "/description"),
        ({"name": "x", "capabilities": ["usage.read"], "key": "x"}, "/key"),
    ],
)
def test_what_is_no_role_is_refused(cast, body, pointer) -> None:
    answer = Api(cast.alice).post(roles_path(cast), body)
    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert len(selectors.roles_of_org(cast.org.id)) == 5


def test_a_name_is_taken_once_and_keys_are_never_built_in_words(cast) -> None:
    make_role(cast, "usage.read")
    again = Api(cast.alice).post(roles_path(cast), {"name": "release MANAGER", "capabilities": ["usage.read"]})
    assert (again.status_code, again.json()["code"]) == (409, "role_name_taken")
    assert make_role(cast, "usage.read", name="Release-manager").key == "release-manager-2"
    assert make_role(cast, "usage.read", name="Admin!").key == "admin-2"
    assert make_role(cast, "usage.read", name="織").key == "role"


@pytest.mark.parametrize("who", ["developer", "billing", "viewer", "stranger", "nobody"])
def test_others_make_change_and_delete_no_roles(cast, who) -> None:
    made = make_role(cast, "usage.read")
    api, refused = rights_of(cast)[who], {"stranger": 404, "nobody": 401}.get(who, 403)
    assert api.post(roles_path(cast), {"name": "x", "capabilities": ["usage.read"]}).status_code == refused
    assert api.patch(f"{roles_path(cast)}/{made.id}", {"name": "x"}).status_code == refused
    assert api.delete(f"{roles_path(cast)}/{made.id}").status_code == refused
    assert selectors.role_get(org_id=cast.org.id, role_id=made.id) == made
    assert trail("role.updated") == trail("role.deleted") == []


def test_a_key_reads_roles_and_makes_none(cast) -> None:
    _, token = make_key(cast, scopes=("read", "admin"))
    assert Api(token=token).get(roles_path(cast)).status_code == 200
    answer = Api(token=token).post(roles_path(cast), {"name": "x", "capabilities": ["usage.read"]})
    assert answer.json()["code"] == "keys_not_allowed"


def test_there_is_a_most_and_the_plan_may_say_less(cast, monkeypatch) -> None:
    for number in range(MAX_ROLES):
        make_role(cast, "usage.read", name=f"Role {number}")
    with pytest.raises(Conflict) as full:
        make_role(cast, "usage.read", name="One more")
    assert full.value.code == "too_many_roles"

    class Three:
        def limit(self, org_id: Any, name: str) -> int | None:
            return {"custom_roles": 3}.get(name)

    monkeypatch.setattr(ports.plan_limits, "_impl", Three())
    with pytest.raises(PermissionDenied) as limited:
        make_role(cast, "usage.read", name="One more")
    assert limited.value.code == "plan_limit_reached"
    assert len(selectors.roles_of_org(cast.org.id)) == 5 + MAX_ROLES


# ---------------------------------------------------------------- what a role gives
def test_who_holds_a_role_may_do_what_it_says_and_no_more(cast) -> None:
    made = make_role(cast, "usage.read", "audit.read")
    api = Api(cast.dora)
    assert api.get("/audit").status_code == 403
    answer = Api(cast.erin).patch(f"/orgs/{cast.org.id}/members/{cast.dora.id}", {"role": made.key})
    assert (answer.status_code, answer.json()["role"]) == (200, "release-manager")
    assert api.get("/audit").status_code == 200
    assert api.get(f"/orgs/{cast.org.id}").json()["capability"] == "org.read"
    assert selectors.capabilities_for(org_id=cast.org.id, user_id=cast.dora.id) == {"usage.read", "audit.read"}


def test_a_change_of_a_role_is_felt_at_the_next_request(cast) -> None:
    made = make_role(cast, "usage.read", "audit.read")
    hold(cast, cast.dora, made.key)
    dora, erin = Api(cast.dora), Api(cast.erin)
    assert dora.get("/audit").status_code == 200
    assert erin.patch(f"{roles_path(cast)}/{made.id}", {"capabilities": ["usage.read"]}).status_code == 200
    assert dora.get("/audit").status_code == 403
    [entry] = trail("role.updated")
    assert entry.changes == {"capabilities": [["audit.read", "usage.read"], ["usage.read"]]}
    assert published("role.updated")[-1]["changed"] == ["capabilities"]
    again = erin.patch(f"{roles_path(cast)}/{made.id}", {"capabilities": ["usage.read"]})
    assert (again.status_code, len(trail("role.updated"))) == (200, 1)


def test_another_name_leaves_the_key(cast) -> None:
    made = make_role(cast, "usage.read")
    hold(cast, cast.dora, made.key)
    answer = Api(cast.erin).patch(f"{roles_path(cast)}/{made.id}", {"name": "Shipper"})
    assert (answer.json()["name"], answer.json()["role"], answer.json()["members"]) == (
        "Shipper", "release-manager", 1,
    )  # fmt: skip
    assert selectors.member_info(org_id=cast.org.id, user_id=cast.dora.id).role_name == "Shipper"
    assert selectors.role_label(org_id=cast.org.id, role=made.key) == "Shipper"


def test_what_a_person_may_do_is_read_in_one_query(cast) -> None:
    made = make_role(cast, "usage.read")
    hold(cast, cast.dora, made.key)
    for person in (cast.dora, cast.erin):
        with CaptureQueriesContext(connection) as asked:
            selectors.capabilities_for(org_id=cast.org.id, user_id=person.id)
        assert len(asked) == 1


# ---------------------------------------------------------------- the ceiling
@pytest.fixture
def gina(cast) -> Any:
    """She manages members and roles, and may do little else."""
    person = make_person("gina")
    lead = make_role(cast, "member.read", "member.manage", "role.manage", "usage.read", name="People lead")
    services.add_member(org_id=cast.org.id, user_id=person.id, role=lead.key)
    return person


def test_nobody_makes_a_role_that_holds_what_they_do_not(cast, gina) -> None:
    answer = Api(gina).post(roles_path(cast), {"name": "x", "capabilities": ["usage.read", "audit.read"]})
    assert (answer.status_code, answer.json()["code"]) == (403, "role_ceiling")
    assert Api(gina).post(roles_path(cast), {"name": "x", "capabilities": ["usage.read"]}).status_code == 201


def test_nobody_changes_or_deletes_a_role_above_them_not_even_to_make_it_less(cast, gina) -> None:
    above = make_role(cast, "usage.read", "audit.read", name="Auditor")
    own = next(role for role in selectors.roles_of_org(cast.org.id) if role.name == "People lead")
    api = Api(gina)
    for answer in (
        api.patch(f"{roles_path(cast)}/{above.id}", {"capabilities": ["usage.read"]}),
        api.patch(f"{roles_path(cast)}/{above.id}", {"name": "x"}),
        api.delete(f"{roles_path(cast)}/{above.id}"),
        api.patch(f"{roles_path(cast)}/{own.id}", {"capabilities": [*own.capabilities, "audit.read"]}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "role_ceiling")
    assert selectors.role_get(org_id=cast.org.id, role_id=above.id) == above
    assert trail("role.updated") == trail("role.deleted") == []


def test_nobody_gives_or_takes_a_role_that_holds_what_they_do_not(cast, gina) -> None:
    make_person("hugo")
    looker = make_role(cast, "usage.read", name="Looker")
    api, path = Api(gina), f"/orgs/{cast.org.id}/members"
    for answer in (
        api.post(path, {"email": "hugo@example.com", "role": "viewer"}),
        api.patch(f"{path}/{gina.id}", {"role": "admin"}),
        api.patch(f"{path}/{cast.dora.id}", {"role": looker.key}),
        api.delete(f"{path}/{cast.dora.id}"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "role_ceiling")
    assert selectors.role_of(org_id=cast.org.id, user_id=cast.dora.id) == "viewer"
    assert api.post(path, {"email": "hugo@example.com", "role": looker.key}).status_code == 201
    given = {
        role.key: may_give(org_id=cast.org.id, by_user_id=gina.id, role=role.key)
        for role in selectors.roles_of_org(cast.org.id)
    }
    assert [role for role, may in given.items() if may] == ["looker", "people-lead"]
    assert not may_give(org_id=cast.org.id, by_user_id=cast.alice.id, role="emperor")
    assert not may_give(org_id=cast.org.id, by_user_id=cast.charlie.id, role="looker")


def test_an_owner_outranks_every_role(cast) -> None:
    make_role(cast, *(CAPABILITIES - {"org.delete"}), name="Deputy")
    for role in selectors.roles_of_org(cast.org.id):
        assert may_give(org_id=cast.org.id, by_user_id=cast.alice.id, role=role.key)
    assert not may_give(org_id=cast.org.id, by_user_id=cast.erin.id, role="owner")


# ---------------------------------------------------------------- deleting
def test_a_role_that_nobody_has_is_deleted(cast) -> None:
    made = make_role(cast, "usage.read")
    assert Api(cast.erin).delete(f"{roles_path(cast)}/{made.id}").status_code == 204
    assert capabilities_of_role(org_id=cast.org.id, role=made.key) == frozenset()
    [entry] = trail("role.deleted")
    assert entry.target_label == "Release manager"
    assert published("role.deleted")[0]["role_id"] == str(made.id)
    assert Api(cast.erin).delete(f"{roles_path(cast)}/{made.id}").status_code == 404


def test_a_role_in_use_needs_a_replacement_which_its_holders_get(cast) -> None:
    made = make_role(cast, "usage.read")
    for person in (cast.dora, cast.bob):
        hold(cast, person, made.key)
    erin, path = Api(cast.erin), f"{roles_path(cast)}/{made.id}"
    refused = erin.delete(path)
    assert (refused.status_code, refused.json()["code"], refused.json()["used"]) == (409, "role_in_use", {"members": 2})
    for wrong in (made.key, "emperor", "a\0b"):
        assert erin("DELETE", f"{path}?replacement={wrong.replace(chr(0), '%00')}").status_code == 400
    above = erin("DELETE", f"{path}?replacement=owner")
    assert (above.status_code, above.json()["code"]) == (403, "role_ceiling")
    assert selectors.role_of(org_id=cast.org.id, user_id=cast.dora.id) == made.key
    assert erin("DELETE", f"{path}?replacement=viewer").status_code == 204
    assert {selectors.role_of(org_id=cast.org.id, user_id=each.id) for each in (cast.dora, cast.bob)} == {"viewer"}
    assert [event["previous_role"] for event in published("member.role_changed")[-2:]] == [made.key] * 2
    assert trail("member.role_changed")[-1].changes == {"role": [made.key, "viewer"]}


@pytest.mark.django_db(transaction=True)
def test_a_role_cannot_go_while_somebody_gets_it() -> None:
    owner, person = make_person("owner"), make_person("person")
    org = services.create_organization(owner_id=owner.id, name="Pair")
    services.add_member(org_id=org.id, user_id=person.id, role="viewer")
    made = services.create_role(org_id=org.id, name="Brief", capabilities=["usage.read"])
    results = at_once(
        lambda: services.change_member_role(org_id=org.id, user_id=person.id, role=made.key),
        lambda: services.delete_role(org_id=org.id, role_id=made.id),
    )
    assert [type(result) for result in results] in ([type(None), Conflict], [ValidationFailed, type(None)])
    role = selectors.role_of(org_id=org.id, user_id=person.id)
    assert selectors.role_find(org_id=org.id, role=role) is not None


# ---------------------------------------------------------------- the database
def test_the_database_knows_which_roles_there_are(cast) -> None:
    made = make_role(cast, "usage.read")
    hold(cast, cast.dora, made.key)
    with org_scope(cast.org.id):
        dora = Membership.objects.get(user_id=cast.dora.id)
    refused_by_the_database(lambda: Membership.objects.filter(pk=dora.pk).update(role="emperor"))
    refused_by_the_database(lambda: CustomRole.objects.filter(pk=made.id).delete())
    refused_by_the_database(lambda: CustomRole.objects.filter(pk=made.id).update(key="other"))
    theirs = services.create_role(org_id=cast.elsewhere.id, name="Theirs", capabilities=["usage.read"])
    refused_by_the_database(lambda: Membership.objects.filter(pk=dora.pk).update(role=theirs.key))


@pytest.mark.parametrize("fields", [{"key": "owner"}, {"key": "mine", "capabilities": ["usage.read", "org.delete"]}])
def test_the_database_keeps_what_is_built_in_and_owners_own(cast, fields) -> None:
    row = {"org_id": cast.org.id, "key": "mine", "name": "Mine", "capabilities": ["usage.read"], **fields}
    refused_by_the_database(lambda: CustomRole.objects.create(**row))
