"""Erasing an organisation: every row of it and none of another's, whatever kills the work on its way."""

import json
import zipfile
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection

from apps.accounts import erasure, services
from apps.accounts.models import Organization, OrgExport, OrgTombstone
from apps.accounts.org_exports import file_of
from apps.analytics.services import create_view
from apps.audit.services import forget_person
from apps.core import orgdata
from apps.core.clock import now
from apps.core.errors import Conflict, NotFound
from apps.core.orgdata import OrgArea, org_areas
from apps.core.tenancy import OrgScopedModel, system_scope
from apps.notify.contracts import Draft
from apps.notify.services import tell
from apps.projects.selectors import key_authenticate
from apps.teams import services as teams
from apps.usage.contracts import EventIn
from apps.usage.drain.fold import fold_all
from apps.usage.drain.shard import drain_now
from apps.usage.services import ingest, register_tag_key
from tests.cast import Api, Cast, make_key, published, trail
from tests.teams.mail import mails_to

# What keeps rows of an organisation that is gone, each with its reason.
STAYS = {
    "audit_entry": "the trail must be verified",
    "audit_key": "says of each destroyed key that there was one",
    "audit_chain": "the trail must be verified",
    "audit_checkpoint": "the trail must be verified",
    "events_outbox": "the bus forgets after seven days",
    "events_event": "the bus forgets after seven days",
    "events_delivery": "the bus forgets after seven days",
    "core_idempotencyrecord": "answers are forgotten after a day",
}


def fill(cast: Cast, org, key_token: str, owner) -> None:
    """Something of every kind for an organisation."""
    teams.invite_member(org_id=org.id, email=f"{uuid4().hex[:8]}@example.com", role="viewer", by_user_id=owner.id)
    create_view(org_id=org.id, user_id=owner.id, page="usage", name="Ours", query="by=team")
    tell(org_ids=[org.id], kind="test", drafts=[Draft(title="News")], event_id=uuid4())
    register_tag_key(org_id=org.id, key="region")
    services.create_role(org_id=org.id, name="Weaver", capabilities=["org.read", "usage.read"])
    key = key_authenticate(key_token)
    assert key is not None
    events = [
        EventIn(
            event_id=str(uuid4()), timestamp=now().isoformat(), event_type="api_call", model="claude-haiku-4-5",
            input_tokens=10, output_tokens=5, latency_ms=100, session_id=f"s{number % 3}", metadata=b'{"region": "eu"}',
        )
        for number in range(20)
    ]  # fmt: skip
    assert ingest(key=key, events=events).rejected == []
    drain_now()
    fold_all()


@pytest.fixture
def filled(cast: Cast) -> Cast:
    _, token = make_key(cast)
    _, theirs = make_key(cast, org_id=cast.elsewhere.id, project_id=cast.their_project.id)
    fill(cast, cast.org, token, cast.alice)
    fill(cast, cast.elsewhere, theirs, cast.charlie)
    return cast


