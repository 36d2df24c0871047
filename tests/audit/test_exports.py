"""Files of the trail that a worker makes: asked for, made, fetched, gone."""

import gzip
import json
from datetime import timedelta
from unittest.mock import Mock
from uuid import UUID

import pytest

from apps.accounts import services as accounts
from apps.accounts.capabilities import CAPABILITIES
from apps.audit import ports, services
from apps.audit.export_services import export_path
from apps.audit.models import AuditExport
from apps.audit.services import forget_person
from apps.core.clock import freeze, now
from apps.core.tenancy import system_scope
from apps.events.contracts import Envelope
from apps.events.models import OutboxEvent
from apps.events.registry import subscriptions_of
from apps.identity.contracts import UserInfo
from apps.notify.selectors import latest_notes
from tests.cast import Api, Cast, trail
from tests.teams.mail import mails_to


@pytest.fixture
def queued(monkeypatch) -> list[UUID]:
    """The exports that a worker was told of."""
    told: list[UUID] = []
    monkeypatch.setattr(ports.export_queue, "_impl", told.append)
    return told


def row_of(export_id: str) -> AuditExport:
    with system_scope("the test looks at all"):
        return AuditExport.objects.get(pk=export_id)


def sweep() -> dict[str, int]:
    with system_scope("jobs work across organisations"):
        return services.sweep_exports()


def test_what_is_asked_for_is_made_told_of_and_fetched(cast: Cast, queued, django_capture_on_commit_callbacks) -> None:
    alice = Api(cast.alice)
    with django_capture_on_commit_callbacks(execute=True):
        answer = alice.post("/audit/exports", {"format": "jsonl", "action": "project.*"})
    assert answer.status_code == 202, answer.content
    made = answer.json()
    assert (made["state"], made["entries"], made["total"]) == ("queued", 0, None)
    assert made["filter"]["action"] == "project.*"
    assert made["requested_by_id"] == str(cast.alice.id)
    assert queued == [UUID(made["id"])]
    assert alice.get(f"/audit/exports/{made['id']}/file").status_code == 404
    assert services.make_export(export_id=queued[0])
    ready = alice.get(f"/audit/exports/{made['id']}").json()
    assert (ready["state"], ready["entries"], ready["total"]) == ("ready", 1, 1)
    assert ready["size_bytes"] > 0
    file = alice.get(f"/audit/exports/{made['id']}/file")
    header, entry, *_, end = map(json.loads, gzip.decompress(b"".join(file.streaming_content)).splitlines())
    assert (header["type"], end["entries"]) == ("header", 1)
    assert (entry["action"], entry["target"]["label"]) == ("project.created", "Weaver")
    assert [each["id"] for each in alice.get("/audit/exports").json()["data"]] == [made["id"]]
    (asked,), (taken,) = trail("audit.export_requested"), trail("audit.exported")
    assert asked.changes == {"format": [None, "jsonl"], "action": [None, "project.*"]}
    assert (taken.org_id, taken.actor_id, taken.target_id) == (cast.org.id, cast.alice.id, made["id"])
    assert not services.make_export(export_id=queued[0]), "a message that comes twice makes nothing"


def test_who_asked_is_told_when_it_is_there_and_when_it_failed(cast: Cast, queued, monkeypatch) -> None:
    def hear() -> None:
        with system_scope("the test looks at all"):
            events = [
                Envelope.from_dict(row.envelope, topic=row.topic, key=row.key) for row in OutboxEvent.objects.all()
            ]
            OutboxEvent.objects.all().delete()
        for event in events:
            for subscription in subscriptions_of(event.type):
                if subscription.name in ("notify.tell_audit_export", "accounts.audit_export_mails"):
                    subscription.handler(event)

    def told(who: UserInfo) -> list[str]:
        notes = latest_notes(org_id=cast.org.id, user_id=who.id, capabilities=CAPABILITIES)
        return [note.title for note in notes if note.kind == "audit_export"]

    def ask() -> bool:
        return services.make_export(export_id=UUID(Api(cast.erin).post("/audit/exports").json()["id"]))

    assert ask()
    hear()
    assert (told(cast.erin), told(cast.alice)) == (["Your export of the audit log is ready"], [])
    (mail,) = mails_to("erin@example.com", "audit_export")
    assert f"/o/{cast.org.slug}/settings/audit/exports" in mail.text
    assert mails_to("alice@example.com", "audit_export") == []

    monkeypatch.setattr("apps.audit.export_services._write", Mock(side_effect=OSError("disk full")))
    assert not ask()
    hear()
    assert told(cast.erin)[0] == "Your export of the audit log failed"
    assert "could not be made. OSError: it could not be written" in mails_to("erin@example.com", "audit_export")[1].text

    assert not ask()
    accounts.change_member_role(org_id=cast.org.id, user_id=cast.erin.id, role="viewer")
    hear()
    assert (len(told(cast.erin)), len(mails_to("erin@example.com", "audit_export"))) == (2, 2), "no reader any more"


