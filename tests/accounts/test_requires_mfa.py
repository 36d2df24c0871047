"""An organisation that requires a second factor: who enters, who is led to one, and who may switch it on."""

import re
from datetime import timedelta

import pytest
from django.test import Client

from apps.accounts import factors, services
from apps.core.contracts import Actor
from apps.identity import mfa, selectors
from apps.identity.models import User
from tests.cast import Api, Cast, make_key, published, sign_in, trail
from tests.identity.test_webauthn import enrol as enrol_key


def api_of(person, *shown: str, age: timedelta = timedelta(0)) -> Api:
    api = Api()
    sign_in(api.client, User.objects.get(pk=person.id), shown=shown or ("password",), age=age)
    return api


@pytest.fixture
def strict(cast: Cast) -> Cast:
    services.update_organization(org_id=cast.org.id, changes={"requires_mfa": True})
    return cast


# ---------------------------------------------------------------- entering
@pytest.mark.parametrize("shown", [("password", "mfa"), ("passkey",), ("oauth:google", "mfa")])
def test_a_sign_in_with_a_second_factor_enters(strict, shown) -> None:
    api = api_of(strict.bob, *shown)
    assert api.get(f"/orgs/{strict.org.id}").status_code == 200
    assert api.client.get(f"/o/{strict.org.slug}/").status_code == 200


@pytest.mark.parametrize(
    "shown", [("password",), ("oauth:google",), ("oidc", "sso:01a209e4-215f-7371-be17-514d2bfae41c")]
)
def test_one_without_is_refused_on_every_entrance(strict, shown) -> None:
    api = api_of(strict.bob, *shown)
    for path in (f"/orgs/{strict.org.id}", f"/projects/{strict.project.id}", "/analytics/usage"):
        answer = api.get(path)
        assert (answer.status_code, answer.json()["code"]) == (403, "mfa_required_by_org"), path
    page = api.client.get(f"/o/{strict.org.slug}/settings", headers={"accept": "text/html"})
    assert page.status_code == 403
    assert f"/account/security/app?next=/o/{strict.org.slug}/settings" in page.content.decode()
    api.client.post(f"/o/{strict.org.slug}/settings", {"name": "Taken over", "timezone": "UTC"})
    assert (
        Api(token=make_key(strict, scopes=("read",))[1]).get(f"/orgs/{strict.org.id}").json()["name"] == "Wonder Looms"
    )


def test_its_own_single_sign_on_is_enough(strict) -> None:
    assert api_of(strict.bob, "oidc", f"sso:{strict.org.id}").get(f"/orgs/{strict.org.id}").status_code == 200


def test_other_organisations_are_entered_as_before(strict) -> None:
    assert api_of(strict.charlie).get(f"/orgs/{strict.elsewhere.id}").status_code == 200


def test_a_stranger_is_not_told_what_it_requires(strict) -> None:
    assert api_of(strict.charlie).get(f"/orgs/{strict.org.id}").status_code == 404
    assert api_of(strict.charlie).client.get(f"/o/{strict.org.slug}/").status_code == 404


def test_keys_go_on_working(strict) -> None:
    _, token = make_key(strict, scopes=("read",))
    assert Api(token=token).get(f"/orgs/{strict.org.id}").status_code == 200


def test_staff_in_a_members_place_showed_a_factor_of_their_own(strict) -> None:
    stay = Actor(kind="user", id=strict.bob.id, impersonator_id=strict.alice.id)
    assert factors.factor_refusal(stay, org_id=strict.org.id, requires_mfa=True) is None


# ---------------------------------------------------------------- the way to one, and back
def test_who_has_no_factor_is_led_to_one_and_back(strict) -> None:
    client = api_of(strict.bob).client
    from tests.identity.test_second_factor import Phone

    page = client.get(f"/account/security/app?next=/o/{strict.org.slug}/")
    phone = Phone(page.context["enrolment"].secret)
    done = client.post(
        "/account/security/app",
        {"enrolment_token": page.context["token"], "code": phone.code(), "next": f"/o/{strict.org.slug}/"},
    )
    assert f'href="/o/{strict.org.slug}/"' in done.content.decode()
    assert client.get(f"/o/{strict.org.slug}/").status_code == 200, "enrolling it was showing it"


