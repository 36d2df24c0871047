"""`/orgs` and `/orgs/{id}`."""

import pytest

from apps.accounts import selectors, services
from apps.accounts.models import Membership, Organization
from apps.core.errors import Conflict, NotFound, ValidationFailed
from apps.core.ids import uuid7
from apps.core.tenancy import TenancyError, org_scope
from apps.projects.selectors import forget_keys, key_authenticate
from tests.cast import Api, at_once, make_key, make_person, published, rights_of, trail


def test_whoever_makes_an_organisation_owns_it(cast) -> None:
    answer = Api(cast.dora).post("/orgs", {"name": "Dora's Dyes", "timezone": "Europe/Oslo"})
    assert answer.status_code == 201
    org = answer.json()
    assert (org["name"], org["slug"], org["timezone"]) == ("Dora's Dyes", "doras-dyes", "Europe/Oslo")
    assert (org["status"], org["raw_retention_days"]) == ("active", 7)
    membership = selectors.membership_get(org_id=Organization.objects.get(pk=org["id"]).pk, user_id=cast.dora.id)
    assert membership is not None
    assert membership.role == "owner"
    assert published("org.created")[-1] == {"org_id": org["id"], "name": "Dora's Dyes", "slug": "doras-dyes"}
    [entry] = trail("org.created", org_id=org["id"])
    assert (entry.actor_id, entry.target_label) == (cast.dora.id, "Dora's Dyes")


def test_people_list_their_own_organisations_only(cast) -> None:
    mine = services.create_organization(owner_id=cast.alice.id, name="Second")
    seen = Api(cast.alice).get("/orgs").json()
    assert [org["id"] for org in seen["data"]] == [str(cast.org.id), str(mine.id)]
    assert seen["next_cursor"] is None
    assert [org["id"] for org in Api(cast.charlie).get("/orgs").json()["data"]] == [str(cast.elsewhere.id)]
    assert Api().get("/orgs").status_code == 401


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": " "}, "/name"),
        ({"name": "x" * 121}, "/name"),
        ({"name": "Fine", "timezone": "Mars/Olympus"}, "/timezone"),
        ({"name": "Fine", "slug": "Not A Slug"}, "/slug"),
        ({"name": "Fine", "slug": "admin"}, "/slug"),
        ({"name": "Fine", "slug": "UPPER"}, "/slug"),
        ({"name": "Fine", "owner": "me"}, "/owner"),
    ],
)
def test_an_organisation_that_is_not_valid_is_not_made(cast, body, pointer) -> None:
    answer = Api(cast.dora).post("/orgs", body)
    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert Organization.objects.count() == 2


def test_names_may_repeat_and_short_names_may_not(cast) -> None:
    other = services.create_organization(owner_id=cast.bob.id, name="Wonder Looms")
    assert other.slug.startswith("wonder-looms-")
    assert services.create_organization(owner_id=cast.bob.id, name="Admin").slug == "admin-org"
    taken = Api(cast.bob).post("/orgs", {"name": "Copy", "slug": "wonder-looms"})
    assert (taken.status_code, taken.json()["code"]) == (409, "slug_taken")


READ = {"owner": 200, "admin": 200, "developer": 200, "billing": 200, "viewer": 200, "stranger": 404, "nobody": 401}
CHANGE = {"owner": 200, "admin": 200, "developer": 403, "billing": 403, "viewer": 403, "stranger": 404, "nobody": 401}
CLOSE = {"admin": 403, "developer": 403, "billing": 403, "viewer": 403, "stranger": 404, "nobody": 401, "owner": 204}


def test_who_may_do_what_with_an_organisation(cast) -> None:
    rights, path = rights_of(cast), f"/orgs/{cast.org.id}"
    assert {role: api.get(path).status_code for role, api in rights.items()} == READ
    changed = {role: api.patch(path, {"name": f"By {role}"}).status_code for role, api in rights.items()}
    assert changed == CHANGE
    assert selectors.org_get(cast.org.id).name == "By admin"
    assert {role: rights[role].delete(path).status_code for role in CLOSE} == CLOSE


