"""SCIM 2.0: what a provider's provisioning may do, and what comes of it here."""

from typing import Any
from uuid import uuid4

import pytest

from apps.accounts import services as accounts
from apps.accounts.selectors import role_of
from apps.core.clock import now
from apps.identity import services as identity
from apps.identity.models import User
from apps.identity.selectors import user_by_email
from apps.projects.selectors import key_authenticate
from apps.sso import services
from apps.teams.selectors import is_team_member
from tests.cast import PASSWORD, Api, Cast, make_key, published, trail
from tests.sso.conftest import Scim

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


def ada(**more: Any) -> dict[str, Any]:
    return {
        "schemas": [USER, ENTERPRISE],
        "userName": "ada@example.com",
        "externalId": "00u1",
        "name": {"givenName": "Ada", "familyName": "Lovelace"},
        "emails": [{"value": "ada@example.com", "type": "work", "primary": True}],
        "active": True,
        ENTERPRISE: {"department": "Weaving"},
        **more,
    }


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"schemas": [PATCH], "Operations": list(operations)}


def refused(answer: Any, status: int, scim_type: str | None = None) -> None:
    assert answer.status_code == status, (answer.status_code, answer.content)
    assert answer["Content-Type"].startswith("application/scim+json")
    body = answer.json()
    assert body["schemas"] == [ERROR]
    assert body["status"] == str(status)
    assert body.get("scimType") == scim_type


@pytest.fixture
def made(scim: Scim) -> dict[str, Any]:
    answer = scim("POST", "/Users", ada())
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


# ---------------------------------------------------------------- people
def test_a_person_is_made_a_member_and_has_no_password(scim: Scim, made: dict[str, Any], cast: Cast) -> None:
    person = user_by_email("ada@example.com")
    assert person is not None
    assert person.name == "Ada Lovelace"
    assert role_of(org_id=cast.org.id, user_id=person.id) == "developer"
    assert not User.objects.get(pk=person.id).has_usable_password()
    assert made["userName"] == "ada@example.com"
    assert made[ENTERPRISE] == {"department": "Weaving"}
    assert made["meta"]["resourceType"] == "User"
    assert made["meta"]["location"].endswith(f"/scim/v2/Users/{made['id']}")
    assert trail("scim.user_created")[-1].actor_label == "Provisioning: Okta"
    assert published("scim.user_created")[-1]["user_id"] == str(person.id)


def test_the_same_user_name_is_taken_whatever_its_case(scim: Scim, made: dict[str, Any]) -> None:
    refused(scim("POST", "/Users", ada(userName="ADA@example.com")), 409, "uniqueness")
    refused(scim("POST", "/Users", ada(userName="other")), 409, "uniqueness")
    assert User.objects.filter(email__startswith="ada").count() == 1


def test_nobody_of_another_domain_is_made(scim: Scim) -> None:
    """Else an organisation could make itself an account of anybody's address."""
    answer = scim("POST", "/Users", ada(userName="x", emails=[{"value": "ceo@elsewhere.example", "primary": True}]))
    refused(answer, 400, "invalidValue")
    assert user_by_email("ceo@elsewhere.example") is None


def test_who_has_an_account_joins_and_keeps_it(scim: Scim, cast: Cast) -> None:
    outside = identity.register(email="eve@freelance.example", password=PASSWORD, name="Eve", email_verified=True)
    answer = scim("POST", "/Users", {"schemas": [USER], "userName": "eve@freelance.example", "displayName": "Mallory"})
    assert answer.status_code == 201
    assert role_of(org_id=cast.org.id, user_id=outside.id) == "developer"
    user = User.objects.get(pk=outside.id)
    assert user.check_password(PASSWORD)
    assert user.name == "Eve"


def test_an_account_whose_address_nobody_proved_does_not_join_from_outside(scim: Scim, cast: Cast) -> None:
    squatter = identity.register(email="eve@freelance.example", password=PASSWORD)
    refused(scim("POST", "/Users", {"userName": "eve@freelance.example"}), 400, "invalidValue")
    assert role_of(org_id=cast.org.id, user_id=squatter.id) is None


def test_an_account_that_waits_for_an_address_of_ours_is_taken_from_whoever_made_it(scim: Scim, cast: Cast) -> None:
    identity.register(email="ada@example.com", password=PASSWORD)
    pair = identity.login(email="ada@example.com", password=PASSWORD)
    assert scim("POST", "/Users", ada()).status_code == 201
    user = User.objects.get(email="ada@example.com")
    assert not user.has_usable_password()
    assert Api(token=pair.access_token).get("/auth/me").status_code == 401


