"""Cookies, headers and CSRF of signing in and of what is done signed in."""

import subprocess
import sys

import pytest
from django.conf import settings
from django.test import Client

from apps.identity.models import User
from tests.cast import PASSWORD, Api, make_person, sign_in


@pytest.fixture
def alice(db):
    return make_person("alice")


def test_signing_in_gives_the_session_another_id_and_its_cookie_to_no_script(alice) -> None:
    client = Client()
    client.get("/reset/x")  # a session of nobody, which somebody may have planted
    before = client.cookies[settings.SESSION_COOKIE_NAME].value
    client.post("/login", {"email": "alice@example.com", "password": PASSWORD})
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    assert cookie.value != before
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (True, "Lax", "/", "")
    planted = Client()
    planted.cookies[settings.SESSION_COOKIE_NAME] = before
    assert planted.get("/auth/me").status_code == 401


def test_signing_out_takes_the_cookie_back(alice) -> None:
    client = Client()
    client.post("/login", {"email": "alice@example.com", "password": PASSWORD})
    client.post("/logout")
    assert client.cookies[settings.SESSION_COOKIE_NAME].value == ""


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/auth/password"),
        ("POST", "/auth/email"),
        ("PATCH", "/auth/me"),
        ("DELETE", "/auth/sessions"),
        ("POST", "/auth/logout"),
    ],
)
def test_a_session_writes_over_the_api_only_with_the_csrf_token(alice, method, path) -> None:
    client = Client(enforce_csrf_checks=True)
    sign_in(client, User.objects.get())
    answer = client.generic(method, path, b"{}", content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert client.get("/auth/me").status_code == 200, "nothing happened"


@pytest.mark.parametrize("path", ["/login", "/auth/me", "/account", "/forgot", "/reset"])
def test_what_is_about_a_person_is_kept_by_no_cache_and_shown_in_no_page_of_others(alice, path) -> None:
    client = Client()
    if path in {"/auth/me", "/account"}:
        sign_in(client, User.objects.get())
    answer = client.get(path, headers={"origin": "https://elsewhere.example"})
    assert "no-store" in answer["Cache-Control"]
    assert answer["Cross-Origin-Opener-Policy"] == answer["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["Referrer-Policy"] in {"same-origin", "no-referrer"}
    assert "Access-Control-Allow-Origin" not in answer


def test_over_https_cookies_are_secure_and_of_this_host_alone(tmp_path) -> None:
    code = (
        "from django.conf import settings as s; print(s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME,"
        " s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.SECURE_HSTS_SECONDS > 0)"
    )
    env = {
        "DJANGO_SETTINGS_MODULE": "mindweave.settings", "MINDWEAVE_PUBLIC_URL": "https://mindweave.example",
        "SECRET_KEY": "x" * 50, "MINDWEAVE_DATA_DIR": str(tmp_path), "PATH": "",
    }  # fmt: skip
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["__Host-mw_session", "__Host-mw_csrf", "True", "True", "True"]


def test_a_token_needs_no_csrf_token(alice) -> None:
    token = Api().post("/auth/login", {"email": "alice@example.com", "password": PASSWORD}).json()["access_token"]
    assert Api(token=token).patch("/auth/me", {"name": "Al"}).status_code == 200