def test_one_at_a_time_in_each_organisation(cast: Cast, queued) -> None:
    assert Api(cast.alice).post("/audit/exports").status_code == 202
    again = Api(cast.erin).post("/audit/exports")
    assert (again.status_code, again.json()["code"]) == (409, "export_running")
    assert Api(cast.charlie).post("/audit/exports").status_code == 202
    with system_scope("the test looks at all"):
        assert AuditExport.objects.count() == 2


def test_another_organisations_export_is_not_there(cast: Cast, queued) -> None:
    made = Api(cast.alice).post("/audit/exports", {"format": "csv"}).json()
    services.make_export(export_id=UUID(made["id"]))
    for path in (f"/audit/exports/{made['id']}", f"/audit/exports/{made['id']}/file"):
        assert Api(cast.charlie).get(path).status_code == 404
    assert trail("audit.exported") == []


def test_what_comes_after_the_asking_is_another_exports(cast: Cast, queued) -> None:
    made = Api(cast.alice).post("/audit/exports", {"format": "csv"}).json()
    later = trail("audit.export_requested")
    services.make_export(export_id=UUID(made["id"]))
    text = gzip.decompress(export_path(row_of(made["id"])).read_bytes()).decode()
    assert str(later[0].id) not in text
    assert "project.created" in text


def test_a_worker_that_died_is_noticed_and_three_times_is_enough(
    cast: Cast, queued, django_capture_on_commit_callbacks
) -> None:
    made = Api(cast.alice).post("/audit/exports").json()
    with system_scope("a worker took it and died"):
        AuditExport.objects.update(state="running", attempts=1, seen_at=now() - timedelta(minutes=6))
    with django_capture_on_commit_callbacks(execute=True):
        assert sweep()["again"] == 1
    assert queued == [UUID(made["id"])]
    assert services.make_export(export_id=queued[0])
    with system_scope("and another again and again"):
        AuditExport.objects.update(state="running", attempts=3, seen_at=now() - timedelta(minutes=6))
    assert sweep()["failed"] == 1
    row = row_of(made["id"])
    assert row.state == "failed"
    assert "died several times" in row.failure
    assert not export_path(row).exists(), "nobody can fetch it"


def test_a_file_goes_when_its_time_is_over(cast: Cast, queued) -> None:
    made = Api(cast.alice).post("/audit/exports").json()
    services.make_export(export_id=UUID(made["id"]))
    path = export_path(row_of(made["id"]))
    assert path.exists()
    assert path.stat().st_mode & 0o077 == 0
    with freeze(now() + timedelta(days=8)):
        assert sweep()["removed"] == 1
        assert Api(cast.alice).get(f"/audit/exports/{made['id']}/file").status_code in (401, 404)
    assert not path.exists()
    assert row_of(made["id"]).state == "gone"


def test_a_file_is_gone_once_somebody_in_it_was_erased(cast: Cast, queued) -> None:
    alice, made = Api(cast.alice), Api(cast.alice).post("/audit/exports").json()
    services.make_export(export_id=UUID(made["id"]))
    path = export_path(row_of(made["id"]))
    forget_person(user_id=cast.charlie.id)
    assert sweep()["removed"] == 0, "of another organisation"
    assert alice.get(f"/audit/exports/{made['id']}/file").status_code == 200
    forget_person(user_id=cast.bob.id)
    assert alice.get(f"/audit/exports/{made['id']}/file").status_code == 404, "at once"
    assert sweep()["removed"] == 1
    assert not path.exists()
    again = alice.post("/audit/exports").json()
    services.make_export(export_id=UUID(again["id"]))
    assert alice.get(f"/audit/exports/{again['id']}/file").status_code == 200


def test_the_page_starts_one_of_what_the_log_was_narrowed_to_and_shows_how_far_it_is(cast: Cast, queued) -> None:
    alice, page = Api(cast.alice).client, f"/o/{cast.org.slug}/settings/audit/exports"
    assert "No file was asked for yet" in alice.get(page).content.decode()
    assert f"{page}?action=project.%2A" in alice.get(page[:-8], {"action": "project.*"}).content.decode()
    assert alice.post(f"{page}?action=project.*", {"format": "csv"}).status_code == 302
    with system_scope("the test looks at all"):
        row = AuditExport.objects.get()
    assert row.wanted["action"] == "project.*"
    text = alice.get(page).content.decode()
    assert "Waits" in text
    assert "Make the file" not in text, "one at a time"
    services.make_export(export_id=row.pk)
    text = alice.get(page).content.decode()
    assert "Ready" in text
    assert "by Alice" in text
    assert b"project.created" in gzip.decompress(b"".join(alice.get(f"{page}/{row.pk}").streaming_content))
    assert Api(cast.dora).client.get(page).status_code == 403