def rows_of(org_id) -> dict[str, int]:
    """Table → rows of the organisation, of every table in the database that knows organisations."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
            " JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'"
            " WHERE NOT a.attisdropped AND NOT c.relispartition AND c.relkind IN ('r', 'p')"
            " AND (a.attname = 'org_id' OR (a.attname = 'org' AND c.relname LIKE 'usage%'))"
        )
        tables = cursor.fetchall()
        cursor.execute("SELECT id FROM usage_org WHERE org_id = %s", [org_id])
        number = (cursor.fetchone() or [None])[0]
        found = {}
        for table, column in tables:
            cursor.execute(
                f"SELECT count(*) FROM {table} WHERE {column}::text = %s",
                [str(org_id if column == "org_id" else number)],
            )
            if count := cursor.fetchone()[0]:
                found[table] = count
    return found


def due(cast: Cast) -> None:
    services.delete_organization(org_id=cast.org.id)
    Organization.objects.filter(pk=cast.org.id).update(erase_at=now() - timedelta(seconds=1))


def left_of(cast: Cast) -> dict[str, int]:
    return {table: count for table, count in rows_of(cast.org.id).items() if table not in STAYS}


def test_every_table_of_an_organisation_is_emptied_and_nobody_elses(filled: Cast) -> None:
    before = rows_of(filled.elsewhere.id)
    assert len(rows_of(filled.org.id)) >= 20, "the test fills what it looks at"
    number = len(trail("project.created"))
    due(filled)
    assert services.erase_organization(org_id=filled.org.id, seconds=600)
    assert left_of(filled) == {}
    assert Organization.objects.filter(pk=filled.org.id).count() == 0
    assert rows_of(filled.elsewhere.id) == before
    assert len(trail("project.created")) == number, "the trail stays"
    [entry] = trail("org.erased")
    assert (entry.org_id, entry.erased) == (filled.org.id, True)
    [made] = trail("project.created", org_id=filled.org.id)
    assert made.erased
    assert "Weaver" not in f"{made.target_label} {made.changes}", "what it said cannot be read any more"
    assert [each.target_label for each in trail("project.created", org_id=filled.elsewhere.id)] == ["Theirs"]
    stone = OrgTombstone.objects.get(pk=filled.org.id)
    assert stone.erased_at is not None
    assert stone.counts["accounts.Membership"] == 5
    assert stone.counts["usage_org"] == 1
    assert published("org.erased") == [{"org_id": str(filled.org.id), "rows": sum(stone.counts.values())}]


def test_the_work_goes_on_where_it_was_killed(filled: Cast, monkeypatch) -> None:
    """In batches of two rows, and dead after each third one of them."""
    before = rows_of(filled.elsewhere.id)
    due(filled)
    real, calls = org_areas(), 0

    def dying(area: OrgArea) -> OrgArea:
        def erase(org_id, limit):
            nonlocal calls
            deleted = area.erase(org_id, limit)
            calls += bool(deleted)
            if deleted and calls % 3 == 0:
                raise RuntimeError("killed")
            return deleted

        return OrgArea(area.key, area.tables, erase)

    monkeypatch.setattr(erasure, "org_areas", lambda: [dying(area) for area in real])
    deaths, done = 0, False
    while not done:
        try:
            done = services.erase_organization(org_id=filled.org.id, seconds=600, batch=2)
        except RuntimeError:
            deaths += 1
            with pytest.raises(Conflict):
                services.restore_organization(org_id=filled.org.id, by_user_id=None, reason="too late")
    assert deaths > 3
    assert left_of(filled) == {}
    assert rows_of(filled.elsewhere.id) == before
    assert len(trail("org.erasure_started")) == len(trail("org.erased")) == 1
    assert OrgTombstone.objects.get(pk=filled.org.id).counts["accounts.Membership"] == 5, "each row is counted once"


def test_without_time_it_stops_after_a_batch_and_goes_on_later(filled: Cast) -> None:
    due(filled)
    assert not services.erase_organization(org_id=filled.org.id, seconds=0)
    assert services.erase_due(seconds=600) == {"erased": 1, "left": 0}
    assert left_of(filled) == {}


def test_its_short_name_is_free_again(cast: Cast) -> None:
    due(cast)
    with pytest.raises(Conflict):
        services.update_organization(org_id=cast.elsewhere.id, changes={"slug": "wonder-looms"})
    services.erase_organization(org_id=cast.org.id, seconds=600)
    assert services.update_organization(org_id=cast.elsewhere.id, changes={"slug": "wonder-looms"}).slug == (
        "wonder-looms"
    )


def test_every_model_of_an_organisation_is_in_an_area() -> None:
    """By its app; and those that are not Django's are named by the app's own area."""
    from django.apps import apps

    from apps.usage.orgdata import ENGINE_TABLES

    areas = {area.key for area in org_areas()}
    for model in apps.get_models():
        if issubclass(model, OrgScopedModel) and model._meta.db_table not in STAYS:
            assert model._meta.app_label in areas
            assert model._meta.managed or model._meta.db_table in ENGINE_TABLES, model


# ---------------------------------------------------------------- exporting
def test_an_export_has_all_of_it_and_no_secret(filled: Cast) -> None:
    answer = Api(filled.alice).post(f"/orgs/{filled.org.id}/export")
    assert answer.status_code == 202
    again = Api(filled.alice).post(f"/orgs/{filled.org.id}/export")
    assert (again.status_code, again.json()["code"]) == (409, "export_running")
    with system_scope("the test looks at all"):
        row = OrgExport.objects.get()
    assert services.make_export(export_id=row.pk)
    seen = Api(filled.alice).get(f"/orgs/{filled.org.id}/export").json()
    assert (seen["state"], seen["tables_done"], seen["download_path"]) == (
        "ready", seen["tables_total"], f"/org-exports/{row.pk}"
    )  # fmt: skip
    [mail] = mails_to("alice@example.com", "org_export")
    assert f"/org-exports/{row.pk}" in mail.text
    with zipfile.ZipFile(file_of(row.pk)) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        members = [json.loads(line) for line in archive.read("accounts/members.jsonl").splitlines()]
        events = [json.loads(line) for line in archive.read("usage/events.jsonl").splitlines()]
        names = archive.namelist()
        everything = b"".join(archive.read(name) for name in names)
    assert {member["user__email"] for member in members} == {
        f"{name}@example.com" for name in ("alice", "erin", "bob", "frank", "dora")
    }
    assert len(events) == 20
    assert manifest["rows"]["usage/days.jsonl"] >= 1
    assert b"org.export_requested" in everything
    assert b"Wonder Looms" in everything, "the trail is opened before it is written"
    assert b"digest" not in everything
    assert b"charlie@example.com" not in everything
    assert oct(file_of(row.pk).stat().st_mode)[-3:] == "600"


def test_only_the_owner_who_asked_fetches_it_and_only_for_its_time(cast: Cast) -> None:
    services.add_member(org_id=cast.org.id, user_id=cast.charlie.id, role="owner")
    row = services.request_export(org_id=cast.org.id, by_user_id=cast.alice.id)
    path = f"/org-exports/{row.pk}"
    assert Api(cast.alice).get(path).status_code == 404, "it is not made yet"
    services.make_export(export_id=row.pk)
    refused = {who: Api(person).get(path).status_code for who, person in (("erin", cast.erin), ("other", cast.charlie))}
    assert refused == {"erin": 404, "other": 404}
    assert Api().get(path).status_code == 401
    answer = Api(cast.alice).get(path)
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/zip")
    assert b"".join(answer.streaming_content)[:2] == b"PK"
    assert len(trail("org.export_fetched")) == 1
    services.delete_organization(org_id=cast.org.id)
    assert Api(cast.alice).get(path).status_code == 200, "its end does not end its export"
    with system_scope("the test turns the clock"):
        OrgExport.objects.update(expires_at=now())
        assert Api(cast.alice).get(path).status_code == 404
        assert services.sweep_exports()["removed"] == 1
    assert not file_of(row.pk).exists()


def test_an_export_is_gone_once_somebody_in_it_was_erased(cast: Cast) -> None:
    row = services.request_export(org_id=cast.org.id, by_user_id=cast.alice.id)
    services.make_export(export_id=row.pk)
    assert Api(cast.alice).get(f"/org-exports/{row.pk}").status_code == 200
    forget_person(user_id=cast.bob.id)
    assert Api(cast.alice).get(f"/org-exports/{row.pk}").status_code == 404
    with system_scope("the test plays the clock"):
        assert services.sweep_exports()["removed"] == 1
    assert not file_of(row.pk).exists()


def test_an_export_whose_worker_died_is_made_anew_and_then_given_up(cast: Cast, monkeypatch) -> None:
    row = services.request_export(org_id=cast.org.id, by_user_id=cast.alice.id)
    with system_scope("the test plays the clock"):
        OrgExport.objects.update(state="running", seen_at=now() - timedelta(minutes=6), attempts=1)
        assert services.sweep_exports()["again"] == 1
        OrgExport.objects.update(seen_at=now() - timedelta(minutes=6), attempts=3)
        assert services.sweep_exports()["failed"] == 1
        assert OrgExport.objects.get().state == "failed"
    assert not services.make_export(export_id=row.pk)


def test_an_export_that_fails_says_so_and_leaves_no_file(cast: Cast, monkeypatch) -> None:
    row = services.request_export(org_id=cast.org.id, by_user_id=cast.alice.id)

    def broken():
        raise OSError("the disk is full")

    monkeypatch.setitem(orgdata._areas, "teams", OrgArea("teams", broken, lambda org_id, limit: {}))
    assert not services.make_export(export_id=row.pk)
    with system_scope("the test looks at all"):
        assert OrgExport.objects.get().state == "failed"
    assert not file_of(row.pk).with_suffix(".part").exists()
    [mail] = mails_to("alice@example.com", "org_export_failed")
    assert "could not be made. OSError: it could not be written" in mail.text
    with pytest.raises(NotFound):
        services.fetch_export(export_id=row.pk, by_user_id=cast.alice.id)


@pytest.mark.parametrize("who", ["erin", "bob", "dora", "charlie"])
def test_nobody_but_an_owner_exports(cast: Cast, who: str) -> None:
    refused = 404 if who == "charlie" else 403
    assert Api(getattr(cast, who)).post(f"/orgs/{cast.org.id}/export").status_code == refused
    assert trail("org.export_requested") == []
