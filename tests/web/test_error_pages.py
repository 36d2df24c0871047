"""What goes wrong says what happened, what to do and its correlation id, inside the organisation where there is one."""

import pytest
from django.db import OperationalError
from django.test import Client, RequestFactory

from apps.core.middleware import server_error
from apps.core.problems import _again
from tests.web.conftest import Cast


def test_an_unknown_address_in_an_organisation_keeps_its_shell(cast: Cast) -> None:
    answer = cast.owner.get(cast.url("nowhere"))
    body = answer.content.decode()
    assert answer.status_code == 404
    assert "There is nothing here" in body
    assert '<nav aria-label="Main">' in body
    assert f'href="{cast.url()}"' in body
    assert f"<code>{answer.headers['X-Correlation-Id']}</code>" in body


def test_another_organisations_page_shows_no_shell(cast: Cast) -> None:
    body = cast.stranger.get(cast.url("usage")).content.decode()
    assert '<nav aria-label="Main">' not in body
    assert "Go to the start" in body


def test_a_method_that_is_not_offered_is_a_page_with_what_to_do(cast: Cast) -> None:
    answer = cast.owner.post(cast.url("usage"))
    body = answer.content.decode()
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD"
    assert "belongs to a button" in body
    assert '<nav aria-label="Main">' in body


def test_a_program_gets_a_refused_method_as_a_problem(db: None) -> None:
    answer = Client().post("/health/live")
    assert answer.status_code == 405
    assert answer.json()["code"] == "method_not_allowed"
    assert answer.headers["Allow"] == "GET, HEAD"


def test_a_stale_form_says_that_nothing_changed_and_leads_back(cast: Cast) -> None:
    client = Client(headers={"accept": "text/html"}, enforce_csrf_checks=True)
    client.cookies = cast.owner.cookies
    page = cast.url("settings")
    referer = f"http://testserver{page}"
    answer = client.post(page, {"name": "Taken over", "timezone": "UTC"}, headers={"referer": referer})
    body = answer.content.decode()
    assert answer.status_code == 403
    assert "Nothing was changed" in body
    assert f'href="{page}">' in body
    assert "Taken over" not in cast.owner.get(page).content.decode()


def test_a_role_that_may_not_is_told_who_may_and_its_correlation_id(cast: Cast) -> None:
    answer = cast.billing.get(cast.url("projects"))
    body = answer.content.decode()
    assert answer.status_code == 403
    assert "is billing. It is open to" in body
    assert "owner, admin, developer, viewer" in body
    assert answer.headers["X-Correlation-Id"] in body
    assert "/guide/members#roles" in body


def test_a_database_that_is_away_is_503_and_says_to_try_again() -> None:
    request = RequestFactory().get("/o/loom-co/usage?period=7d", headers={"accept": "text/html"})
    try:
        raise OperationalError("connection refused")
    except OperationalError:
        answer = server_error(request)
    body = answer.content.decode()
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "10"
    assert 'href="/o/loom-co/usage?period=7d"' in body
    assert "Your data is safe" in body
    assert "connection refused" not in body


def test_a_failure_inside_an_organisation_is_told_in_its_shell(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr("apps.projects.views.render", fail)
    cast.owner.raise_request_exception = False
    answer = cast.owner.get(cast.url("projects"))
    body = answer.content.decode()
    assert answer.status_code == 500
    assert "a secret detail" not in body
    assert "Your data is safe" in body
    assert '<nav aria-label="Main">' in body


def test_a_shell_that_fails_too_leaves_a_plain_page(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OperationalError("away")

    monkeypatch.setattr("apps.accounts.web._shell", fail)
    answer = cast.owner.get(cast.url("nowhere"))
    body = answer.content.decode()
    assert answer.status_code == 404
    assert '<nav aria-label="Main">' not in body
    assert "Go to the start" in body


@pytest.mark.parametrize(
    ("referer", "again"),
    [
        ("http://testserver/o/a/settings?x=1", "/o/a/settings?x=1"), ("http://evil.test/o/a", ""), ("", ""),
        ("http://testserver//evil.test", ""), ("javascript:alert(1)", ""),
    ],
)  # fmt: skip
def test_trying_a_form_again_never_leads_away(referer: str, again: str) -> None:
    request = RequestFactory().post("/o/a/settings/delete", headers={"referer": referer, "host": "testserver"})
    assert _again(request) == again


@pytest.mark.parametrize("path", ["", "usage", "costs", "sessions", "events", "projects", "connect", "settings/tags"])
def test_an_empty_organisation_says_what_is_for_and_how_it_is_filled(cast: Cast, path: str) -> None:
    body = cast.stranger.get(f"/o/{cast.other.slug}/{path}").content.decode()
    assert "mw-blank" in body
    assert 'href="/guide/' in body.split("mw-blank", 1)[1]
