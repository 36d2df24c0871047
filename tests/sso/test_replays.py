"""What Okta's and Entra's provisioning send, in their documented order and to the letter, and what they expect.

Okta: "SCIM 2.0 spec test" (the suite an integration has to pass) and "SCIM protocol"; Entra: "Develop and plan
provisioning for a SCIM endpoint". Their placeholders are filled with ids that our own answers gave.
"""

from typing import Any

import pytest

from apps.accounts.selectors import role_of
from apps.identity.selectors import user_by_email
from apps.sso import services
from tests.cast import Cast
from tests.sso.conftest import Scim

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"


class Replay:
    """Sends a log step by step; each step names what it expects."""

    def __init__(self, scim: Scim) -> None:
        self.scim = scim

    def __call__(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        path, _, query = path.partition("?")
        if query:
            answer = self.scim.client.get(f"/scim/v2{path}?{query}", headers=self.scim.headers)
        else:
            answer = self.scim(method, path, body)
        assert answer.status_code == status, (method, path, answer.status_code, answer.content)
        if answer.status_code == 204:
            return None
        assert answer["Content-Type"].startswith("application/scim+json")
        return answer.json()

    def patch(self, path: str, *operations: dict[str, Any], status: int = 200) -> Any:
        return self("PATCH", path, {"schemas": [PATCH_OP], "Operations": list(operations)}, status=status)


@pytest.fixture
def replay(scim: Scim) -> Replay:
    return Replay(scim)


def member_role(cast: Cast, email: str) -> str | None:
    person = user_by_email(email)
    assert person is not None
    return role_of(org_id=cast.org.id, user_id=person.id)


# ---------------------------------------------------------------- Okta
def test_oktas_spec_test(replay: Replay) -> None:
    known = replay("POST", "/Users", {"schemas": [USER], "userName": "known@example.com"}, status=201)
    first = replay("GET", "/Users?count=1&startIndex=1")
    assert first["schemas"] == [LIST]
    assert first["itemsPerPage"] == 1
    assert first["startIndex"] == 1
    assert isinstance(first["totalResults"], int)
    one = first["Resources"][0]
    assert one["id"]
    assert one["userName"]
    assert isinstance(one["active"], bool)
    assert one["schemas"] == [USER]
    assert replay("GET", f"/Users/{known['id']}")["id"] == known["id"]
    nobody = replay("GET", "/Users?filter=userName%20eq%20%22abcdefgh@atko.com%22")
    assert (nobody["totalResults"], nobody["Resources"]) == (0, [])
    missing = replay("GET", "/Users/010101001010101011001010101011", status=404)
    assert missing["detail"]
    assert missing["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    body = {
        "schemas": [USER],
        "userName": "Runscope300abc@example.com",
        "name": {"givenName": "Runscope", "familyName": "Atko"},
        "emails": [{"primary": True, "value": "Runscope300abc@example.com", "type": "work"}],
        "displayName": "Runscope Atko",
        "locale": "en-US",
        "externalId": "00ujl29u0le5T6Aj10h7",
        "groups": [],
        "password": "1mz050nq",
        "active": True,
    }
    made = replay("POST", "/Users", body, status=201)
    assert made["active"] is True
    assert made["id"]
    assert made["name"] == {"givenName": "Runscope", "familyName": "Atko"}
    assert made["userName"] == "Runscope300abc@example.com"
    assert replay("GET", f"/Users/{made['id']}")["name"]["familyName"] == "Atko"
    again = replay("POST", "/Users", body, status=409)
    assert again["detail"]
    assert replay("GET", "/Users?filter=userName%20eq%20%22RUNSCOPE300ABC@EXAMPLE.COM%22")["totalResults"] == 1
    assert replay("GET", "/Groups")["schemas"] == [LIST]


def test_okta_provisions_updates_deactivates_and_activates(replay: Replay, cast: Cast) -> None:
    found = replay("GET", "/Users?filter=userName%20eq%20%22test.user@example.com%22&startIndex=1&count=100")
    assert found["totalResults"] == 0
    body = {
        "schemas": [USER],
        "userName": "test.user@example.com",
        "name": {"givenName": "Test", "familyName": "User"},
        "emails": [{"primary": True, "value": "test.user@example.com", "type": "work"}],
        "displayName": "Test User",
        "locale": "en-US",
        "externalId": "00ujl29u0le5T6Aj10h7",
        "groups": [],
        "password": "1mz050nq",
        "active": True,
    }
    made = replay("POST", "/Users", body, status=201)
    assert member_role(cast, "test.user@example.com") == "developer"
    replay("GET", f"/Users/{made['id']}")
    changed = replay(
        "PUT",
        f"/Users/{made['id']}",
        {**body, "id": made["id"], "name": {"givenName": "Another", "middleName": "Excited", "familyName": "User"}},
    )
    assert changed["name"]["middleName"] == "Excited"
    off = replay.patch(f"/Users/{made['id']}", {"op": "replace", "value": {"active": False}})
    assert off["active"] is False
    assert member_role(cast, "test.user@example.com") is None
    on = replay.patch(f"/Users/{made['id']}", {"op": "replace", "value": {"active": True}})
    assert on["active"] is True
    assert member_role(cast, "test.user@example.com") == "developer"


def test_okta_pushes_a_group(replay: Replay, cast: Cast) -> None:
    services.add_mapping(org_id=cast.org.id, group="Test SCIMv2", role="admin")
    one = replay("POST", "/Users", {"schemas": [USER], "userName": "one@example.com"}, status=201)
    two = replay("POST", "/Users", {"schemas": [USER], "userName": "two@example.com"}, status=201)
    assert replay("GET", "/Groups?filter=displayName%20eq%20%22Test%20SCIMv2%22")["totalResults"] == 0
    group = replay("POST", "/Groups", {"schemas": [GROUP], "displayName": "Test SCIMv2", "members": []}, status=201)
    path = f"/Groups/{group['id']}"
    added = replay.patch(
        path,
        {"op": "add", "path": "members", "value": [{"value": one["id"], "display": "one@example.com"}]},
        {"op": "add", "path": "members", "value": [{"value": two["id"], "display": "two@example.com"}]},
    )
    assert {member["value"] for member in added["members"]} == {one["id"], two["id"]}
    assert member_role(cast, "two@example.com") == "admin"
    gone = replay.patch(path, {"op": "remove", "path": f'members[value eq "{one["id"]}"]'})
    assert [member["value"] for member in gone["members"]] == [two["id"]]
    assert member_role(cast, "one@example.com") == "developer"
    # Okta sends the id along when it renames.
    named = replay.patch(path, {"op": "replace", "value": {"id": group["id"], "displayName": "Test SCIMv2 renamed"}})
    assert named["displayName"] == "Test SCIMv2 renamed"
    assert member_role(cast, "two@example.com") == "developer"
    replaced = replay.patch(path, {"op": "replace", "path": "members", "value": [{"value": one["id"]}]})
    assert [member["value"] for member in replaced["members"]] == [one["id"]]
    replay("DELETE", path, status=204)


# ---------------------------------------------------------------- Entra
def entra_user(**more: Any) -> dict[str, Any]:
    return {
        "schemas": [USER, ENTERPRISE],
        "externalId": "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef",
        "userName": "Test_User_ab6490ee@example.com",
        "active": True,
        "emails": [{"primary": True, "type": "work", "value": "Test_User_fd0ea19b@example.com"}],
        "meta": {"resourceType": "User"},
        "name": {"formatted": "givenName familyName", "familyName": "familyName", "givenName": "givenName"},
        "roles": [],
        **more,
    }


def test_entras_test_of_the_connection(replay: Replay) -> None:
    found = replay("GET", "/Users?filter=userName+eq+%22ad1f7c31-8f5e-4e0c-b8b8-6d1b5f0a7f52%22")
    assert found["schemas"] == [LIST]
    assert found["totalResults"] == 0
    assert found["Resources"] == []


def test_entra_provisions_updates_and_disables(replay: Replay, cast: Cast) -> None:
    made = replay("POST", "/Users", entra_user(), status=201)
    assert made["meta"]["resourceType"] == "User"
    email = "test_user_fd0ea19b@example.com"
    assert member_role(cast, email) == "developer"
    path = f"/Users/{made['id']}"
    replay("GET", path)
    wanted = "filter=userName%20eq%20%22Test_User_ab6490ee@example.com%22"
    assert replay("GET", f"/Users?{wanted}")["totalResults"] == 1
    assert replay("GET", "/Users?filter=userName%20eq%20%22non-existent%20user%22")["totalResults"] == 0
    several = replay.patch(
        path,
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "updatedEmail@example.com"},
        {"op": "Replace", "path": "name.familyName", "value": "updatedFamilyName"},
    )
    assert several["emails"][0]["value"] == "updatedEmail@example.com"
    assert several["name"]["familyName"] == "updatedFamilyName"
    single = replay.patch(path, {"op": "Replace", "path": "userName", "value": "5b50642d-79fc-4410@example.com"})
    assert single["userName"] == "5b50642d-79fc-4410@example.com"
    more = replay.patch(
        path,
        {"op": "Add", "path": f"{ENTERPRISE}:department", "value": "Weaving"},
        {"op": "Add", "path": f"{ENTERPRISE}:manager", "value": "2819c223-7f76-453a-919d-413861904646"},
        {"op": "Add", "path": 'phoneNumbers[type eq "mobile"].value', "value": "555-0100"},
        {"op": "Add", "path": 'addresses[type eq "work"].locality', "value": "Lyon"},
    )
    assert more[ENTERPRISE]["department"] == "Weaving"
    assert more["phoneNumbers"] == [{"type": "mobile", "value": "555-0100"}]
    assert more["addresses"] == [{"type": "work", "locality": "Lyon"}]
    # Paths as keys of a value, as Entra sends them where it leaves the path out.
    keyed = replay.patch(
        path,
        {"op": "Replace", "value": {"displayName": "Ada", "name.givenName": "Ada", f"{ENTERPRISE}:department": "X"}},
    )
    assert (keyed["displayName"], keyed["name"]["givenName"], keyed[ENTERPRISE]["department"]) == ("Ada", "Ada", "X")
    for value, active in (("False", False), ("True", True), (False, False), (True, True)):
        answer = replay.patch(path, {"op": "Replace", "path": "active", "value": value})
        assert answer["active"] is active
        assert (member_role(cast, email) is not None) is active
    replay("DELETE", path, status=204)
    replay("GET", path, status=404)


