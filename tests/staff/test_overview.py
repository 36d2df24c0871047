"""The first page of the staff admin: what is wrong first, and every part of the product in a few numbers."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.core import clock, overview
from apps.core.tenancy import system_scope
from apps.events.models import DeadLetter
from apps.notify.models import EmailMessage
from apps.scheduler.models import JobRun
from tests.web.conftest import Cast, cast
from tests.web.test_impersonation import staff

__all__ = ["cast", "staff"]


def page(staff: Client) -> str:
    answer = staff.get("/admin/")
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_every_part_of_the_product_is_on_it(cast: Cast, staff: Client) -> None:
    text = page(staff)
    for title in ("Health", "Usage engine", "Bus", "Jobs", "Mail", "Organisations"):
        assert f">{title}</h2>" in text
    assert "Could not be read" not in text


def test_what_is_wrong_stands_first_in_a_sentence(cast: Cast, staff: Client) -> None:
    with system_scope("test"):
        DeadLetter.objects.create(
            subscription="alerts.rules", event_id=cast.org.id, type="org.updated", key="k", attempts=20, error="boom",
            envelope={},
        )  # fmt: skip
        EmailMessage.objects.create(
            to="a@b.c", template="t", subject="s", text="t", html="h", status="failed", correlation_id="c"
        )
        JobRun.objects.create(job="usage.fold", status="failed", trigger="schedule")
    text = page(staff)
    for words in (
        "1 dead letters of alerts.rules wait for a decision.",
        "usage.fold failed 1 times in the last 24 hours.",
        "1 mails of the last 24 hours could not be delivered.",
    ):
        assert words in text
    assert text.index("1 dead letters") < text.index(">Health</h2>")


def test_what_waits_for_too_long_is_said(cast: Cast, staff: Client) -> None:
    with system_scope("test"):
        EmailMessage.objects.create(
            to="a@b.c", template="t", subject="s", text="t", html="h", correlation_id="c",
            due_at=clock.now() - timedelta(hours=1),
        )  # fmt: skip
        JobRun.objects.create(
            job="usage.fold", status="queued", trigger="schedule", due_at=clock.now() - timedelta(hours=1)
        )
    text = page(staff)
    assert "A mail is due since 1h 00m" in text
    assert "is a worker running?" in text


def test_a_part_that_cannot_be_read_takes_nothing_with_it(
    cast: Cast, staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM no_such_table")

    monkeypatch.setitem(overview._panels, "test", overview._Registered("Broken", broken, (), 1))
    text = page(staff)
    assert "This part could not be read" in text
    assert ">Organisations</h2>" in text


def test_its_queries_do_not_grow_with_what_there_is(cast: Cast, staff: Client) -> None:
    with CaptureQueriesContext(connection) as before:
        page(staff)
    with system_scope("test"):
        for number in range(30):
            JobRun.objects.create(job=f"job.{number}", status="failed", trigger="schedule")
            EmailMessage.objects.create(
                to="a@b.c", template="t", subject="s", text="t", html="h", correlation_id=str(number)
            )
    with CaptureQueriesContext(connection) as after:
        page(staff)
    assert len(after) == len(before) < 60


def test_without_redis_the_page_says_so(cast: Cast, staff: Client, settings: Any) -> None:
    settings.RATE_LIMIT_REDIS_URL = settings.BROKER_REDIS_URL = "redis://127.0.0.1:1/0"
    text = page(staff)
    assert "Redis does not answer" in text


def test_all_places_of_the_side_bar_exist(cast: Cast, staff: Client) -> None:
    from mindweave.admin_navigation import _PLACES, navigation

    sections = navigation(staff.get("/admin/").wsgi_request)
    assert [len(section["items"]) for section in sections] == [len(places) for places in _PLACES.values()]
    for section in sections:
        for item in section["items"]:
            assert staff.get(item["link"]).status_code == 200
