"""The staff's view of the bus, the trail, the jobs and the mail: fast lists, and actions that call services."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.audit.models import AuditEntry
from apps.audit.services import record
from apps.core import clock
from apps.core.ids import uuid7
from apps.core.tenancy import system_scope
from apps.events.models import DeadLetter, Delivery, OutboxEvent, SubscriptionState
from apps.identity.models import User
from apps.notify.models import EmailMessage
from apps.notify.services import send_email
from apps.scheduler import background
from apps.scheduler.clockwork import sync_jobs
from apps.scheduler.models import JobRun, JobState
from mindweave.admin_site import StaffSite

LISTS = [
    "events/outboxevent",
    "events/subscriptionstate",
    "events/delivery",
    "events/processed",
    "events/deadletter",
    "audit/auditentry",
    "scheduler/jobstate",
    "scheduler/jobrun",
    "notify/emailmessage",
]


@pytest.fixture
def staff(db, monkeypatch) -> Client:
    """A member of staff whose second factor was proved; that itself is tested with identity."""
    user = User(email="staff@mindweave.example", name="Staff", is_staff=True)
    user.save()
    monkeypatch.setattr(StaffSite, "has_permission", lambda self, request: request.user.is_staff)
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def filled(bus, org, monkeypatch):
    """Something in every list, more of it with every call."""
    monkeypatch.setattr(background.BackgroundTask, "apply_async", lambda self, **call: None)

    def handler(event) -> None:
        if event.data["n"] == 1:
            raise RuntimeError("never")

    bus.subscribe(handler, max_attempts=1)
    bus.subscribe(handler, name="test.patient")
    sync_jobs()

    def fill() -> None:
        for n in range(3):
            bus.publish(n, org_id=org)
        bus.deliver()
        bus.publish(4, org_id=org)
        bus.relay()
        record(action="job.enabled", org_id=org, target_type="job", target_id="x")
        JobRun.objects.create(job="notify.sweep", status="succeeded", trigger="clock", correlation_id="c-1")
        send_email(to="alice@example.com", template="welcome", context={}, org_id=org)

    fill()
    return fill


def page(staff: Client, path: str, **query) -> str:
    response = staff.get(f"/admin/{path}/", query)
    assert response.status_code == 200, response
    return response.content.decode()


@pytest.mark.parametrize("path", LISTS)
def test_each_list_opens_with_as_many_queries_however_long_it_is(staff, filled, path) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            page(staff, path)
        return len(captured)

    queries()
    few = queries()
    for _ in range(3):
        filled()
    assert queries() == few
    assert few <= 10


@pytest.mark.parametrize("path", LISTS)
def test_each_list_can_be_searched_for_anything(staff, filled, path) -> None:
    for term in ("01a20960-a08c-7708-942c-8440bd70b108", "no id", "x' OR 1=1", "\x00"):
        page(staff, path, q=term)


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("events/outboxevent", OutboxEvent),
        ("events/delivery", Delivery),
        ("events/deadletter", DeadLetter),
        ("events/subscriptionstate", SubscriptionState),
        ("audit/auditentry", AuditEntry),
        ("scheduler/jobrun", JobRun),
        ("scheduler/jobstate", JobState),
        ("notify/emailmessage", EmailMessage),
    ],
)
def test_each_row_can_be_looked_at_and_not_changed(staff, filled, path, model) -> None:
    with system_scope("the test"):
        row = model.objects.first()
    shown = page(staff, f"{path}/{row.pk}/change")
    assert 'name="_save"' not in shown
    assert staff.post(f"/admin/{path}/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert staff.post(f"/admin/{path}/add/", {}).status_code == 403


def test_the_text_of_a_mail_is_not_shown_to_staff(staff, filled) -> None:
    with system_scope("the test"):
        mail = EmailMessage.objects.get()
    assert "Sign in here" in mail.text
    assert "Sign in here" not in page(staff, f"notify/emailmessage/{mail.pk}/change")


def test_the_trail_is_found_by_the_organisation_and_by_the_action(staff, filled, org) -> None:
    record(action="job.disabled", org_id=uuid7(), target_type="job", target_id="y")

    def found(**query) -> list[str]:
        return [entry.action for entry in staff.get("/admin/audit/auditentry/", query).context["cl"].result_list]

    assert found(q=str(org)) == ["job.enabled"]
    assert found(action="job.disabled") == ["job.disabled"]


def act(staff: Client, path: str, action: str, *ids) -> str:
    response = staff.post(
        f"/admin/{path}/", {"action": action, "_selected_action": [str(each) for each in ids]}, follow=True
    )
    assert response.status_code == 200
    return response.content.decode()


def test_staff_replay_a_dead_letter(staff, filled, bus) -> None:
    with system_scope("the test"):
        letter = DeadLetter.objects.get()
    assert "1 of 1 put back in their queues." in act(staff, "events/deadletter", "replay", letter.pk)
    assert (1, "ready") in bus.waiting()
    with system_scope("the test"):
        letter.refresh_from_db()
        entry = AuditEntry.objects.get(action="bus.dead_letter_replayed")
    assert (letter.status, entry.target_id) == ("replayed", str(letter.pk))


def test_staff_discard_a_dead_letter(staff, filled, bus) -> None:
    with system_scope("the test"):
        letter = DeadLetter.objects.get()
    act(staff, "events/deadletter", "discard", letter.pk)
    with system_scope("the test"):
        letter.refresh_from_db()
    assert letter.status == "discarded"
    assert (1, "ready") not in bus.waiting()


def test_staff_pause_and_resume_a_subscription(staff, filled) -> None:
    act(staff, "events/subscriptionstate", "pause", "test.patient")
    assert SubscriptionState.objects.get(pk="test.patient").is_paused
    act(staff, "events/subscriptionstate", "resume", "test.patient")
    assert not SubscriptionState.objects.get(pk="test.patient").is_paused


def test_staff_run_a_job_now_and_take_one_off_the_clock(staff, filled) -> None:
    assert "notify.prune is queued." in act(staff, "scheduler/jobstate", "run_now", "notify.prune")
    run = JobRun.objects.get(job="notify.prune")
    assert (run.status, run.trigger) == ("queued", "staff")
    assert run.requested_by
    assert clock.now() - run.due_at < timedelta(minutes=1)
    act(staff, "scheduler/jobstate", "disable", "notify.prune")
    assert not JobState.objects.get(pk="notify.prune").is_enabled
