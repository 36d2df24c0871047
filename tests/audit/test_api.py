from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.accounts import services as accounts
from apps.audit.services import forget_person, record
from apps.core import clock
from apps.core.context import bind
from apps.core.contracts import Actor
from apps.core.ids import uuid7
from apps.identity.models import User

ACTION, OTHER = "bus.subscription_paused", "job.enabled"
START = datetime(2026, 11, 1, tzinfo=UTC)


def person(name: str) -> User:
    user = User(email=f"{name}@example.com", name=name)
    user.save()
    return user


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def alice(db) -> User:
    return person("alice")


@pytest.fixture
def org(alice) -> UUID:
    return accounts.create_organization(owner_id=alice.pk, name="Wonderland").id


@pytest.fixture
def api(alice) -> Client:
    return signed_in(alice)


def act(org_id: UUID | None, *, days: int = 0, action: str = ACTION, actor: Actor | None = None, **more) -> None:
    """Something that was done on a day of November."""
    values = {"target_type": "test", "target_id": "t-1", **more}
    with (
        clock.freeze(START + timedelta(days=days)),
        bind(correlation_id="c-1", actor=actor or Actor("system")),
        transaction.atomic(),
    ):
        record(action=action, org_id=org_id, **values)


def read(api: Client, org: UUID, **query) -> list[dict]:
    response = api.get("/audit", query, headers={"X-Org-Id": str(org)})
    assert response.status_code == 200, response.content
    return response.json()["data"]


def test_an_owner_reads_the_trail_newest_first(api, alice, org) -> None:
    actor = Actor("user", id=alice.pk, label=alice.email, ip="192.0.2.7", user_agent="Firefox")
    act(org, days=1, actor=actor, target_label="T", before={"n": 1}, after={"n": 2}, reason="why not")
    act(org, days=2)
    newest, oldest = read(api, org, target_type="test")
    assert newest["occurred_at"] > oldest["occurred_at"]
    del oldest["id"]
    assert oldest == {
        "occurred_at": "2026-11-02T00:00:00Z",
        "action": ACTION,
        "actor": {
            "kind": "user",
            "id": str(alice.pk),
            "label": "alice@example.com",
            "impersonator_id": None,
            "ip": "192.0.2.7",
            "user_agent": "Firefox",
        },
        "target": {"type": "test", "id": "t-1", "label": "T"},
        "changes": {"n": [1, 2]},
        "reason": "why not",
        "correlation_id": "c-1",
        "is_erased": False,
    }


def test_the_trail_of_another_organisation_is_not_read(api, org) -> None:
    mallory = person("mallory")
    theirs = accounts.create_organization(owner_id=mallory.pk, name="Elsewhere").id
    act(theirs)
    act(None)
    assert read(api, org, target_type="test") == []
    assert api.get("/audit", headers={"X-Org-Id": str(theirs)}).status_code == 404


@pytest.mark.parametrize(("role", "status"), [("admin", 200), ("billing", 403), ("developer", 403), ("viewer", 403)])
def test_reading_the_trail_takes_the_capability(org, role, status) -> None:
    bob = person("bob")
    accounts.add_member(org_id=org, user_id=bob.pk, role=role)
    assert signed_in(bob).get("/audit", headers={"X-Org-Id": str(org)}).status_code == status


def test_nobody_reads_the_trail_without_signing_in(org) -> None:
    assert Client().get("/audit", headers={"X-Org-Id": str(org)}).status_code == 401


def test_the_filters_narrow(api, org) -> None:
    somebody = uuid7()
    act(org, days=1)
    act(org, days=2, action=OTHER, target_id="t-2")
    act(org, days=3, target_type="other", actor=Actor("user", id=somebody))

    def days(**query) -> list[str]:
        return [entry["occurred_at"][8:10] for entry in read(api, org, **query) if entry["occurred_at"] < "2026-11-05"]

    assert days() == ["04", "03", "02"]
    assert days(action=OTHER) == ["03"]
    assert days(action="bus.*") == ["04", "02"]
    assert days(actor_id=str(somebody)) == ["04"]
    assert days(target_type="other") == ["04"]
    assert days(target_type="test", target_id="t-2") == ["03"]
    assert days(correlation_id="c-1") == ["04", "03", "02"]
    assert days(ip="192.0.2.1") == []
    assert days(start="2026-11-02T00:00:00Z", end="2026-11-04T00:00:00Z") == ["03", "02"], "half-open"


def test_entries_are_found_by_the_address_they_came_from(api, org) -> None:
    bob = uuid7()
    office = {"ip": "192.0.2.50"}
    act(org, days=1, actor=Actor("user", id=bob, label="bob@example.com", **office))
    act(org, days=2, actor=Actor("user", id=uuid7(), ip="2001:db8::1"))
    act(org, days=3, actor=Actor("key", id=uuid7(), **office))
    act(org, days=4, actor=Actor("anonymous", ip="::ffff:192.0.2.50"))
    act(uuid7(), days=5, actor=Actor("user", id=bob, **office))

    def days(ip: str) -> list[str]:
        return [entry["occurred_at"][8:10] for entry in read(api, org, ip=ip, target_type="test")]

    assert days("192.0.2.50") == ["05", "04", "02"], "of people, keys and strangers; of this organisation alone"
    assert days("2001:0db8:0:0::0001") == ["03"], "in any spelling"
    assert days("192.0.2.5") == []
    assert api.get("/audit", {"ip": "192.0.2"}, headers={"X-Org-Id": str(org)}).status_code == 400
    forget_person(user_id=bob)
    assert days("192.0.2.50") == ["05", "04"], "who was erased is not found by address any more"


def test_pages_follow_each_other_without_gap_or_repetition(api, org) -> None:
    for n in range(7):
        act(org, days=n % 2, target_id=f"t-{n}")
    seen, cursor = [], None
    while True:
        query = {"limit": 3, "target_type": "test"} | ({"cursor": cursor} if cursor else {})
        body = api.get("/audit", query, headers={"X-Org-Id": str(org)}).json()
        seen += [entry["target"]["id"] for entry in body["data"]]
        cursor = body["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == [f"t-{n}" for n in range(7)]
    assert {*seen[:3]} == {"t-1", "t-3", "t-5"}


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"actor_id": "x"}, "/actor_id"),
        ({"start": "yesterday"}, "/start"),
        ({"action": "a b"}, "/action"),
        ({"colour": "red"}, "/colour"),
        ({"limit": "0"}, "/limit"),
        ({"cursor": "x"}, "cursor"),
        ({"start": "2026-11-02T00:00:00Z", "end": "2026-11-02T00:00:00Z"}, "end"),
    ],
)
def test_a_filter_that_cannot_be_read_is_named(api, org, query, pointer) -> None:
    response = api.get("/audit", query, headers={"X-Org-Id": str(org)})
    assert response.status_code == 400
    assert response.json()["code"] == "validation_failed"
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


def test_what_an_owner_did_is_in_the_trail(api, org) -> None:
    [entry] = read(api, org, action="org.created")
    assert entry["target"]["label"] == "Wonderland"


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_there_is_no_way_to_write(api, org, method) -> None:
    response = getattr(api, method)("/audit", {}, content_type="application/json", headers={"X-Org-Id": str(org)})
    assert response.status_code == 405


def test_a_page_costs_the_same_number_of_queries_however_long(api, org) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            read(api, org)
        return len(captured)

    read(api, org)
    few = queries()
    for n in range(10):
        act(org, days=n)
    assert queries() == few
