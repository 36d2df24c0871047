"""The subscriptions' queues: what waits, what is put off, what is given up. Only SQL, no decisions about order of work.

A delivery is *ready*, or *retrying* (it failed and is due again later), or *parked* (its key has a retrying one before
it); it goes when it is handled or becomes a dead letter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from django.db import connection, transaction

from apps.core.backoff import backoff
from apps.core.clock import now
from apps.core.database import read_often
from apps.core.tenancy import system_scope
from apps.events import registry
from apps.events.contracts import Envelope
from apps.events.models import DeadLetter
from apps.events.registry import Subscription

__all__ = [
    "Item",
    "Running",
    "fail",
    "finish",
    "get_running",
    "park",
    "processed",
    "set_running",
    "sync_subscriptions",
    "take_due",
    "take_ready",
    "unpark_orphans",
    "with_work",
]

# With eight attempts the last one comes about twenty minutes after the first.
FIRST_BACKOFF, LONGEST_BACKOFF, BACKOFF_FACTOR = timedelta(seconds=2), timedelta(minutes=10), 3
_ERROR_LIMIT = 8000
# Asked whenever the bus wakes. A row for each subscription that has something to do, and one for the next retry.
_WITH_WORK = """
SELECT name, NULL::timestamptz FROM events_subscription s WHERE NOT is_paused AND (
    EXISTS (SELECT FROM events_delivery d WHERE d.subscription = s.name AND d.state = 'ready')
    OR EXISTS (SELECT FROM events_delivery d
        WHERE d.subscription = s.name AND d.state = 'retrying' AND d.due_at <= %s))
UNION ALL SELECT NULL, min(due_at) FROM events_delivery WHERE state = 'retrying' AND due_at > %s
"""
_SELECT = "SELECT id, event_id, topic, key, envelope::text, attempts FROM events_delivery WHERE "


@dataclass(frozen=True, slots=True)
class Item:
    """One delivery, as it was when it was taken."""

    id: int
    event_id: UUID
    topic: str
    key: str
    envelope: str
    attempts: int

    def open(self) -> Envelope:
        """The event."""
        return Envelope.from_dict(orjson.loads(self.envelope), topic=self.topic, key=self.key)


@dataclass(frozen=True, slots=True)
class Running:
    """What a dispatcher has in hand: ids with their attempts so far, and whether in one transaction for all."""

    together: bool
    marks: list[tuple[int, int]]


# ---------------------------------------------------------------- which subscriptions
def sync_subscriptions() -> None:
    """Write the subscriptions that the code declares into the table of their states."""
    declared = registry.subscriptions()
    if not declared:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO events_subscription (name, types, is_paused, running)"
            " SELECT name, types, false, '{}' FROM unnest(%s::text[], %s::jsonb[]) AS declared (name, types)"
            " ON CONFLICT (name) DO UPDATE SET types = EXCLUDED.types"
            " WHERE events_subscription.types <> EXCLUDED.types",
            [list(declared), [orjson.dumps(each.types).decode() for each in declared.values()]],
        )


def with_work() -> tuple[list[str], float | None]:
    """The subscriptions that have something to do now, and in how many seconds the next retry is due, if any waits."""
    moment, declared = now(), registry.subscriptions()
    found = read_often(_WITH_WORK, [moment, moment])
    names = [name for name, _ in found if name in declared]
    due = next(due for name, due in found if name is None)
    return names, None if due is None else max(0.0, (due - now()).total_seconds())


# ---------------------------------------------------------------- taking
def take_due(name: str, limit: int) -> list[Item]:
    """Retries whose time has come."""
    return _items("subscription = %s AND state = 'retrying' AND due_at <= %s ORDER BY id LIMIT %s", name, now(), limit)


def take_ready(name: str, limit: int) -> tuple[list[Item], list[Item]]:
    """The oldest ready deliveries: those that may be worked on, and those whose key waits for a retry."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT key FROM events_delivery WHERE subscription = %s AND state = 'retrying'", [name])
        blocked = {row[0] for row in cursor.fetchall()}
    items = _items("subscription = %s AND state = 'ready' ORDER BY id LIMIT %s", name, limit)
    return [item for item in items if item.key not in blocked], [item for item in items if item.key in blocked]