def test_entra_pushes_a_group(replay: Replay, cast: Cast) -> None:
    services.add_mapping(org_id=cast.org.id, group="displayName", role="admin")
    made = replay("POST", "/Users", entra_user(), status=201)
    email = "test_user_fd0ea19b@example.com"
    body = {
        "schemas": [GROUP, "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
        "externalId": "8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159",
        "displayName": "displayName",
        "meta": {"resourceType": "Group"},
    }
    group = replay("POST", "/Groups", body, status=201)
    path = f"/Groups/{group['id']}"
    assert "members" not in replay("GET", f"{path}?excludedAttributes=members")
    found = replay("GET", "/Groups?excludedAttributes=members&filter=displayName+eq+%22displayName%22")
    assert found["totalResults"] == 1
    reference = [{"$ref": None, "value": made["id"]}]
    replay.patch(path, {"op": "Add", "path": "members", "value": reference})
    assert member_role(cast, email) == "admin"
    inside = f"filter=id+eq+%22{group['id']}%22+and+members+eq+%22{made['id']}%22&attributes=id"
    assert replay("GET", f"/Groups?{inside}")["totalResults"] == 1
    replay.patch(path, {"op": "Add", "path": "members", "value": reference})
    replay.patch(path, {"op": "Remove", "path": "members", "value": reference})
    assert member_role(cast, email) == "developer"
    assert replay("GET", f"/Groups?{inside}")["totalResults"] == 0
    renamed = replay.patch(
        path, {"op": "Replace", "path": "displayName", "value": "1879db59-3bdf-4490-ad68-ab880a269474"}
    )
    assert renamed["displayName"].startswith("1879db59")
    replay("DELETE", path, status=204)
    replay("GET", path, status=404)


@pytest.mark.parametrize(
    ("operation", "scim_type"),
    [
        ({"op": "increment", "path": "title"}, "invalidSyntax"),
        ({"op": "remove"}, "noTarget"),
        ({"op": "replace", "path": "id", "value": "x"}, "mutability"),
        ({"op": "replace", "path": "emails[", "value": "x"}, "invalidPath"),
        ({"op": "replace", "path": 'emails[type sw "w"].value', "value": "x"}, "noTarget"),
        ({"op": "replace", "path": "active", "value": "perhaps"}, "invalidValue"),
        ({"op": "replace", "path": "userName", "value": ""}, "invalidValue"),
        ({"op": "replace", "value": "x"}, "invalidValue"),
        ({"op": "add", "path": "emails", "value": "x"}, "invalidValue"),
    ],
    ids=str,
)
def test_a_patch_that_makes_no_sense_changes_nothing(operation: dict[str, Any], scim_type: str, replay: Replay) -> None:
    made = replay("POST", "/Users", {"schemas": [USER], "userName": "known@example.com"}, status=201)
    title = {"op": "replace", "path": "title", "value": "Countess"}
    answer = replay.patch(f"/Users/{made['id']}", title, operation, status=400)
    assert answer["scimType"] == scim_type
    assert "title" not in replay("GET", f"/Users/{made['id']}")