def test_who_has_one_and_did_not_show_it_shows_it(strict) -> None:
    bob = User.objects.get(pk=strict.bob.id)
    enrol_key(bob, "security_key")
    codes = mfa.new_recovery_codes(user=bob)
    client = api_of(strict.bob).client
    page = client.get(f"/o/{strict.org.slug}/", headers={"accept": "text/html"}).content.decode()
    assert "/account/confirm?factor=1" in page
    asked = client.get(f"/account/confirm?factor=1&next=/o/{strict.org.slug}/").content.decode()
    assert 'name="password"' not in asked, "a password alone would lead in a circle"
    back = client.post("/account/confirm", {"by": "code", "code": codes[0], "next": f"/o/{strict.org.slug}/"})
    assert back["Location"] == f"/o/{strict.org.slug}/"
    assert client.get(f"/o/{strict.org.slug}/").status_code == 200


def test_the_last_factor_of_a_member_stays(strict) -> None:
    bob = User.objects.get(pk=strict.bob.id)
    enrol_key(bob, "security_key")
    factor = selectors.factor_list(bob.pk)[0].id
    refused = api_of(strict.bob, "password", "mfa").delete(f"/auth/mfa/factors/{factor}")
    assert (refused.status_code, refused.json()["code"]) == (403, "mfa_required_by_org")
    assert "Wonder Looms" in refused.json()["detail"]
    assert selectors.factor_list(bob.pk)


# ---------------------------------------------------------------- switching it
def test_an_admin_switches_it_on_and_off(cast: Cast) -> None:
    erin = api_of(cast.erin, "password", "mfa")
    answer = erin.patch(f"/orgs/{cast.org.id}", {"requires_mfa": True})
    assert (answer.status_code, answer.json()["requires_mfa"]) == (200, True)
    assert [entry.changes for entry in trail("org.updated")] == [{"requires_mfa": [False, True]}]
    assert published("org.updated")[-1]["changed"] == ["requires_mfa"]
    assert erin.patch(f"/orgs/{cast.org.id}", {"requires_mfa": False}).json()["requires_mfa"] is False


def test_nobody_shuts_themselves_out(cast: Cast) -> None:
    refused = api_of(cast.erin).patch(f"/orgs/{cast.org.id}", {"requires_mfa": True})
    assert (refused.status_code, refused.json()["code"]) == (409, "own_factor_missing")
    assert api_of(cast.erin).get(f"/orgs/{cast.org.id}").json()["requires_mfa"] is False


def test_switching_it_wants_a_fresh_credential_and_other_changes_do_not(cast: Cast) -> None:
    old = api_of(cast.erin, "password", "mfa", age=timedelta(minutes=16))
    assert old.patch(f"/orgs/{cast.org.id}", {"requires_mfa": True}).json()["code"] == "step_up_required"
    assert old.patch(f"/orgs/{cast.org.id}", {"name": "Looms"}).status_code == 200
    path = f"/o/{cast.org.slug}/settings/security/second-factor"
    assert old.client.post(path, {"requires_mfa": "1"})["Location"].startswith("/account/confirm")
    assert old.get(f"/orgs/{cast.org.id}").json()["requires_mfa"] is False


def test_the_page_shows_who_has_none_before_it_is_switched_on(cast: Cast) -> None:
    enrol_key(User.objects.get(pk=cast.bob.id), "security_key")
    client: Client = api_of(cast.erin, "password", "mfa").client
    page = client.get(f"/o/{cast.org.slug}/settings/security").content.decode().replace("<wbr>", "")
    assert "4 of 5" in re.sub("<[^>]+>", "", page)
    assert "dora@example.com" in page
    assert "bob@example.com" not in page
    client.post(f"/o/{cast.org.slug}/settings/security/second-factor", {"requires_mfa": "1"})
    assert "Require it no longer" in client.get(f"/o/{cast.org.slug}/settings/security").content.decode()
    viewer = api_of(cast.dora, "password", "mfa").client.get(f"/o/{cast.org.slug}/settings/security").content.decode()
    assert "bob@example.com" not in viewer
    assert "alice@example.com" not in viewer


def test_deleting_an_organisation_wants_a_fresh_credential(cast: Cast) -> None:
    old = api_of(cast.alice, age=timedelta(minutes=16))
    assert old.delete(f"/orgs/{cast.org.id}").json()["code"] == "step_up_required"
    posted = old.client.post(f"/o/{cast.org.slug}/settings/delete", {"confirm": cast.org.slug})
    assert posted["Location"].startswith("/account/confirm")
    assert old.get(f"/orgs/{cast.org.id}").status_code == 200