def test_a_change_is_recorded_with_what_was_before(cast) -> None:
    body = {"name": "Looms & Co", "timezone": "Asia/Kolkata", "raw_retention_days": 30}
    answer = Api(cast.alice).patch(f"/orgs/{cast.org.id}", body)
    assert {name: answer.json()[name] for name in body} == body
    [entry] = trail("org.updated", org_id=cast.org.id)
    assert entry.changes == {
        "name": ["Wonder Looms", "Looms & Co"],
        "timezone": ["UTC", "Asia/Kolkata"],
        "raw_retention_days": [7, 30],
    }
    assert [sorted(event["changed"]) for event in published("org.updated")] == [sorted(body)]


def test_a_change_that_changes_nothing_is_not_told(cast) -> None:
    assert Api(cast.alice).patch(f"/orgs/{cast.org.id}", {"name": "Wonder Looms"}).status_code == 200
    assert trail("org.updated") == published("org.updated") == []


def test_a_short_name_is_not_taken_from_another(cast) -> None:
    answer = Api(cast.alice).patch(f"/orgs/{cast.org.id}", {"slug": "elsewhere"})
    assert (answer.status_code, answer.json()["code"]) == (409, "slug_taken")
    assert selectors.org_get(cast.org.id).slug == "wonder-looms"


def test_a_deleted_organisation_is_gone_for_everybody_and_its_keys_are_dead(cast) -> None:
    _, token = make_key(cast)
    assert key_authenticate(token) is not None
    Api(cast.alice).delete(f"/orgs/{cast.org.id}")
    forget_keys()
    assert key_authenticate(token) is None
    for person in (cast.alice, cast.dora):
        assert Api(person).get(f"/orgs/{cast.org.id}").status_code == 404
        assert Api(person).get("/orgs").json()["data"] == []
    assert published("org.deleted") == [{"org_id": str(cast.org.id)}]
    with org_scope(cast.org.id):
        assert Membership.objects.count() == 5, "its data stay until they are erased"


def test_a_suspended_organisation_refuses_api_and_keys_until_it_is_resumed(cast) -> None:
    _, token = make_key(cast)
    with pytest.raises(ValidationFailed):
        services.suspend_organization(org_id=cast.org.id, reason=" ")
    services.suspend_organization(org_id=cast.org.id, reason="unpaid")
    forget_keys()
    refused = Api(cast.alice).get(f"/orgs/{cast.org.id}")
    assert (refused.status_code, refused.json()["code"]) == (403, "org_suspended")
    assert key_authenticate(token) is None
    services.resume_organization(org_id=cast.org.id, reason="paid")
    forget_keys()
    assert Api(cast.alice).get(f"/orgs/{cast.org.id}").status_code == 200
    assert key_authenticate(token) is not None
    assert [entry.reason for entry in trail("org.suspended") + trail("org.resumed")] == ["unpaid", "paid"]


def test_pages_of_a_suspended_organisation_are_read_and_every_write_is_refused(cast) -> None:
    services.suspend_organization(org_id=cast.org.id, reason="unpaid")
    client = Api(cast.alice).client
    page = client.get("/o/wonder-looms/projects")
    assert page.status_code == 200
    assert "stays readable" in page.content.decode()
    assert "/ws/live" not in page.content.decode()
    assert client.head("/o/wonder-looms/projects").status_code == 200
    for method in ("post", "put", "patch", "delete"):
        refused = getattr(client, method)("/o/wonder-looms/projects", headers={"accept": "application/json"})
        assert (refused.status_code, refused.json()["code"]) == (403, "org_suspended"), method


