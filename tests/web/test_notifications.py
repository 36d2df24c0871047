"""Notifications: who is told what, once; what is read; the bell, the page, the socket."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.db import connections

from apps.accounts import services as accounts
from apps.accounts.permissions import ROLE_CAPABILITIES
from apps.core.clock import now
from apps.core.errors import NotFound
from apps.core.tenancy import org_scope
from apps.events.contracts import Envelope
from apps.events.registry import subscriptions, subscriptions_of
from apps.identity.models import User
from apps.notify import services
from apps.notify.contracts import Draft
from apps.notify.models import Notification
from apps.notify.selectors import latest_notes, unread_count
from apps.projects.jobs import expiring_keys
from apps.projects.services import create_api_key, revoke_api_key, rotate_api_key
from tests.cast import published
from tests.web.conftest import Cast, make_cast
from tests.web.sockets import Socket


def vic() -> UUID:
    return User.objects.get(email="vic@loom.test").pk


def tell(cast: Cast, title: str = "Something happened", event_id: UUID | None = None, **fields: Any) -> int:
    return services.tell(
        org_ids=[cast.org.id], kind="test", drafts=[Draft(title=title, **fields)], event_id=event_id or uuid4()
    )


def reader(cast: Cast, user_id: UUID | None = None, role: str = "owner") -> dict[str, Any]:
    return {"org_id": cast.org.id, "user_id": user_id or cast.olive.id, "capabilities": ROLE_CAPABILITIES[role]}


def happened(cast: Cast, type_: str, data: dict[str, Any], *, org: bool = True) -> Envelope:
    return Envelope.from_dict(
        {
            "id": str(uuid4()), "type": type_, "source": "test", "timestamp": now().isoformat(), "version": "1.0",
            "correlation_id": "c", "data": data, "metadata": {"org_id": str(cast.org.id)} if org else {},
        },
        topic="audit.log", key="k",
    )  # fmt: skip


def deliver(cast: Cast, envelope: Envelope, times: int = 1) -> None:
    """What the bus does, as often as it likes, to those who tell people."""
    for _ in range(times):
        for subscription in subscriptions_of(envelope.type):
            if subscription.name.startswith("notify.tell_"):
                with org_scope(cast.org.id):
                    subscription.handler(envelope)


def titles(cast: Cast, user_id: UUID | None = None, role: str = "owner") -> list[str]:
    return [note.title for note in latest_notes(**reader(cast, user_id, role))]


# ---------------------------------------------------------------- telling
def test_an_event_that_is_delivered_twice_is_told_once(cast: Cast) -> None:
    event_id = uuid4()
    assert tell(cast, event_id=event_id) == 1
    assert tell(cast, event_id=event_id) == 0
    assert unread_count(**reader(cast)) == 1
    deliver(cast, happened(cast, "usage.model_unpriced", {"model": "new-1", "events": 3}), times=3)
    deliver(cast, happened(cast, "usage.model_unpriced", {"model": "new-1", "events": 5}))
    assert titles(cast) == ["new-1 has no price", "Something happened"]


def test_only_those_who_hold_the_capability_are_told(cast: Cast) -> None:
    tell(cast, "For admins", capability="member.manage")
    tell(cast, "For Vic", recipient_id=vic())
    tell(cast, "For all but Vic", except_id=vic())
    assert titles(cast) == ["For all but Vic", "For admins"]
    assert titles(cast, vic(), "viewer") == ["For Vic"]
    assert "For Vic" not in cast.owner.get(cast.url("notifications")).content.decode()
    assert cast.stranger.get(cast.url("notifications")).status_code == 404


@pytest.mark.parametrize(
    ("type_", "data", "org", "title"),
    [
        ("member.removed", {"role": "viewer"}, True, "Vic is no longer a member"),
        ("member.added", {"role": "viewer"}, True, "Vic joined"),
        ("member.role_changed", {"role": "admin", "previous_role": "viewer"}, True, "Vic is now admin"),
        ("org.updated", {"changed": ["status"]}, True, "The organisation was resumed"),
        (
            "usage.import_finished",
            {"import_id": "01a209e4-215f-7371-be17-514d2bfae41c", "name": "october.jsonl", "state": "failed",
             "failure": "Line 3 is no JSON.", "lines_read": 3,
             "accepted": 2, "duplicates": 0, "rejected": 1, "repeated": 0},
            True, "october.jsonl could not be imported",
        ),
        (
            "usage.repriced",
            {"model": "m", "looked_at": 9, "changed": 4, "cost_before_usd": "0", "cost_after_usd": "1.5"},
            True, "m repriced",
        ),
    ],
)  # fmt: skip
def test_what_happens_is_put_into_words(cast: Cast, type_: str, data: dict[str, Any], org: bool, title: str) -> None:
    ids = {"user_id": str(vic()), "org_id": str(cast.org.id)}
    deliver(cast, happened(cast, type_, ids | data, org=org), times=2)
    assert titles(cast) == [title]


def test_what_is_nothing_new_is_not_told(cast: Cast) -> None:
    deliver(cast, happened(cast, "org.updated", {"org_id": str(cast.org.id), "changed": ["name"]}))
    none = {"model": "m", "looked_at": 9, "changed": 0, "cost_before_usd": "0", "cost_after_usd": "0"}
    deliver(cast, happened(cast, "usage.repriced", none))
    assert titles(cast) == []


def test_a_stuck_drain_is_told_to_the_admins_of_those_who_wait(cast: Cast, send: Any) -> None:
    from apps.usage.ingest.inbox import slot_of
    from tests.web.conftest import event

    send(event())
    data = {"shard": 0, "slots": [slot_of(cast.org.id)], "waiting_events": 7, "lag_seconds": 99.0, "flushed_at": None}
    deliver(cast, happened(cast, "usage.drain_stalled", data, org=False), times=2)
    assert titles(cast) == ["Counting is delayed"]
    assert titles(cast, vic(), "viewer") == []
    free = data | {"slots": [(slot_of(cast.org.id) + 1) % 32]}
    deliver(cast, happened(cast, "usage.drain_stalled", free, org=False))
    assert len(titles(cast)) == 1


def test_keys_are_told_of_to_who_manages_them_and_to_their_owner(cast: Cast) -> None:
    make = {"org_id": cast.org.id, "project_id": cast.project.id, "scopes": ["ingest"], "owner_id": vic()}
    revoked, _ = create_api_key(**make, name="old")
    rotated, _ = create_api_key(**make, name="nightly")
    create_api_key(**make, name="ending", expires_at=now() + timedelta(days=7, hours=1))
    revoke_api_key(org_id=cast.org.id, project_id=cast.project.id, key_id=revoked.id)
    rotate_api_key(org_id=cast.org.id, project_id=cast.project.id, key_id=rotated.id)
    told = expiring_keys()
    assert told == len(published("key.expiring"))
    for type_ in ("key.revoked", "key.rotated", "key.expiring"):
        for data in published(type_):
            deliver(cast, happened(cast, type_, data), times=2)
    expected = {"Key old was revoked", "Key nightly was replaced"}
    ends = [title for title in titles(cast) if title.startswith("Key ending ends on")]
    assert len(ends) == told
    assert set(titles(cast)) - set(ends) == expected
    assert set(titles(cast, vic(), "viewer")) - set(ends) == expected


def test_every_kind_has_a_subscription_of_its_own(cast: Cast) -> None:
    names = {name for name in subscriptions() if name.startswith("notify.tell_")}
    assert {"notify.tell_import", "notify.tell_member_joined", "notify.tell_key_rotated"} <= names


# ---------------------------------------------------------------- reading
def test_each_person_reads_for_themselves(cast: Cast) -> None:
    tell(cast, "One")
    tell(cast, "Two")
    one = latest_notes(**reader(cast))[-1]
    services.mark_read(**reader(cast), notification_id=one.id)
    services.mark_read(**reader(cast), notification_id=one.id)
    assert [(note.title, note.is_read) for note in latest_notes(**reader(cast))] == [("Two", False), ("One", True)]
    assert unread_count(**reader(cast, vic(), "viewer")) == 2
    assert [note.title for note in latest_notes(**reader(cast), only_unread=True)] == ["Two"]


def test_all_are_read_up_to_what_was_shown(cast: Cast) -> None:
    tell(cast, "Shown")
    shown = latest_notes(**reader(cast))[0]
    tell(cast, "Came since")
    services.mark_all_read(**reader(cast), newest_id=shown.id)
    assert [note.title for note in latest_notes(**reader(cast), only_unread=True)] == ["Came since"]
    services.mark_all_read(**reader(cast))
    assert unread_count(**reader(cast)) == 0
    # An older page that is sent late takes nothing back.
    services.mark_all_read(**reader(cast), newest_id=shown.id)
    assert unread_count(**reader(cast)) == 0


def test_what_is_not_for_somebody_they_cannot_read(cast: Cast) -> None:
    tell(cast, "For admins", capability="member.manage")
    note = latest_notes(**reader(cast))[0]
    with pytest.raises(NotFound):
        services.mark_read(**reader(cast, vic(), "viewer"), notification_id=note.id)
    assert cast.viewer.post(cast.url(f"notifications/{note.id}/read")).status_code == 404
    assert cast.viewer.post(cast.url("notifications/read"), {"newest": str(note.id)}).status_code == 404
    assert cast.viewer.post(cast.url("notifications/read"), {"newest": "x"}).status_code == 400


def test_whoever_joins_is_not_told_what_was_before(cast: Cast) -> None:
    tell(cast, "Before")
    joined = happened(cast, "member.added", {"org_id": str(cast.org.id), "user_id": str(vic()), "role": "viewer"})
    for subscription in subscriptions_of("member.added"):
        if subscription.name == "notify.begin":
            subscription.handler(joined)
    tell(cast, "After")
    assert [note.title for note in latest_notes(**reader(cast, vic(), "viewer"), only_unread=True)] == ["After"]


def test_they_are_kept_for_ninety_days(cast: Cast) -> None:
    tell(cast, "Old")
    tell(cast, "New")
    with org_scope(cast.org.id):
        old = Notification.objects.filter(title="Old")
        services.mark_read(**reader(cast), notification_id=old.get().pk)
        old.update(created_at=now() - timedelta(days=91))
    assert services.prune_notifications() == 1
    assert titles(cast) == ["New"]


# ---------------------------------------------------------------- pages
def test_the_bell_and_the_page_tell_and_read_without_scripts(cast: Cast) -> None:
    tell(cast, "Key <b> was revoked", link="projects/shuttle", tone="warn", body="Of project Shuttle.")
    page = cast.owner.get(cast.url("usage")).content.decode()
    assert 'aria-label="Notifications, 1 unread"' in page
    shown = cast.owner.get(cast.url("notifications")).content.decode()
    assert "Key &lt;b&gt; was revoked" in shown
    assert f'href="{cast.url("projects/shuttle")}"' in shown
    note = latest_notes(**reader(cast))[0]
    answer = cast.owner.post(cast.url(f"notifications/{note.id}/read"))
    assert answer["Location"] == cast.url("notifications")
    assert 'aria-label="Notifications, 0 unread"' in cast.owner.get(cast.url("usage")).content.decode()
    assert "Nothing unread" in cast.owner.get(cast.url("notifications?unread=1")).content.decode()
    away = cast.owner.post(cast.url("notifications/read"), {"to": "//evil.test/o/"})
    assert away["Location"] == cast.url("notifications")


def test_the_history_is_paged(cast: Cast) -> None:
    for number in range(3):
        tell(cast, f"News {number}")
    first = cast.owner.get(cast.url("notifications?limit=2"))
    cursor = first.context["next_cursor"]
    assert [note.title for note in first.context["notes"]] == ["News 2", "News 1"]
    second = cast.owner.get(cast.url("notifications"), {"limit": "2", "cursor": cursor})
    assert [note.title for note in second.context["notes"]] == ["News 0"]
    assert cast.owner.get(cast.url("notifications?cursor=nonsense")).status_code == 400


def test_the_drawer_and_the_count_are_small_answers(cast: Cast) -> None:
    assert cast.owner.get(cast.url("notifications/unread")).json() == {"count": 0, "text": "0", "newest": None}
    tell(cast, "News")
    answer = cast.owner.get(cast.url("notifications/unread")).json()
    assert (answer["count"], answer["newest"]["title"]) == (1, "News")
    drawer = cast.owner.get(cast.url("notifications/latest")).content.decode()
    assert "<html" not in drawer
    assert "1 unread" in drawer
    note = latest_notes(**reader(cast))[0]
    read = cast.owner.post(cast.url(f"notifications/{note.id}/read"), headers={"X-Requested-With": "fetch"})
    assert read.status_code == 204


def test_a_suspended_organisation_tells_of_it_when_it_is_back(cast: Cast) -> None:
    accounts.suspend_organization(org_id=cast.org.id, reason="unpaid")
    deliver(cast, happened(cast, "org.updated", {"org_id": str(cast.org.id), "changed": ["status"]}))
    accounts.resume_organization(org_id=cast.org.id, reason="paid")
    deliver(cast, happened(cast, "org.updated", {"org_id": str(cast.org.id), "changed": ["status"]}))
    assert titles(cast) == ["The organisation was resumed", "The organisation was suspended"]


# ---------------------------------------------------------------- live
@pytest_asyncio.fixture
async def _no_connection_left() -> AsyncIterator[None]:
    yield
    await sync_to_async(connections.close_all)()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("transactional_db", "_no_connection_left")
@pytest.mark.asyncio
async def test_open_pages_of_the_organisation_alone_are_told_to_look() -> None:
    cast = await sync_to_async(make_cast)()
    mine = await Socket(cast.owner, cast.org.slug).open()
    theirs = await Socket(cast.stranger, cast.other.slug).open()
    await mine.news()
    await theirs.news()
    await sync_to_async(tell)(cast)
    assert await asyncio.wait_for(mine.news(), 5) == {"kind": "notifications"}
    assert await theirs.is_silent()
    await mine.close()
    await theirs.close()
