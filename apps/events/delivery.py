"""From a subscription's queue to its handler.

One dispatcher works on a subscription at a time, held by an advisory lock that dies with its connection. It takes ready
deliveries in order and handles them in a transaction in which the deliveries go and the record that they were processed
comes: what a handler writes is kept exactly once, however often a delivery is begun.

Most events succeed, so a few at a time share a transaction: a commit costs more than many a handler. Where one of them
fails, the transaction is rolled back and each is handled again in one of its own. What a handler does outside the
database may then happen twice, which "at least once" has always allowed.

A failing event is retried later. What follows it under the same key is parked until it is through (or dead); what has
other keys goes on.
"""

import logging
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from opentelemetry.trace import SpanKind

from apps.core.context import bind
from apps.core.contracts import system_actor
from apps.core.telemetry import span
from apps.core.tenancy import org_scope, system_scope
from apps.events import queues, registry
from apps.events.contracts import Envelope
from apps.events.metrics import DELIVERED, FAILED
from apps.events.models import SubscriptionState
from apps.events.queues import Item
from apps.events.registry import Subscription

__all__ = ["drain"]

logger = logging.getLogger(__name__)

TAKE, TOGETHER = 200, 50
# A transaction of several is cut short after this time, so that no handler's locks are held for long.
TOGETHER_SECONDS = 0.2


def drain(name: str, *, should_stop: Callable[[], bool] = lambda: False) -> int:
    """Deliver what a subscription has waiting until nothing is left that can be; returns how many were handled.

    Zero where another dispatcher works on it, and where staff paused it.
    """
    subscription = registry.subscriptions()[name]
    with _exclusively(name) as ours:
        if not ours:
            return 0
        handled = _after_a_crash(subscription, should_stop)
        queues.unpark_orphans(name)
        while not should_stop() and not _is_paused(name):
            done = _step(subscription, should_stop)
            if done is None:
                break
            handled += done
        return handled


@contextmanager
def _exclusively(name: str) -> Iterator[bool]:
    lock = f"bus:subscription:{name}"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [lock])
        taken: bool = cursor.fetchone()[0]
        if taken:
            # Commits need not wait for the disk: what a crash of the server takes back, it takes back whole, the record
            # of the processing with the handler's writes, and the event is delivered again.
            cursor.execute("SET synchronous_commit = off")
    try:
        yield taken
    finally:
        # A lost connection has let go of the lock itself, and Django would open a new one here.
        if taken and connection.connection is not None and not connection.connection.closed:
            with connection.cursor() as cursor:
                cursor.execute("RESET synchronous_commit")
                cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [lock])


def _is_paused(name: str) -> bool:
    return SubscriptionState.objects.filter(pk=name, is_paused=True).exists()


def _step(subscription: Subscription, should_stop: Callable[[], bool]) -> int | None:
    """Take a few deliveries and work on them; how many were handled, None where nothing was there to take."""
    due = queues.take_due(subscription.name, TAKE)
    if due:
        return _one_by_one(subscription, due, should_stop)
    items, blocked = queues.take_ready(subscription.name, TAKE)
    if blocked:
        queues.park(blocked)
    if not items:
        return 0 if blocked else None
    handled = 0
    for chunk in _chunks(items, TOGETHER):
        if should_stop():
            break
        done = _all_together(subscription, chunk, should_stop)
        if done is None:
            # One of them failed; what comes after this chunk may have the same key and is looked at anew.
            return handled + _one_by_one(subscription, chunk, should_stop)
        handled += done
        if done < len(chunk):
            break
    return handled


def _all_together(subscription: Subscription, items: Sequence[Item], should_stop: Callable[[], bool]) -> int | None:
    """Handle the items in one transaction; how many there was time for, None where it was rolled back."""
    queues.set_running(subscription.name, items, together=True)
    end = time.monotonic() + TOGETHER_SECONDS
    done: list[Item] = []
    try:
        with transaction.atomic():
            known = queues.processed(subscription.name, items)
            for item in items:
                if item.event_id not in known:
                    _handle(subscription, item.open())
                done.append(item)
                if should_stop() or time.monotonic() > end:
                    break
            queues.finish(subscription.name, done)
            _isolate_callbacks()
    except Exception:
        if not connection.is_usable():
            raise
        return None
    queues.set_running(subscription.name, [])
    DELIVERED.labels(subscription.name).inc(len(done))
    return len(done)


def _one_by_one(subscription: Subscription, items: Sequence[Item], should_stop: Callable[[], bool]) -> int:
    """Handle each item in a transaction of its own, so that a failure is that one's alone; how many were handled."""
    queues.set_running(subscription.name, items)
    handled = 0
    failed: set[str] = set()
    for item in items:
        if should_stop():
            break
        if item.key in failed:
            queues.park([item])
        elif _alone(subscription, item):
            handled += 1
        else:
            failed.add(item.key)
    queues.set_running(subscription.name, [])
    return handled


def _alone(subscription: Subscription, item: Item) -> bool:
    """Whether the event is through; where not, it has been put off or buried."""
    try:
        with transaction.atomic():
            if not queues.processed(subscription.name, [item]):
                _handle(subscription, item.open())
            queues.finish(subscription.name, [item])
            _isolate_callbacks()
    except Exception as error:
        if not connection.is_usable():
            raise
        logger.warning(
            "%s failed on %s (attempt %d)", subscription.name, item.event_id, item.attempts + 1, exc_info=True
        )
        FAILED.labels(subscription.name).inc()
        return not queues.fail(subscription, item, "".join(traceback.format_exception(error)))
    DELIVERED.labels(subscription.name).inc()
    return True


def _handle(subscription: Subscription, envelope: Envelope) -> None:
    org_id = envelope.org_id
    scope = org_scope(org_id) if org_id else system_scope(f"{subscription.name}: an event of no organisation")
    with (
        bind(
            correlation_id=envelope.correlation_id,
            traceparent=envelope.traceparent,
            actor=system_actor(f"bus:{subscription.name}"),
        ),
        scope,
        span(
            f"bus {subscription.name}",
            kind=SpanKind.CONSUMER,
            **{"messaging.destination.name": envelope.topic, "messaging.message.id": str(envelope.id)},
        ),
    ):
        subscription.handler(envelope)


def _isolate_callbacks() -> None:
    """Have a failing on-commit callback logged, so that it does not keep those of other events from running."""
    callbacks: list[Any] = connection.run_on_commit
    callbacks[:] = [(savepoints, callback, True) for savepoints, callback, _ in callbacks]


def _after_a_crash(subscription: Subscription, should_stop: Callable[[], bool]) -> int:
    """Go on where a dispatcher died. Without this, an event that kills its process would do so for ever.

    What it had in one transaction is begun again one by one: nobody knows which of them it was. One by one, they go in
    the order of the list, and each that is through is gone, parked or has one attempt more: it was the first one that
    is still as it was, and it has used up an attempt.
    """
    crashed = queues.get_running(subscription.name)
    if crashed is None:
        return 0
    running, left = crashed
    logger.warning("%s: a dispatcher died with %d deliveries in hand", subscription.name, len(left))
    if running.together:
        return _one_by_one(subscription, left, should_stop)
    if left:
        queues.fail(subscription, left[0], "the dispatcher died in the midst of it")
    queues.set_running(subscription.name, [])
    return 0


def _chunks(items: list[Item], size: int) -> Iterator[list[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