def test_suspending_twice_says_so_and_changes_nothing(cast) -> None:
    services.suspend_organization(org_id=cast.org.id, reason="unpaid")
    with pytest.raises(Conflict, match="Wonder Looms: suspended already"):
        services.suspend_organizations(org_ids=[cast.elsewhere.id, cast.org.id], reason="again")
    assert selectors.org_get(cast.elsewhere.id).status == "active", "all of them or none"
    services.resume_organization(org_id=cast.org.id, reason="paid")
    with pytest.raises(Conflict, match="not suspended"):
        services.resume_organization(org_id=cast.org.id, reason="paid")
    with pytest.raises(NotFound):
        services.suspend_organizations(org_ids=[cast.org.id, cast.alice.id], reason="unpaid")
    with pytest.raises(ValidationFailed):
        services.suspend_organization(org_id=cast.org.id, reason="x" * 301)
    assert selectors.org_get(cast.org.id).status == "active"
    assert [entry.reason for entry in trail("org.suspended") + trail("org.resumed")] == ["unpaid", "paid"]


# ---------------------------------------------------------------- which organisation is meant
def test_a_person_with_several_organisations_names_one_or_gets_their_oldest(cast) -> None:
    second = services.create_organization(owner_id=cast.alice.id, name="Second")
    api = Api(cast.alice)
    assert selectors.default_org_id(cast.alice.id) == cast.org.id
    assert api.get(f"/users/{cast.bob.id}").status_code == 200
    assert api.get(f"/users/{cast.bob.id}", X_Org_Id=str(second.id)).status_code == 404
    assert api.get(f"/users/{cast.bob.id}", X_Org_Id=str(cast.elsewhere.id)).status_code == 404
    assert api.get(f"/users/{cast.bob.id}", X_Org_Id="mine").status_code == 400


def test_the_default_organisation_is_chosen_on_the_profile_page(cast) -> None:
    client, form = Api(cast.alice).client, {"name": "Alice", "timezone": ""}
    assert b"default_org_id" not in client.get("/account").content  # there is nothing to choose
    second = services.create_organization(owner_id=cast.alice.id, name="Second")
    assert f'<option value="{second.id}">Second</option>' in client.get("/account").content.decode()
    assert client.post("/account", {**form, "default_org_id": str(second.id)}).status_code == 302
    assert selectors.default_org_id(cast.alice.id) == second.id
    assert client.post("/account", {**form, "default_org_id": str(cast.elsewhere.id)}).status_code == 400
    assert selectors.default_org_id(cast.alice.id) == second.id
    assert trail("user.updated")[-1].changes["default_org_id"] == [None, str(second.id)]


def test_whoever_belongs_nowhere_is_told_so(cast) -> None:
    answer = Api(make_person("newcomer")).get(f"/users/{cast.bob.id}")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_organization")


# ---------------------------------------------------------------- tenancy
def test_memberships_are_not_read_outside_a_scope(cast) -> None:
    with pytest.raises(TenancyError):
        Membership.objects.count()
    with org_scope(cast.elsewhere.id):
        assert set(Membership.objects.values_list("user_id", flat=True)) == {cast.charlie.id}
        with pytest.raises(TenancyError):
            Membership.objects.create(org_id=cast.org.id, user_id=cast.charlie.id, role="owner")


@pytest.mark.django_db(transaction=True)
def test_of_two_organisations_that_take_a_short_name_at_once_one_gets_it() -> None:
    owner = make_person("owner")
    made = [services.create_organization(owner_id=owner.id, name=f"Org {n}") for n in range(2)]
    works = [lambda org=org: services.update_organization(org_id=org.id, changes={"slug": "same"}) for org in made]
    results = at_once(*works)
    assert sum(isinstance(result, Conflict) for result in results) == 1, results
    assert Organization.objects.filter(slug="same").count() == 1


def test_an_organisation_that_does_not_exist_is_not_found(cast) -> None:
    assert Api(cast.alice).get(f"/orgs/{uuid7()}").status_code == 404