def test_deactivating_ends_membership_sign_ins_and_keys_and_activating_brings_the_role_back(
    scim: Scim, cast: Cast
) -> None:
    bob = scim("POST", "/Users", ada(userName="bob@example.com", emails=[])).json()
    accounts.change_member_role(org_id=cast.org.id, user_id=cast.bob.id, role="admin")
    _, token = make_key(cast, owner_id=cast.bob.id)
    _, machine = make_key(cast)
    pair = identity.login(email="bob@example.com", password=PASSWORD)
    web = Api(cast.bob)
    assert web.get(f"/orgs/{cast.org.id}").status_code == 200

    answer = scim("PATCH", f"/Users/{bob['id']}", patch({"op": "replace", "value": {"active": False}}))
    assert answer.status_code == 200
    assert answer.json()["active"] is False
    assert role_of(org_id=cast.org.id, user_id=cast.bob.id) is None
    assert key_authenticate(token) is None
    assert key_authenticate(machine) is not None
    assert Api(token=pair.access_token).get("/auth/me").status_code == 401
    assert web.get(f"/orgs/{cast.org.id}").status_code in {401, 403, 404}
    assert trail("scim.user_deactivated")[-1].changes["last_role"] == [None, "admin"]

    scim("PATCH", f"/Users/{bob['id']}", patch({"op": "replace", "value": {"active": True}}))
    assert role_of(org_id=cast.org.id, user_id=cast.bob.id) == "admin"
    assert key_authenticate(token) is None


def test_sign_ins_of_somebody_of_another_domain_go_on(scim: Scim, cast: Cast) -> None:
    identity.register(email="eve@freelance.example", password=PASSWORD, email_verified=True)
    pair = identity.login(email="eve@freelance.example", password=PASSWORD)
    eve = scim("POST", "/Users", {"userName": "eve@freelance.example"}).json()
    scim("PATCH", f"/Users/{eve['id']}", patch({"op": "replace", "value": {"active": False}}))
    assert Api(token=pair.access_token).get("/auth/me").status_code == 200
    assert Api(token=pair.access_token).get(f"/orgs/{cast.org.id}").status_code == 404


def test_the_last_owner_cannot_be_deactivated(scim: Scim, cast: Cast) -> None:
    alice = scim("POST", "/Users", ada(userName="alice@example.com", emails=[])).json()
    refused(scim("PATCH", f"/Users/{alice['id']}", patch({"op": "replace", "value": {"active": False}})), 409)
    assert role_of(org_id=cast.org.id, user_id=cast.alice.id) == "owner"
    assert scim("GET", f"/Users/{alice['id']}").json()["active"] is True


def test_an_owner_who_was_deactivated_comes_back_as_admin(scim: Scim, cast: Cast) -> None:
    accounts.change_member_role(org_id=cast.org.id, user_id=cast.erin.id, role="owner")
    erin = scim("POST", "/Users", ada(userName="erin@example.com", emails=[])).json()
    for active in (False, True):
        scim("PATCH", f"/Users/{erin['id']}", patch({"op": "replace", "value": {"active": active}}))
    assert role_of(org_id=cast.org.id, user_id=cast.erin.id) == "admin"


def test_whoever_was_deactivated_does_not_come_back_by_signing_in(
    scim: Scim, made: dict[str, Any], cast: Cast, idp: Any
) -> None:
    from apps.sso.contracts import Arrival
    from apps.sso.errors import SsoRefused
    from apps.sso.selectors import connection_find
    from tests.sso.conftest import make_saml

    scim("PATCH", f"/Users/{made['id']}", patch({"op": "replace", "value": {"active": False}}))
    connection = connection_find(make_saml(cast, idp).id)
    assert connection is not None
    with pytest.raises(SsoRefused):
        services.accept_arrival(connection=connection, arrival=Arrival("00u1", "ada@example.com"))
    person = user_by_email("ada@example.com")
    assert person is not None
    assert role_of(org_id=cast.org.id, user_id=person.id) is None


def test_deleting_ends_the_membership_and_forgets(scim: Scim, made: dict[str, Any], cast: Cast) -> None:
    person = user_by_email("ada@example.com")
    assert person is not None
    assert scim("DELETE", f"/Users/{made['id']}").status_code == 204
    assert role_of(org_id=cast.org.id, user_id=person.id) is None
    refused(scim("GET", f"/Users/{made['id']}"), 404)
    refused(scim("DELETE", f"/Users/{made['id']}"), 404)
    assert user_by_email("ada@example.com") is not None