def get_running(name: str) -> tuple[Running, list[Item]] | None:
    """What a dispatcher had in hand when it died, and what of it is still as it was; None where none did."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT running::text FROM events_subscription WHERE name = %s", [name])
        row = cursor.fetchone()
    raw = orjson.loads(row[0]) if row else {}
    if not raw:
        return None
    running = Running(raw["together"], [(id_, attempts) for id_, attempts in raw["marks"]])
    found = _items("id = ANY(%s) AND state <> 'parked'", [id_ for id_, _ in running.marks])
    left = {(item.id, item.attempts): item for item in found}
    return running, [left[mark] for mark in running.marks if mark in left]


def set_running(name: str, items: Sequence[Item], *, together: bool = False) -> None:
    """Say what is in hand, before it is begun; nothing once it is done."""
    raw = {"together": together, "marks": [[item.id, item.attempts] for item in items]} if items else {}
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE events_subscription SET running = %s::jsonb, last_delivered_at ="
            " CASE WHEN %s THEN last_delivered_at ELSE %s END WHERE name = %s",
            [orjson.dumps(raw).decode(), bool(items), now(), name],
        )


def _items(condition: str, *params: Any) -> list[Item]:
    with connection.cursor() as cursor:
        cursor.execute(_SELECT + condition, params)
        return [Item(*row) for row in cursor.fetchall()]


# ---------------------------------------------------------------- ending
def processed(name: str, items: Sequence[Item]) -> set[UUID]:
    """Which of these events the subscription has processed before (a transport may bring one twice)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT event_id FROM events_processed"
            " WHERE published_on = ANY(%s) AND subscription = %s AND event_id = ANY(%s)",
            [sorted({_day(item) for item in items}), name, [item.event_id for item in items]],
        )
        return {row[0] for row in cursor.fetchall()}


def finish(name: str, items: Sequence[Item]) -> None:
    """Record that these were processed and take them out of the queue; in the handlers' transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH gone AS (DELETE FROM events_delivery WHERE id = ANY(%s))"
            " INSERT INTO events_processed (published_on, subscription, event_id)"
            " SELECT day, %s, event_id FROM unnest(%s::date[], %s::uuid[]) AS done (day, event_id)"
            " ON CONFLICT DO NOTHING",
            [
                [item.id for item in items],
                name,
                [_day(item) for item in items],
                [item.event_id for item in items],
            ],
        )
        for item in items:
            if item.attempts:
                _unpark(cursor, name, item.key)


def fail(subscription: Subscription, item: Item, error: str) -> bool:
    """Put the delivery off, or bury it after the last attempt and let what waited behind it go on.

    False where there is nothing to put off: the transaction had committed, and what failed came after it (a callback on
    commit, which is not the bus's to repeat).
    """
    attempts, error = item.attempts + 1, error[-_ERROR_LIMIT:].replace("\x00", "")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM events_delivery WHERE id = %s FOR UPDATE", [item.id])
        if cursor.fetchone() is None:
            return False
        if attempts < subscription.max_attempts:
            cursor.execute(
                "UPDATE events_delivery SET state = 'retrying', attempts = %s, error = %s, due_at = %s WHERE id = %s",
                [attempts, error, now() + _wait(attempts), item.id],
            )
            return True
        _bury(subscription, item, attempts, error)
        cursor.execute("DELETE FROM events_delivery WHERE id = %s", [item.id])
        _unpark(cursor, subscription.name, item.key)
    return True


def _wait(attempts: int) -> timedelta:
    return backoff(attempts, first=FIRST_BACKOFF, longest=LONGEST_BACKOFF, factor=BACKOFF_FACTOR)


def _bury(subscription: Subscription, item: Item, attempts: int, error: str) -> None:
    envelope: dict[str, Any] = orjson.loads(item.envelope)
    org_id = envelope.get("metadata", {}).get("org_id")
    with system_scope("dead letters may belong to any organisation, or to none"):
        DeadLetter.objects.create(
            subscription=subscription.name,
            event_id=item.event_id,
            type=envelope["type"],
            topic=item.topic,
            key=item.key,
            org_id=UUID(org_id) if org_id else None,
            envelope=envelope,
            attempts=attempts,
            error=error,
        )


def park(items: Sequence[Item]) -> None:
    """Have these wait for the retry of their key."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE events_delivery SET state = 'parked' WHERE id = ANY(%s)", [[item.id for item in items]])


def _unpark(cursor: Any, name: str, key: str) -> None:
    cursor.execute(
        "UPDATE events_delivery SET state = 'ready' WHERE subscription = %s AND key = %s AND state = 'parked'",
        [name, key],
    )


def unpark_orphans(name: str) -> None:
    """Free what is parked behind a key that nothing blocks: a dispatcher died between the failure and the next step."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE events_delivery p SET state = 'ready' WHERE subscription = %s AND state = 'parked' AND NOT EXISTS"
            " (SELECT 1 FROM events_delivery r WHERE r.subscription = p.subscription AND r.state = 'retrying'"
            "  AND r.key = p.key)",
            [name],
        )


def _day(item: Item) -> Any:
    return item.open().timestamp.date()
