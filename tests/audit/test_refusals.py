"""What is refused, and what sensitive is read: told at once, then counted, and told again when the window ends."""

import time

import pytest

from apps.audit import refusals
from apps.audit.models import AuditEntry
from apps.audit.refusals import tell_repeated
from apps.audit.services import record_refusal
from apps.core.clock import now
from apps.core.context import bind
from apps.core.contracts import Actor
from apps.core.ids import uuid7
from apps.projects import services as projects
from apps.usage.drain.shard import drain_now
from tests.cast import PASSWORD, Api, Cast, make_key, trail

LATER = 10_000.0


def refuse(**more) -> bool:
    values = {"action": "access.refused", "org_id": None, "target_type": "route", "target_id": "GET /x", **more}
    return record_refusal(**values)


def test_the_first_is_told_at_once_and_the_rest_in_one_entry(db) -> None:
    actor = Actor("user", id=uuid7(), label="dora@example.com", ip="192.0.2.3")
    with bind(actor=actor):
        assert [refuse(reason="no") for _ in range(5)] == [True, False, False, False, False]
    assert len(trail("access.refused")) == 1
    assert tell_repeated() == 0, "its window runs"
    assert tell_repeated(at=time.time() + LATER) == 1
    first, rest = trail("access.refused")
    assert first.changes == {}
    assert rest.changes == {"repeated": [None, 4]}
    assert (rest.actor_id, rest.actor_label, rest.ip, rest.reason) == (actor.id, actor.label, actor.ip, "no")
    assert tell_repeated(at=time.time() + 2 * LATER) == 0


def test_one_that_was_not_repeated_is_told_once(db) -> None:
    refuse()
    assert tell_repeated(at=time.time() + LATER) == 0
    assert len(trail("access.refused")) == 1


def test_after_its_window_the_next_is_told_at_once_again(db) -> None:
    refuse()
    tell_repeated(at=time.time() + LATER)
    refusals.forget_seen()
    assert refuse()


@pytest.mark.parametrize("other", [{"key": "b"}, {"target_id": "GET /y"}, {"action": "access.refused_foreign"}])
def test_another_kind_is_told_by_itself(db, other) -> None:
    assert refuse()
    assert refuse(**other)


def test_too_many_kinds_at_once_are_not_told_each(db, monkeypatch) -> None:
    monkeypatch.setattr(refusals, "MOST", 3)
    assert [refuse(target_id=f"GET /{number}") for number in range(5)] == [True, True, True, False, False]


def test_without_redis_the_first_of_each_kind_is_told(db, settings) -> None:
    settings.RATE_LIMIT_REDIS_URL = "redis://127.0.0.1:1/0"
    assert [refuse() for _ in range(3)] == [True, False, False]


# ---------------------------------------------------------------- where it happens
def test_what_a_role_lacks_is_told_to_its_organisation(cast: Cast) -> None:
    dora = Api(cast.dora)
    for _ in range(3):
        assert dora.post(f"/orgs/{cast.org.id}/projects", {"name": "Mine"}).status_code == 403
    (entry,) = trail("access.refused")
    assert (entry.org_id, entry.actor_id) == (cast.org.id, cast.dora.id)
    assert entry.target_id == "POST /orgs/<uuid:org_id>/projects"
    assert entry.changes["capability"] == [None, "project.manage"]


def test_a_page_without_the_capability_is_told_too(cast: Cast) -> None:
    assert Api(cast.dora).get(f"/o/{cast.org.slug}/settings/audit").status_code == 403
    (entry,) = trail("access.refused")
    assert (entry.org_id, entry.actor_id) == (cast.org.id, cast.dora.id)
    assert entry.changes["capability"] == [None, "audit.read"]


def test_a_key_without_the_scope_is_told_to_its_organisation(cast: Cast) -> None:
    key, token = make_key(cast, scopes=("ingest",))
    assert Api(token=token).get("/audit").status_code == 403
    (entry,) = trail("access.refused")
    assert (entry.org_id, entry.actor_kind, entry.actor_id) == (cast.org.id, "key", key.id)
    assert entry.changes["code"] == [None, "scope_missing"]


