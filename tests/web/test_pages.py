"""What holds for every page: headers, errors, components, the public page."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.template.loader import render_to_string
from django.test import Client

from apps.identity.models import User
from tests.web.conftest import Cast

TEMPLATES = sorted((settings.BASE_DIR / "templates").rglob("*.html"))
PAGES = [path for path in TEMPLATES if "notify" not in path.parts]


def test_the_public_page_is_open_and_offers_both_doors(db: None) -> None:
    page = Client(headers={"accept": "text/html"}).get("/")
    assert page.status_code == 200
    body = page.content.decode()
    assert 'href="/login"' in body
    assert 'href="/signup"' in body


@pytest.mark.parametrize("path", ["/", "/login", "/signup", "/nowhere", "/o/loom-co/", "/o/loom-co/projects"])
def test_pages_carry_a_policy_without_inline_code(cast: Cast, path: str) -> None:
    answer = cast.owner.get(path, follow=True)
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    body = answer.content.decode()
    assert not re.search(r"<script(?![^>]*src=)", body)
    assert not re.search(r"<style|\sstyle=|\son\w+=", body)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(settings.BASE_DIR / "templates")))
def test_templates_hold_no_styles_handlers_or_dead_links(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"""\sstyle=|<style|\son(click|load|change|submit|input)=|href=["']#["']|javascript:""", text)
    assert not re.search(r"hx-(on|vars)|hx-vals=['\"]js:", text), "needs eval"


def test_an_unknown_address_is_a_page_with_a_correlation_id(cast: Cast) -> None:
    answer = cast.owner.get("/nowhere")
    assert answer.status_code == 404
    body = answer.content.decode()
    assert "There is nothing here" in body
    assert f"<code>{answer.headers['X-Correlation-Id']}</code>" in body


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_each_error_has_a_page_that_needs_nothing_but_itself(status: int) -> None:
    problem = {"status": status, "title": "Title", "detail": "Detail", "correlation_id": "abc", "code": "x"}
    body = render_to_string("errors/problem.html", {"problem": problem})
    assert f">{status}<" in body
    assert "Detail" in body
    assert "abc" in body


def test_a_method_that_a_page_does_not_offer_is_refused(cast: Cast) -> None:
    assert cast.owner.post(cast.url()).status_code == 405


def test_the_page_of_components_is_for_development(db: None, settings) -> None:
    client = Client(headers={"accept": "text/html"})
    assert client.get("/dev/components").status_code == 200
    settings.DEVELOPMENT = False
    assert client.get("/dev/components").status_code == 404


def test_another_organisation_looks_like_none(cast: Cast) -> None:
    theirs, missing = cast.stranger.get(cast.url()), cast.stranger.get("/o/never-was/")
    assert theirs.status_code == missing.status_code == 404
    strip = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|/static/\S+|csrfmiddlewaretoken\S+")
    assert strip.sub("", theirs.content.decode()) == strip.sub("", missing.content.decode())


def test_the_switcher_lists_ones_own_organisations_only(cast: Cast) -> None:
    body = cast.owner.get(cast.url()).content.decode()
    assert "Loom &amp; Co" in body
    assert "Elsewhere" not in body


def test_times_are_told_in_the_zone_of_the_reader(cast: Cast) -> None:
    body = cast.owner.get(cast.url("projects/shuttle")).content.decode()
    assert "CET" in body or "CEST" in body
    User.objects.filter(pk=cast.olive.id).update(timezone="Asia/Tokyo")
    assert "JST" in cast.owner.get(cast.url("projects/shuttle")).content.decode()