def test_put_replaces_what_is_known(scim: Scim, made: dict[str, Any]) -> None:
    body = ada(title="Countess", name={"givenName": "Ada", "familyName": "King"})
    del body[ENTERPRISE]
    answer = scim("PUT", f"/Users/{made['id']}", body).json()
    assert answer["title"] == "Countess"
    assert ENTERPRISE not in answer
    person = user_by_email("ada@example.com")
    assert person is not None
    assert person.name == "Ada King"


def test_a_password_is_neither_kept_nor_told(scim: Scim) -> None:
    answer = scim("POST", "/Users", ada(password="hunter2hunter2"))
    assert b"hunter2" not in answer.content
    assert not User.objects.get(email="ada@example.com").has_usable_password()


# ---------------------------------------------------------------- lists
@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ('userName eq "ADA@example.com"', ["ada"]),
        ('externalId eq "00u1"', ["ada"]),
        ('externalId eq "00U1"', []),
        ('emails[type eq "work"].value eq "ada@example.com"', ["ada"]),
        ('emails[type eq "work" and value eq "ada@example.com"]', ["ada"]),
        ('emails[type eq "home"].value eq "ada@example.com"', []),
        ('emails.value co "example.com"', ["ada", "grace"]),
        ('emails eq "grace@example.com"', ["grace"]),
        ("active eq true", ["ada"]),
        ('active eq "False"', ["grace"]),
        ('name.familyName sw "love"', ["ada"]),
        ('name.familyName ew "PER" or userName sw "ada"', ["ada", "grace"]),
        ('not (userName co "ada")', ["grace"]),
        ('userName sw "grace" or userName sw "ada" and active eq false', ["grace"]),
        ('(userName sw "grace" or userName sw "ada") and active eq false', ["grace"]),
        ("title pr", ["grace"]),
        ("not (title pr)", ["ada"]),
        ('title ne "Admiral"', ["ada"]),
        (f'{ENTERPRISE}:department eq "weaving"', ["ada", "grace"]),
        (f'{USER}:userName eq "ada@example.com"', ["ada"]),
        ('meta.lastModified gt "2011-05-13T04:42:34Z"', ["ada", "grace"]),
        ('meta.created lt "2011-05-13T04:42:34Z"', []),
        ('id eq "nobody"', []),
        ('userName eq "o\'; DROP TABLE sso_scimuser; --"', []),
        ('userName eq "100%"', []),
    ],
)
def test_filters_find(wanted: str, found: list[str], scim: Scim, made: dict[str, Any]) -> None:
    grace = ada(userName="grace@example.com", externalId="00u2", title="Admiral", active=False)
    grace |= {"name": {"givenName": "Grace", "familyName": "Hopper"}}
    grace |= {"emails": [{"value": "grace@example.com", "type": "work"}]}
    assert scim("POST", "/Users", grace).status_code == 201
    answer = scim("GET", "/Users", {"filter": wanted})
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert [one["userName"].split("@")[0] for one in body["Resources"]] == found
    assert body["totalResults"] == len(found)


@pytest.mark.parametrize(
    "wanted",
    [
        "userName", "userName eq", 'userName regex "a"', 'userName eq "a', 'shoeSize eq "40"', "active gt true",
        'emails[type eq "work"', "((((((((((((((((((((((a pr))))))))))))))))))))))", 'emails[shoe eq "x"]',
        'meta.created gt "yesterday"', 'id sw "0"', "userName eq nonsense",
    ],
)  # fmt: skip
def test_a_filter_that_cannot_be_answered_is_refused(wanted: str, scim: Scim) -> None:
    refused(scim("GET", "/Users", {"filter": wanted}), 400, "invalidFilter")


def test_lists_come_in_pages(scim: Scim, made: dict[str, Any]) -> None:
    for number in range(4):
        scim("POST", "/Users", {"userName": f"p{number}@example.com"})
    page = scim("GET", "/Users", {"startIndex": 2, "count": 3}).json()
    assert (page["totalResults"], page["startIndex"], page["itemsPerPage"]) == (5, 2, 3)
    assert [one["userName"][:2] for one in page["Resources"]] == ["p0", "p1", "p2"]
    assert scim("GET", "/Users", {"count": 0}).json()["Resources"] == []
    assert scim("GET", "/Users", {"startIndex": -4, "count": 1}).json()["startIndex"] == 1
    refused(scim("GET", "/Users", {"count": "many"}), 400, "invalidValue")