def test_asking_for_another_organisation_is_told_to_staff_and_not_to_it(cast: Cast) -> None:
    assert Api(cast.charlie).get(f"/orgs/{cast.org.id}/projects").status_code == 404
    assert Api(cast.charlie).get(f"/o/{cast.org.slug}/").status_code == 404
    one, two = trail("access.refused_foreign")
    assert {one.org_id, two.org_id} == {None}
    assert {one.target_id, two.target_id} == {str(cast.org.id)}
    assert one.actor_id == cast.charlie.id


def test_a_revoked_key_that_is_used_is_told(cast: Cast) -> None:
    key, token = make_key(cast)
    projects.revoke_api_key(org_id=cast.org.id, project_id=cast.project.id, key_id=key.id)
    assert Api(token=token).get("/v1/events").status_code == 401
    (entry,) = trail("key.refused")
    assert (entry.org_id, entry.target_id, entry.reason) == (cast.org.id, str(key.id), "revoked")


def test_refused_sign_ins_are_told_once_and_counted(cast: Cast) -> None:
    body = {"email": cast.alice.email, "password": "wrong"}
    for _ in range(3):
        assert Api().post("/auth/login", body).status_code == 401
    assert len(trail("user.login_refused", target_id=str(cast.alice.id))) == 1
    tell_repeated(at=time.time() + LATER)
    *_, rest = trail("user.login_refused", target_id=str(cast.alice.id))
    assert rest.changes == {"repeated": [None, 2]}
    assert Api().post("/auth/login", {**body, "password": PASSWORD}).status_code == 200


def test_reading_the_trail_is_told_once_an_hour(cast: Cast) -> None:
    alice = Api(cast.alice)
    for _ in range(3):
        assert alice.get("/audit").status_code == 200
    (entry,) = trail("data.read")
    assert (entry.org_id, entry.actor_id, entry.target_label) == (cast.org.id, cast.alice.id, "audit log")
    assert AuditEntry  # the trail itself tells who looked


def test_reads_of_raw_events_and_lists_of_keys_are_told_once_an_hour(cast: Cast) -> None:
    _, token = make_key(cast)
    event = {
        "event_id": str(uuid7()), "timestamp": now().isoformat(), "event_type": "api_call", "model": "claude-opus-4-5",
        "session_id": "s",
    }  # fmt: skip
    assert Api(token=token).post("/v1/events", {"events": [event]}).status_code == 202
    drain_now()
    here = f"/o/{cast.org.slug}"
    reads = {
        "raw events": [
            "/v1/events", f"/v1/events/{event['event_id']}", "/v1/sessions/s", f"{here}/events",
            f"{here}/events/{event['event_id']}", f"{here}/session?id=s",
        ],
        "API keys": [
            f"/projects/{cast.project.id}/keys", f"{here}/settings/keys", f"{here}/projects/{cast.project.slug}",
        ],
    }  # fmt: skip
    alice = Api(cast.alice)
    for what, paths in reads.items():
        for path in paths:
            assert alice.get(path).status_code == 200, path
        (entry,) = [each for each in trail("data.read") if each.target_label == what]
        assert (entry.org_id, entry.actor_id) == (cast.org.id, cast.alice.id)
        assert alice.get(f"{here}/{'events' if what == 'raw events' else 'settings/keys'}.csv").status_code == 200
        assert len(trail("data.read", target_id=what)) == 2, "a file is told for itself"
    tell_repeated(at=time.time() + LATER)
    assert [each.changes for each in trail("data.read", target_id="raw events")][2:] == [{"repeated": [None, 5]}]


def test_a_key_that_reads_events_is_told_as_itself_and_a_refused_read_is_none(cast: Cast) -> None:
    key, token = make_key(cast)
    assert Api(token=token).get("/v1/events").status_code == 200
    (entry,) = trail("data.read")
    assert (entry.actor_kind, entry.actor_id, entry.target_label) == ("key", key.id, "raw events")
    assert Api(cast.alice).get(f"/v1/events/{uuid7()}").status_code == 404
    assert Api(cast.charlie).get(f"/projects/{cast.project.id}/keys").status_code == 404
    assert len(trail("data.read")) == 1
