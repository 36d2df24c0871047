"""The transport that needs nothing but the database: LISTEN/NOTIFY to wake up, an INSERT to carry."""

import logging
import select
import time
from collections.abc import Sequence
from uuid import UUID

import orjson
import psycopg
from django.db import DatabaseError, connection, transaction

from apps.core.database import connect, tell
from apps.core.tenancy import system_scope
from apps.events import registry
from apps.events.transports.base import LOOKS_AGAIN, Listener, Outgoing

__all__ = ["CHANNEL", "PostgresTransport"]

logger = logging.getLogger(__name__)

CHANNEL = "mindweave_bus"


class PostgresTransport:
    """Events become rows of the subscriptions' queues in the relay's own transaction."""

    name = "postgres"
    _told_at = 0.0

    def send(self, events: Sequence[Outgoing]) -> None:
        left_out = _left_out(events)
        rows = [
            {
                "subscription": subscription.name,
                "event_id": event.event_id,
                "topic": event.topic,
                "key": event.key,
                "envelope": orjson.Fragment(event.envelope),
            }
            for event in events
            for subscription in registry.subscriptions_of(event.type)
            if (subscription.name, event.event_id) not in left_out
        ]
        if not rows:
            return
        # As one text: the driver quotes each of a list's texts by itself.
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO events_delivery (subscription, event_id, topic, key, envelope, state, attempts, error,"
                " created_at)"
                " SELECT subscription, event_id, topic, key, envelope, 'ready', 0, '', now()"
                " FROM jsonb_to_recordset(%s::jsonb)"
                " AS row (subscription text, event_id uuid, topic text, key text, envelope jsonb)",
                [orjson.dumps(rows).decode()],
            )

    def notify(self) -> None:
        if time.monotonic() - self._told_at < LOOKS_AGAIN / 2:
            return
        try:
            tell(CHANNEL)
            # Not before it was said: another thread must not rely on what is still to come, or fails.
            self._told_at = time.monotonic()
        except DatabaseError:
            logger.warning("the bus could not be woken; it looks by itself within a second", exc_info=True)

    def listen(self) -> Listener:
        return PostgresListener()


def _left_out(events: Sequence[Outgoing]) -> set[tuple[str, UUID]]:
    """The deliveries that subscriptions say they have no use for; none where one cannot be asked."""
    found: set[tuple[str, UUID]] = set()
    for subscription in registry.subscriptions().values():
        heard = [event for event in events if subscription.hears(event.type)] if subscription.picks else []
        if not heard or subscription.picks is None:
            continue
        try:
            with transaction.atomic(), system_scope(f"{subscription.name} picks its events"):
                picked = subscription.picks([event.open() for event in heard])
        except Exception:
            logger.exception("%s could not pick its events; all are delivered", subscription.name)
            continue
        found |= {
            (subscription.name, event.event_id) for event, wanted in zip(heard, picked, strict=True) if not wanted
        }
    return found


class PostgresListener:
    """LISTEN on a connection of its own, made anew when it is lost."""

    def __init__(self) -> None:
        self._connection: psycopg.Connection | None = None

    def wait(self, timeout: float, wake_fd: int) -> bool:
        watched: list[int] = [wake_fd]
        try:
            watched.append(self._connected().fileno())
        except psycopg.Error as error:
            logger.warning("the bus cannot listen (%s); it polls until it can", error)
        readable, _, _ = select.select(watched, [], [], timeout)
        if self._connection is None or self._connection.fileno() not in readable:
            return False
        try:
            # What was said does not matter, only that something was.
            for _ in self._connection.notifies(timeout=0):
                pass
        except psycopg.Error:
            self.close()
        return True

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect()
            self._connection.execute(f"LISTEN {CHANNEL}")
        return self._connection
