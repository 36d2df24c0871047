"""Signing in, signing up, signing out."""

import re

import pytest
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.test import Client

from apps.identity.models import User
from tests.web.conftest import PASSWORD, Cast, person


def sign_in(client: Client, *, email: str = "olive@loom.test", password: str = PASSWORD, **more: str):
    return client.post("/login", {"email": email, "password": password, **more})


def test_the_right_password_opens_the_own_organisation(cast: Cast) -> None:
    answer = sign_in(cast.nobody)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    assert cast.nobody.get("/").headers["Location"] == cast.url()


@pytest.mark.parametrize(("email", "password"), [("olive@loom.test", "wrong"), ("nobody@loom.test", PASSWORD)])
def test_a_wrong_password_and_an_unknown_address_are_told_alike(cast: Cast, email: str, password: str) -> None:
    answer = sign_in(cast.nobody, email=email, password=password)
    assert answer.status_code == 400
    assert "The e-mail address or the password is not right" in answer.content.decode()
    assert cast.nobody.get(cast.url()).status_code == 302
    assert password not in answer.content.decode()


def test_the_eleventh_try_is_told_to_wait(cast: Cast) -> None:
    for _ in range(10):
        sign_in(cast.nobody, password="wrong")
    answer = sign_in(cast.nobody)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    "wanted", ["https://evil.test/", "//evil.test", "/\\evil.test", "javascript:alert(1)", "\t//evil.test", "evil"]
)
def test_signing_in_never_leads_to_another_site(cast: Cast, wanted: str) -> None:
    assert sign_in(cast.nobody, next=wanted).headers["Location"] == "/"


def test_signing_in_goes_on_to_where_one_wanted_to_go(cast: Cast) -> None:
    wanted = cast.url("projects?x=1")
    page = cast.nobody.get("/login", {"next": wanted}).content.decode()
    assert f'name="next" value="{wanted}"' in page
    assert sign_in(cast.nobody, next=wanted).headers["Location"] == wanted


def test_a_form_from_elsewhere_is_refused(cast: Cast) -> None:
    client = Client(enforce_csrf_checks=True, headers={"accept": "text/html"})
    answer = sign_in(client)
    assert answer.status_code == 403
    assert "protection token" in answer.content.decode()
    token = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', client.get("/login").content.decode())[1]
    assert sign_in(client, csrfmiddlewaretoken=token).status_code == 302


def test_a_second_factor_is_asked_for_and_a_code_works_once(cast: Cast) -> None:
    secret = generate_totp_secret()
    TOTP.activate(User.objects.get(email="olive@loom.test"), secret)
    assert sign_in(cast.nobody).headers["Location"] == "/login/code"
    assert cast.nobody.get(cast.url()).status_code == 302, "the password alone opens nothing"
    wrong = cast.nobody.post("/login/code", {"code": "000000"})
    assert wrong.status_code == 400
    assert "The code is not right" in wrong.content.decode()
    code = format_hotp_value(hotp_value(secret, next(iter(yield_hotp_counters_from_time()))))
    assert cast.nobody.post("/login/code", {"code": code}).status_code == 302
    assert cast.nobody.get(cast.url()).status_code == 200
    again = Client(headers={"accept": "text/html"})
    sign_in(again)
    assert again.post("/login/code", {"code": code}).status_code == 400


def test_the_second_step_without_the_first_starts_again(cast: Cast) -> None:
    assert cast.nobody.get("/login/code").headers["Location"] == "/login"


def test_signing_in_changes_the_session_id(cast: Cast) -> None:
    session = cast.nobody.session
    session["planted"] = "1"
    session.save()
    cast.nobody.cookies["mw_session"] = session.session_key
    sign_in(cast.nobody)
    assert cast.nobody.cookies["mw_session"].value != session.session_key


def test_signing_up_leads_to_the_first_organisation(db: None) -> None:
    client = Client(headers={"accept": "text/html"})
    form = {"name": "Nora", "email": "Nora@Loom.test", "password": PASSWORD}
    assert client.post("/signup", form).headers["Location"] == "/welcome"
    assert client.get("/").headers["Location"] == "/welcome"
    assert User.objects.get().email == "nora@loom.test"


def test_a_weak_password_is_told_at_its_field_and_a_taken_address_to_nobody(db: None) -> None:
    person("olive")
    client = Client(headers={"accept": "text/html"})
    weak = client.post("/signup", {"name": "N", "email": "n@loom.test", "password": "short"})
    assert weak.status_code == 400
    assert 'id="id_password_error"' in weak.content.decode()
    taken = client.post("/signup", {"name": "N", "email": "OLIVE@loom.test", "password": PASSWORD})
    assert taken.status_code == 200
    assert "Check your mail" in taken.content.decode()
    assert not taken.client.session.get("_auth_user_id")


def test_a_link_never_signs_out(cast: Cast) -> None:
    assert "Sign out?" in cast.owner.get("/logout").content.decode()
    assert cast.owner.get(cast.url()).status_code == 200
    assert cast.owner.post("/logout").headers["Location"] == "/"
    assert cast.owner.get(cast.url()).status_code == 302
