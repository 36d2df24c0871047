"""Step-up: what is sensitive wants a credential that was shown a short while ago."""

from datetime import timedelta

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from rest_framework.response import Response

from apps.core.api import ApiView
from apps.identity.models import User
from apps.identity.web import step_up_required
from mindweave.urls import urlpatterns as ours
from tests.cast import PASSWORD, Api, Cast, make_key, sign_in, trail

done: list[str] = []


class Sensitive(ApiView):
    capabilities = {"POST": "org.update"}
    scopes = {"POST": "read"}
    step_up = frozenset({"POST"})
    idempotent = False

    def post(self, request):
        done.append("api")
        return Response({})


@step_up_required
def sensitive(request):
    if request.method == "POST":
        done.append(request.POST.get("name", ""))
    return HttpResponse("the page")


urlpatterns = [*ours, path("v1/test/sensitive", Sensitive.as_view()), path("test/page", sensitive)]


@pytest.fixture(autouse=True)
def _routes(settings) -> None:
    settings.ROOT_URLCONF = __name__
    done.clear()


def aged(who, minutes: int) -> Api:
    api = Api()
    sign_in(api.client, User.objects.get(pk=who.id), age=timedelta(minutes=minutes))
    return api


# ---------------------------------------------------------------- the API
def test_a_fresh_sign_in_may(cast: Cast) -> None:
    assert aged(cast.alice, 14).post("/v1/test/sensitive", {}).status_code == 200
    assert done == ["api"]


def test_an_old_one_is_challenged_as_rfc_9470_says(cast: Cast) -> None:
    answer = aged(cast.alice, 16).post("/v1/test/sensitive", {})
    assert (answer.status_code, answer.json()["code"], answer.json()["max_age"]) == (401, "step_up_required", 900)
    assert 'error="insufficient_user_authentication"' in answer.headers["WWW-Authenticate"]
    assert 'max_age="900"' in answer.headers["WWW-Authenticate"]
    assert done == []


def test_when_it_was_is_not_known_is_old(cast: Cast) -> None:
    api = Api()
    api.client.force_login(User.objects.get(pk=cast.alice.id))
    assert api.post("/v1/test/sensitive", {}).json()["code"] == "step_up_required"
    assert done == []


def test_who_may_not_is_told_so_and_not_asked_to_confirm(cast: Cast) -> None:
    assert aged(cast.bob, 16).post("/v1/test/sensitive", {}).status_code == 403


def test_a_key_never_passes_whatever_its_scopes(cast: Cast) -> None:
    _, token = make_key(cast, scopes=("read", "admin"))
    answer = Api(token=token).post("/v1/test/sensitive", {})
    assert (answer.status_code, answer.json()["code"]) == (403, "keys_not_allowed")
    assert done == []


# ---------------------------------------------------------------- pages
def test_a_page_sends_to_the_confirmation_and_back(cast: Cast) -> None:
    client = aged(cast.alice, 16).client
    answer = client.get("/test/page?tab=2")
    assert answer["Location"] == "/account/confirm?next=%2Ftest%2Fpage%3Ftab%3D2"
    wrong = client.post("/account/confirm", {"password": "not it at all", "next": "/test/page?tab=2"})
    assert wrong.status_code == 400
    assert client.get("/test/page").status_code == 302, "a wrong password confirms nothing"
    right = client.post("/account/confirm", {"password": PASSWORD, "next": "/test/page?tab=2"})
    assert right["Location"] == "/test/page?tab=2"
    assert client.get("/test/page?tab=2").content == b"the page"
    assert [entry.changes["method"][-1] for entry in trail("user.confirmed")] == ["password"]


def test_a_form_that_was_sent_waits_for_the_confirmation_without_its_secrets(cast: Cast) -> None:
    client = aged(cast.alice, 16).client
    sent = {"name": "Loom", "new_password": "never kept"}
    answer = client.post("/test/page", sent, headers={"referer": "http://testserver/test/page?tab=2"})
    assert answer["Location"] == "/account/confirm?next=%2Ftest%2Fpage%3Ftab%3D2"
    assert done == []
    page = client.post("/account/confirm", {"password": PASSWORD, "next": "/test/page"}).content.decode()
    assert 'action="/test/page"' in page
    assert 'name="name" value="Loom"' in page
    assert "never kept" not in page
    assert client.post("/test/page", {"name": "Loom"}).status_code == 200
    assert done == ["Loom"]
    again = client.post("/account/confirm", {"password": PASSWORD})
    assert again.status_code == 302, "it is offered once"


def test_htmx_is_led_to_the_confirmation_too(cast: Cast) -> None:
    answer = aged(cast.alice, 16).client.post("/test/page", {}, headers={"HX-Request": "true"})
    assert answer.headers["HX-Redirect"].startswith("/account/confirm")


def test_nobody_is_led_elsewhere_by_it(cast: Cast) -> None:
    client = aged(cast.alice, 16).client
    right = client.post("/account/confirm", {"password": PASSWORD, "next": "//evil.example"})
    assert right["Location"] == "/"
    evil = aged(cast.alice, 16).client.post("/test/page", {}, headers={"referer": "https://evil.example/x"})
    assert evil["Location"] == "/account/confirm?next=%2F"


def test_who_came_by_single_sign_on_may_confirm_by_it(cast: Cast) -> None:
    User.objects.filter(pk=cast.bob.id).update(password="!")
    api = Api()
    user = User.objects.get(pk=cast.bob.id)
    sign_in(api.client, user, shown=("oidc", f"sso:{cast.org.id}"), age=timedelta(minutes=16))
    page = api.client.get("/account/confirm?next=/test/page").content.decode()
    assert 'href="/sso/confirm?next=/test/page"' in page
    assert 'name="password"' not in page


def test_another_persons_password_confirms_nothing(cast: Cast) -> None:
    assert Client().post("/account/confirm", {"password": PASSWORD}).status_code == 302
    User.objects.filter(pk=cast.bob.id).update(password="!")
    assert aged(cast.bob, 16).client.post("/account/confirm", {"password": PASSWORD}).status_code == 400
