"""What the usage engine does for others: take events in, keep tag keys, claim people, set prices."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F

from apps.audit.services import record
from apps.core import clock
from apps.core.errors import Conflict, NotFound, ValidationFailed
from apps.core.tenancy import org_scope
from apps.projects.contracts import KeyContext
from apps.usage.contracts import EventCore, IngestResult, Rejection
from apps.usage.ingest.attribution import directory_of, forget_directories
from apps.usage.ingest.columns import Built, Window, build
from apps.usage.ingest.committer import committer
from apps.usage.ingest.decode import MAX_EVENTS
from apps.usage.ingest.inbox import InboxRow, gauge, insert_again
from apps.usage.ingest.outside import note_outside
from apps.usage.models import Org, Person, TagKey
from apps.usage.pricing.writes import price_end, price_set
from apps.usage.telemetry import count_accepted, count_duplicates, count_rejected

__all__ = ["claim_person", "ingest", "price_end", "price_set", "register_tag_key", "remove_tag_key"]

MAX_TAG_KEYS = 20
# Up to this many events a request shares its commit with others; larger ones have their own, on their own thread.
GROUP_COMMIT_EVENTS = 200


def ingest(
    *,
    key: KeyContext,
    events: Sequence[EventCore],
    received_at: datetime | None = None,
    places: list[int] | None = None,
    rejected: Sequence[Rejection] = (),
    reserved: bool = False,
    check_nul: bool = True,
) -> IngestResult:
    """Take events in under ``key``: what is accepted is committed when this returns, and counted within the second.

    All of ``events`` are of one class (:class:`EventCore`, :class:`EventIn` or :class:`TelemetryEvent`). Inside a
    caller's transaction they are committed with it. ``places`` are the events' positions in what was sent, ``rejected``
    what was refused before. ``reserved`` may use the room kept for the gateways. Raises :class:`InboxFull`.
    """
    return commit(
        take(key=key, events=events, received_at=received_at, places=places, rejected=rejected, check_nul=check_nul),
        reserved=reserved,
    )


@dataclass(slots=True)
class Taken:
    """Events checked, attributed, priced and packed, yet to be committed."""

    key: KeyContext
    received: datetime
    parts: list[Built]
    rejected: list[Rejection]


def take(
    *,
    key: KeyContext,
    events: Sequence[EventCore],
    received_at: datetime | None = None,
    places: list[int] | None = None,
    rejected: Sequence[Rejection] = (),
    check_nul: bool = True,
) -> Taken:
    """The first half of :func:`ingest`, which is all computing; nothing is kept of it before :func:`commit`."""
    received = received_at or clock.now()
    taken = Taken(key, received, [], list(rejected))
    directory, window = directory_of(key.org_id), Window.of(key, received)
    for start in range(0, len(events), MAX_EVENTS):
        part = events[start : start + MAX_EVENTS]
        where = (
            places[start : start + MAX_EVENTS] if places else (list(range(start, start + len(part))) if start else None)
        )
        built = build(part, key=key, directory=directory, window=window, places=where, check_nul=check_nul)
        taken.parts.append(built)
        taken.rejected += built.rejected
    return taken


def commit(taken: Taken, *, reserved: bool = False) -> IngestResult:
    """The second half of :func:`ingest`: what was taken is durable when this returns. Raises :class:`InboxFull`."""
    accepted = duplicates = 0
    for built in taken.parts:
        if built.accepted:
            _commit(taken.key.org_id, taken.received, built, reserved=reserved)
        accepted += built.accepted
        duplicates += built.duplicates
        if built.outside:
            note_outside(taken.key, built.outside)
    count_accepted(accepted)
    count_duplicates("request", duplicates)
    count_rejected(taken.rejected)
    return IngestResult(accepted, duplicates, sorted(taken.rejected, key=lambda rejection: rejection.index))


def _commit(org_id: UUID, received: datetime, built: Built, *, reserved: bool) -> None:
    gauge.admit(built.accepted, reserved=reserved)
    row = InboxRow(org_id, received, built.accepted, built.frame)
    if connection.in_atomic_block or built.accepted > GROUP_COMMIT_EVENTS:
        insert_again([row], meanwhile=built.waste.clear)
    else:
        committer.commit(row)


def register_tag_key(*, org_id: UUID, key: str) -> UUID:
    """From now on events are counted by this metadata key too; at most 20 a organisation, 1,000 values a key."""
    name = key.strip()
    if not name or len(name) > 100 or "\0" in name:
        raise ValidationFailed(
            "A tag key has 1 to 100 characters", errors=[{"pointer": "/key", "detail": "1 to 100 characters"}]
        )
    with org_scope(org_id), transaction.atomic(), connection.cursor() as cursor:
        # Serialises registrations of one organisation, so that the bound holds.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 20))", [f"usage-tag-key-{org_id}"])
        if TagKey.objects.filter(key=name).exists():
            raise Conflict(f"{name!r} is a tag key already", code="tag_key_exists")
        if TagKey.objects.count() >= MAX_TAG_KEYS:
            raise Conflict(f"An organisation has at most {MAX_TAG_KEYS} tag keys", code="too_many_tag_keys")
        cursor.execute("INSERT INTO usage_tag_key (org_id, key) VALUES (%s, %s) RETURNING id", [org_id, name])
        tag_id: UUID = cursor.fetchone()[0]
        record(
            action="usage.tag_key_registered", org_id=org_id, target_type="tag_key", target_id=tag_id, target_label=name
        )
    forget_directories()
    return tag_id


def remove_tag_key(*, org_id: UUID, key: str) -> None:
    """Stop counting by a key; what was counted stays."""
    with org_scope(org_id), transaction.atomic():
        found = TagKey.objects.filter(key=key).first()
        if found is None:
            raise NotFound("There is no such tag key")
        TagKey.objects.filter(id=found.id).delete()
        record(
            action="usage.tag_key_removed", org_id=org_id, target_type="tag_key", target_id=found.id, target_label=key
        )
    forget_directories()


def claim_person(*, org_id: UUID, person_id: UUID, user_id: UUID) -> None:
    """Show an unclaimed person's usage as a member's, past and future; the events themselves stay as they were."""
    if str(user_id) not in directory_of(org_id).members:
        raise ValidationFailed("Only a member can claim", errors=[{"pointer": "/user_id", "detail": "not a member"}])
    with org_scope(org_id), transaction.atomic():
        person = Person.objects.filter(id=person_id).first()
        if person is None:
            raise NotFound("There is no such person")
        Person.objects.filter(id=person_id).update(claimed_by=user_id, claimed_at=clock.now())
        Org.objects.update(past_version=F("past_version") + 1)
        record(
            action="usage.person_claimed",
            org_id=org_id,
            target_type="person",
            target_id=person_id,
            target_label=str(person),
            before={"claimed_by": str(person.claimed_by) if person.claimed_by else None},
            after={"claimed_by": str(user_id)},
        )