def test_only_the_attributes_that_are_asked_for_come(scim: Scim, made: dict[str, Any]) -> None:
    few = scim("GET", f"/Users/{made['id']}", {"attributes": "userName,name.familyName"}).json()
    assert few == {
        "schemas": [USER, ENTERPRISE], "id": made["id"], "userName": "ada@example.com",
        "name": {"familyName": "Lovelace"},
    }  # fmt: skip
    others = scim("GET", f"/Users/{made['id']}", {"excludedAttributes": "emails,name.familyName"}).json()
    assert "emails" not in others
    assert others["name"] == {"givenName": "Ada"}


# ---------------------------------------------------------------- versions
def test_a_write_over_an_old_version_is_refused(scim: Scim, made: dict[str, Any]) -> None:
    version = made["meta"]["version"]
    change = patch({"op": "replace", "path": "title", "value": "Countess"})
    changed = scim("PATCH", f"/Users/{made['id']}", change, If_Match=version)
    assert changed.status_code == 200
    assert changed["ETag"] == changed.json()["meta"]["version"] != version
    late = patch({"op": "replace", "path": "title", "value": "Late"})
    refused(scim("PATCH", f"/Users/{made['id']}", late, If_Match=version), 412)
    assert scim("GET", f"/Users/{made['id']}").json()["title"] == "Countess"
    assert scim("GET", f"/Users/{made['id']}", If_None_Match=changed["ETag"]).status_code == 304


# ---------------------------------------------------------------- groups
def test_a_group_gives_what_its_mapping_says_and_takes_it_again(scim: Scim, made: dict[str, Any], cast: Cast) -> None:
    services.add_mapping(org_id=cast.org.id, group="Weavers", role="admin", team_id=cast.team.id)
    person = user_by_email("ada@example.com")
    assert person is not None
    group = scim("POST", "/Groups", {"schemas": [GROUP], "displayName": "Weavers"}).json()
    assert group.get("members", []) == []
    member = {"op": "add", "path": "members", "value": [{"value": made["id"]}]}
    assert scim("PATCH", f"/Groups/{group['id']}", patch(member)).status_code == 200
    assert role_of(org_id=cast.org.id, user_id=person.id) == "admin"
    assert is_team_member(org_id=cast.org.id, team_id=cast.team.id, user_id=person.id)
    assert scim("GET", f"/Users/{made['id']}").json()["groups"][0]["display"] == "Weavers"

    gone = {"op": "remove", "path": f'members[value eq "{made["id"]}"]'}
    scim("PATCH", f"/Groups/{group['id']}", patch(gone))
    assert role_of(org_id=cast.org.id, user_id=person.id) == "developer"
    assert not is_team_member(org_id=cast.org.id, team_id=cast.team.id, user_id=person.id)


def test_deleting_or_renaming_a_group_takes_what_it_gave(scim: Scim, made: dict[str, Any], cast: Cast) -> None:
    services.add_mapping(org_id=cast.org.id, group="Weavers", role="admin")
    person = user_by_email("ada@example.com")
    assert person is not None
    body = {"displayName": "Weavers", "members": [{"value": made["id"]}]}
    group = scim("POST", "/Groups", body).json()
    assert role_of(org_id=cast.org.id, user_id=person.id) == "admin"
    scim("PATCH", f"/Groups/{group['id']}", patch({"op": "replace", "value": {"displayName": "Spinners"}}))
    assert role_of(org_id=cast.org.id, user_id=person.id) == "developer"
    scim("PATCH", f"/Groups/{group['id']}", patch({"op": "replace", "value": {"displayName": "Weavers"}}))
    assert role_of(org_id=cast.org.id, user_id=person.id) == "admin"
    assert scim("DELETE", f"/Groups/{group['id']}").status_code == 204
    assert role_of(org_id=cast.org.id, user_id=person.id) == "developer"


def test_members_are_users_of_this_organisation(scim: Scim, made: dict[str, Any]) -> None:
    for strange in (str(uuid4()), "nobody"):
        refused(scim("POST", "/Groups", {"displayName": "X", "members": [{"value": strange}]}), 400, "invalidValue")
    assert scim("GET", "/Groups").json()["totalResults"] == 0


def test_a_group_of_the_same_name_is_refused(scim: Scim) -> None:
    scim("POST", "/Groups", {"displayName": "Weavers"})
    refused(scim("POST", "/Groups", {"displayName": "Weavers"}), 409, "uniqueness")


