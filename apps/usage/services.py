"""What the usage engine does for others: take events in, keep tag keys, claim people, set prices."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
from apps.usage.errors import InboxFull
from apps.usage.ingest.attribution import directory_of, forget_directories
from apps.usage.ingest.columns import Built, Window, build
from apps.usage.ingest.committer import committer, joined_rows
from apps.usage.ingest.decode import MAX_EVENTS, Decoded, decode_batch, decode_one
from apps.usage.ingest.inbox import InboxRow, gauge, insert_again
from apps.usage.ingest.outside import note_outside
from apps.usage.ingest.together import Part, build_together, fits
from apps.usage.ingest.turns import Turns
from apps.usage.models import Org, Person, TagKey
from apps.usage.pricing.writes import price_end, price_set
from apps.usage.telemetry import count_accepted, count_duplicates, count_rejected, count_turn

__all__ = [
    "TURN_BYTES",
    "SentBatch",
    "admitted_rows",
    "claim_person",
    "commit_rows",
    "ingest",
    "ingest_batch",
    "price_end",
    "price_set",
    "register_tag_key",
    "remove_tag_key",
    "take_batches",
    "told",
]

logger = logging.getLogger(__name__)

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
    for built in taken.parts:
        if built.accepted:
            gauge.admit(built.accepted, reserved=reserved)
            _write([_row(taken, built)], meanwhile=built.waste.clear)
    return told(taken)


def _row(taken: Taken, built: Built) -> InboxRow:
    return InboxRow(taken.key.org_id, taken.received, built.accepted, built.frame)


def _write(rows: list[InboxRow], *, meanwhile: Callable[[], object]) -> None:
    if connection.in_atomic_block or sum(row.events for row in rows) > GROUP_COMMIT_EVENTS:
        insert_again(joined_rows(rows), meanwhile=meanwhile)
    else:
        committer.commit(rows)


def told(taken: Taken) -> IngestResult:
    """The result of what was taken and is committed; counted for the metrics, noted where rules did not allow it."""
    accepted = duplicates = 0
    for built in taken.parts:
        accepted += built.accepted
        duplicates += built.duplicates
        if built.outside:
            note_outside(taken.key, built.outside)
    count_accepted(accepted)
    count_duplicates("request", duplicates)
    count_rejected(taken.rejected)
    return IngestResult(accepted, duplicates, sorted(taken.rejected, key=lambda rejection: rejection.index))


# ---------------------------------------------------------------- batches as they were sent
@dataclass(slots=True)
class SentBatch:
    """A batch as it was sent under ``key``, and what became of it: what was taken, or an error."""

    key: KeyContext
    received: datetime
    body: bytes
    content_type: str
    is_single: bool = False
    size: int = field(init=False)
    taken: Taken | None = None
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self.size = len(self.body)


def ingest_batch(batch: SentBatch) -> IngestResult:
    """Decode a batch and take its events in, together with whatever other batches wait just then.

    What is accepted is committed when this returns. Raises what is wrong with the body, and :class:`InboxFull`.
    """
    if connection.in_atomic_block:
        take_batches([batch])
        _commit_batches([batch])
        if batch.error is not None:
            raise batch.error
    else:
        _turns.run(batch)
    assert batch.taken is not None
    # In the context of the batch's own request, and nobody else's error.
    return told(batch.taken)


def take_batches(batches: list[SentBatch]) -> None:
    """All computing there is for these: what was taken of each, or its error. Nothing is kept of it yet."""
    count_turn(len(batches))
    # By the class of their events, which has the fields that are columns.
    usual: dict[type[EventCore], list[tuple[SentBatch, Part]]] = {}
    for batch in batches:
        try:
            if batch.is_single:
                batch.taken = take(
                    key=batch.key, events=[decode_one(batch.body)], received_at=batch.received, check_nul=False
                )
                continue
            decoded = decode_batch(batch.body, batch.content_type)
            batch.body = b""
            if len(batches) > 1 and decoded.is_whole and fits(batch.key):
                window = Window.of(batch.key, batch.received)
                part = Part(decoded.events, batch.key, directory_of(batch.key.org_id), window)
                usual.setdefault(type(decoded.events[0]), []).append((batch, part))
            else:
                batch.taken = _taken(batch, decoded)
        except Exception as error:
            batch.error = error
    for alike in usual.values():
        found = _built_together([part for _, part in alike])
        for number, (batch, part) in enumerate(alike):
            try:
                if found is None:
                    batch.taken = _taken(batch, Decoded(part.events))
                else:
                    batch.taken = Taken(batch.key, batch.received, [found[number]], [])
            except Exception as error:
                batch.error = error


def _built_together(parts: list[Part]) -> list[Built] | None:
    try:
        return build_together(parts) if len(parts) > 1 else None
    except Exception:
        # Whichever of them it is, the others have nothing to do with it: each is tried by itself.
        logger.exception("%d batches could not be built together", len(parts))
        return None


def _taken(batch: SentBatch, decoded: Decoded) -> Taken:
    return take(
        key=batch.key,
        events=decoded.events,
        received_at=batch.received,
        places=decoded.places,
        rejected=decoded.rejected,
        check_nul=decoded.may_hold_nul,
    )


def _commit_batches(batches: list[SentBatch]) -> None:
    """Commit what was taken of all of them as one."""
    rows, waste = admitted_rows(batches)
    if rows:
        _write(rows, meanwhile=waste.clear)


def admitted_rows(batches: list[SentBatch]) -> tuple[list[InboxRow], list[object]]:
    """What of the batches is to be committed, and what may be freed when nobody waits for it.

    A batch that the inbox has no room for has its error and nothing taken.
    """
    rows: list[InboxRow] = []
    waste: list[object] = []
    for batch in batches:
        if batch.taken is None:
            continue
        accepted = sum(built.accepted for built in batch.taken.parts)
        try:
            if accepted:
                gauge.admit(accepted)
        except InboxFull as error:
            batch.error, batch.taken = error, None
            continue
        rows += [_row(batch.taken, built) for built in batch.taken.parts if built.accepted]
        for built in batch.taken.parts:
            waste += built.waste
            built.waste = []
    return rows, waste


def commit_rows(rows: list[InboxRow]) -> None:
    """Commit rows on this thread's own connection; raises what Django raises where the database is away."""
    insert_again(joined_rows(rows))


# So many bytes of batches are worked on together: one of a thousand events, or ten of a hundred.
TURN_BYTES = 500_000
_turns: Turns[SentBatch] = Turns(take_batches, _commit_batches, most=TURN_BYTES)


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
