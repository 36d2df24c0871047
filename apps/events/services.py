"""Writes of the bus: publishing, and what staff do with dead letters and subscriptions."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from django.db import connection, transaction

from apps.core.clock import now
from apps.core.context import current
from apps.core.database import later
from apps.core.errors import Conflict, NotFound
from apps.core.ids import uuid7
from apps.core.partitions import drop_partitions, ensure_partitions
from apps.core.tenancy import system_scope
from apps.events import ports, registry
from apps.events.contracts import Envelope, NewEvent
from apps.events.metrics import PUBLISHED
from apps.events.models import DeadLetter, Delivery, SubscriptionState
from apps.events.transports import get_transport

__all__ = [
    "RETENTION",
    "PublishError",
    "discard_dead_letters",
    "maintain",
    "pause_subscription",
    "publish",
    "publish_many",
    "replay_dead_letters",
    "resume_subscription",
]

RETENTION = timedelta(days=7)
LETTERS_KEPT = timedelta(days=30)
PARTITIONS_AHEAD = 7


_INSERT_ONE = (
    "INSERT INTO events_outbox (event_id, topic, type, key, org_id, envelope, published_at)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s)"
)
_INSERT_MANY = (
    "INSERT INTO events_outbox (event_id, topic, type, key, org_id, envelope, published_at)"
    " SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::uuid[], %s::jsonb[], %s::timestamptz[])"
)


class PublishError(RuntimeError):
    """An event was published that the bus cannot carry: a bug of the publisher."""


# ---------------------------------------------------------------- publishing
def publish(
    *, type: str, data: dict[str, Any], org_id: UUID | None, key: str | None = None, user_id: UUID | None = None
) -> UUID:
    """Publish a past-tense fact in the caller's transaction; returns the event's id.

    It reaches subscribers once that transaction commits, and never if it does not. ``data`` is checked against the
    schema of the type. Order is kept among the events of one ``key``, by default the organisation, else the user;
    with neither, the event stands alone. Raises :class:`PublishError` outside a transaction, for an unknown type
    and for data that does not fit.
    """
    return publish_many([NewEvent(type=type, data=data, org_id=org_id, key=key, user_id=user_id)])[0]


def publish_many(events: Sequence[NewEvent]) -> list[UUID]:
    """:func:`publish` for several events at once, in their order, with one statement."""
    if not connection.in_atomic_block:
        raise PublishError("publish() needs a transaction: the event must stand or fall with what it tells of")
    if not events:
        return []
    rows = [_row(event) for event in events]
    if len(rows) == 1:
        later(_INSERT_ONE, rows[0])
    else:
        later(_INSERT_MANY, [list(column) for column in zip(*rows, strict=True)])
    for row in rows:
        PUBLISHED.labels(row[1]).inc()
    _wake_on_commit()
    return [row[0] for row in rows]


def _row(event: NewEvent) -> tuple[Any, ...]:
    try:
        event_type = registry.event_type(event.type)
    except KeyError:
        raise PublishError(f"the event type {event.type!r} is not registered") from None
    # Through JSON and back, so that what is checked is what is sent: ids, times and decimals as strings.
    data = orjson.loads(orjson.dumps(event.data, default=str, option=orjson.OPT_UTC_Z))
    if problems := registry.problems_of(event.type, data):
        raise PublishError(f"the data of {event.type} does not fit its schema: {'; '.join(sorted(problems)[:5])}")
    context = current()
    metadata = {"org_id": event.org_id, "user_id": event.user_id, "traceparent": context.traceparent}
    event_id = uuid7()
    envelope = Envelope(
        id=event_id,
        type=event.type,
        source=event_type.source,
        timestamp=now(),
        version=event_type.version,
        correlation_id=context.correlation_id,
        data=data,
        metadata={name: str(value) for name, value in metadata.items() if value is not None},
        topic=event_type.topic,
        key=event.key or str(event.org_id or event.user_id or event_id),
    )
    body = orjson.dumps(envelope.as_dict()).decode()
    return event_id, envelope.topic, envelope.type, envelope.key, event.org_id, body, envelope.timestamp


def _wake_on_commit() -> None:
    # Once a transaction, however many events it publishes. After the commit and not inside it: a NOTIFY in the
    # transaction holds a lock of the whole server while the commit is flushed, so that publishers would queue up.
    # A process that dies in between costs the time until the dispatcher's next look, no event.
    wake = get_transport().notify
    if not any(entry[1] == wake for entry in connection.run_on_commit):
        transaction.on_commit(wake, robust=True)


# ---------------------------------------------------------------- staff
def replay_dead_letters(*, ids: Sequence[UUID], by: str, reason: str = "") -> int:
    """Put dead letters back in their subscription's queue, behind what is there; returns how many.

    Only open ones: a letter is replayed once, a second click does nothing. Raises :class:`NotFound` where one of
    the ids is no dead letter, :class:`Conflict` where its subscription no longer exists.
    """
    with transaction.atomic(), system_scope("staff replay dead letters of any organisation"):
        letters = _lock_open(ids)
        for letter in letters:
            if letter.subscription not in registry.subscriptions():
                raise Conflict(f"The subscription {letter.subscription!r} no longer exists; discard the letter instead")
        Delivery.objects.bulk_create(
            Delivery(
                subscription=letter.subscription,
                event_id=letter.event_id,
                topic=letter.topic,
                key=letter.key,
                envelope=letter.envelope,
            )
            for letter in letters
        )
        _resolve(letters, DeadLetter.Status.REPLAYED, "bus.dead_letter_replayed", by, reason)
        _wake_on_commit()
    return len(letters)


def discard_dead_letters(*, ids: Sequence[UUID], by: str, reason: str = "") -> int:
    """Close dead letters without delivering them; returns how many were open."""
    with transaction.atomic(), system_scope("staff discard dead letters of any organisation"):
        letters = _lock_open(ids)
        _resolve(letters, DeadLetter.Status.DISCARDED, "bus.dead_letter_discarded", by, reason)
    return len(letters)


def _lock_open(ids: Sequence[UUID]) -> list[DeadLetter]:
    letters = list(DeadLetter.objects.select_for_update().filter(pk__in=ids).order_by("created_at", "pk"))
    if len(letters) != len(set(ids)):
        raise NotFound("There is no such dead letter")
    return [letter for letter in letters if letter.status == DeadLetter.Status.OPEN]


def _resolve(letters: Sequence[DeadLetter], status: DeadLetter.Status, action: str, by: str, reason: str) -> None:
    for letter in letters:
        letter.status, letter.resolved_at, letter.resolved_by = status, now(), by
        letter.save(update_fields=["status", "resolved_at", "resolved_by"])
        ports.audit.get()(
            action=action,
            org_id=letter.org_id,
            target_type="dead_letter",
            target_id=letter.pk,
            target_label=str(letter),
            before={"status": DeadLetter.Status.OPEN.value},
            after={"status": status.value},
            reason=reason,
        )


def pause_subscription(*, name: str, reason: str = "") -> None:
    """Stop delivering to a subscription; its events wait."""
    _set_paused(name, True, "bus.subscription_paused", reason)


def resume_subscription(*, name: str, reason: str = "") -> None:
    """Deliver to a paused subscription again, what has waited first."""
    _set_paused(name, False, "bus.subscription_resumed", reason)


def _set_paused(name: str, paused: bool, action: str, reason: str) -> None:
    with transaction.atomic():
        state = SubscriptionState.objects.select_for_update().filter(pk=name).first()
        if state is None:
            raise NotFound("There is no such subscription")
        if state.is_paused == paused:
            return
        state.is_paused = paused
        state.save(update_fields=["is_paused"])
        ports.audit.get()(
            action=action,
            org_id=None,
            target_type="subscription",
            target_id=name,
            target_label=name,
            before={"is_paused": not paused},
            after={"is_paused": paused},
            reason=reason,
        )
        _wake_on_commit()


# ---------------------------------------------------------------- housekeeping
def maintain() -> dict[str, list[str]]:
    """Make the partitions of the coming days and drop those past :data:`RETENTION`; returns their names.

    A day that still holds an event which no dispatcher has taken is kept until one has.
    """
    before = now() - RETENTION
    made = [
        *ensure_partitions("events_outbox", period="day", ahead=PARTITIONS_AHEAD),
        *ensure_partitions("events_processed", period="day", ahead=PARTITIONS_AHEAD),
    ]
    dropped = [
        *drop_partitions("events_outbox", before=before, unless="NOT relayed"),
        *drop_partitions("events_processed", before=before),
    ]
    with connection.cursor() as cursor:
        # Rows that found no partition of their day are few, if any; they go one by one.
        cursor.execute("DELETE FROM events_outbox_default WHERE relayed AND published_at < %s", [before])
        cursor.execute("DELETE FROM events_processed_default WHERE published_on < %s", [before])
        # What waits for a listener that the code no longer has will not be fetched.
        listening = list(registry.subscriptions())
        cursor.execute(
            "DELETE FROM events_delivery WHERE subscription <> ALL(%s) AND created_at < %s", [listening, before]
        )
        cursor.execute(
            "DELETE FROM events_subscription s WHERE name <> ALL(%s)"
            " AND NOT EXISTS (SELECT 1 FROM events_delivery d WHERE d.subscription = s.name)",
            [listening],
        )
        # A dead letter that was dealt with is worth a look for a month.
        cursor.execute("DELETE FROM events_dead_letter WHERE resolved_at < %s", [now() - LETTERS_KEPT])
    return {"made": made, "dropped": dropped}