def test_groups_are_found_by_name_and_by_member(scim: Scim, made: dict[str, Any]) -> None:
    body = {"displayName": "Weavers", "members": [{"value": made["id"]}]}
    scim("POST", "/Groups", body)
    scim("POST", "/Groups", {"displayName": "Spinners"})
    for wanted in (f'members.value eq "{made["id"]}"', f'members[value eq "{made["id"]}"]', 'displayName eq "weavers"'):
        found = scim("GET", "/Groups", {"filter": wanted, "excludedAttributes": "members"}).json()
        assert [one["displayName"] for one in found["Resources"]] == ["Weavers"]
        assert "members" not in found["Resources"][0]


# ---------------------------------------------------------------- tokens
def test_a_token_is_of_one_organisation(scim: Scim, made: dict[str, Any], cast: Cast) -> None:
    _, theirs = services.create_scim_token(org_id=cast.elsewhere.id, name="Theirs")
    other = Scim(theirs)
    assert other("GET", "/Users").json()["totalResults"] == 0
    refused(other("GET", f"/Users/{made['id']}"), 404)
    refused(other("DELETE", f"/Users/{made['id']}"), 404)
    assert scim("GET", f"/Users/{made['id']}").status_code == 200


def test_nothing_else_opens_scim(cast: Cast) -> None:
    _, key = make_key(cast, scopes=("admin", "read"))
    pair = identity.login(email="alice@example.com", password=PASSWORD)
    for secret in ("", "nonsense", "mwscim_unknown", key, pair.access_token):
        answer = Scim(secret)("GET", "/Users")
        refused(answer, 401)
        assert "Bearer" in answer["WWW-Authenticate"]
    assert Api(cast.alice).get("/scim/v2/Users").status_code == 401


def test_a_revoked_and_an_expired_token_are_refused(cast: Cast) -> None:
    token, secret = services.create_scim_token(org_id=cast.org.id, name="Okta")
    assert Scim(secret)("GET", "/Users").status_code == 200
    services.revoke_scim_token(org_id=cast.org.id, token_id=token.id)
    refused(Scim(secret)("GET", "/Users"), 401)
    from datetime import timedelta

    from apps.core.tenancy import org_scope
    from apps.sso.models import ScimToken

    late, secret = services.create_scim_token(org_id=cast.org.id, name="Late", expires_at=now() + timedelta(minutes=1))
    with org_scope(cast.org.id):
        ScimToken.objects.filter(pk=late.id).update(expires_at=now() - timedelta(seconds=1))
    refused(Scim(secret)("GET", "/Users"), 401)


def test_a_token_is_kept_as_a_digest(cast: Cast) -> None:
    from django.db import connection

    _, secret = services.create_scim_token(org_id=cast.org.id, name="Okta")
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(t)::text FROM sso_scimtoken t")
        assert secret not in cursor.fetchone()[0]
    assert secret not in str(trail("scim.token_created")[-1].changes)


# ---------------------------------------------------------------- the service itself
def test_the_service_says_what_it_offers(scim: Scim) -> None:
    config = scim("GET", "/ServiceProviderConfig").json()
    assert config["patch"]["supported"] is True
    assert config["bulk"]["supported"] is False
    assert [one["id"] for one in scim("GET", "/ResourceTypes").json()["Resources"]] == ["User", "Group"]
    assert scim("GET", "/ResourceTypes/User").json()["endpoint"] == "/Users"
    assert scim("GET", f"/Schemas/{GROUP}").json()["name"] == "Group"
    refused(scim("GET", "/Schemas/unknown"), 404)


def test_what_is_not_offered_is_said_in_scims_words(scim: Scim) -> None:
    refused(scim("GET", "/Me"), 501)
    refused(scim("POST", "/Bulk", {}), 501)
    refused(scim("GET", "/Chairs"), 404)
    refused(scim("POST", f"/Users/{uuid4()}", {}), 405)
    refused(scim("POST", "/Users", [1]), 400, "invalidSyntax")


def test_what_provisioning_asks_is_in_its_log_without_bodies(scim: Scim, made: dict[str, Any], cast: Cast) -> None:
    from apps.sso.selectors import request_list

    scim("POST", "/Users", ada())
    rows = list(request_list(cast.org.id))
    assert [(row.method, row.status, row.subject) for row in rows] == [
        ("POST", 409, "ada@example.com"), ("POST", 201, "ada@example.com"),
    ]  # fmt: skip
    assert "taken" in rows[0].detail
