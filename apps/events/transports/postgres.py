"""The transport that needs nothing but the database: LISTEN/NOTIFY to wake up, an INSERT to carry."""

import logging
import select
from collections.abc import Sequence

import psycopg
from django.db import DatabaseError, connection

from apps.core.database import connect, tell
from apps.events import registry
from apps.events.transports.base import Listener, Outgoing

__all__ = ["CHANNEL", "PostgresTransport"]

logger = logging.getLogger(__name__)

CHANNEL = "mindweave_bus"


class PostgresTransport:
    """Events become rows of the subscriptions' queues in the relay's own transaction."""

    name = "postgres"

    def send(self, events: Sequence[Outgoing]) -> None:
        rows = [
            (subscription.name, event.event_id, event.topic, event.key, event.envelope)
            for event in events
            for subscription in registry.subscriptions_of(event.type)
        ]
        if not rows:
            return
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO events_delivery (subscription, event_id, topic, key, envelope, state, attempts, error,"
                " created_at)"
                " SELECT *, 'ready', 0, '', now()"
                " FROM unnest(%s::text[], %s::uuid[], %s::text[], %s::text[], %s::jsonb[])",
                [list(column) for column in zip(*rows, strict=True)],
            )

    def notify(self) -> None:
        try:
            tell(CHANNEL)
        except DatabaseError:
            logger.warning("the bus could not be woken; it looks by itself within a second", exc_info=True)

    def listen(self) -> Listener:
        return PostgresListener()


class PostgresListener:
    """LISTEN on a connection of its own, made anew when it is lost."""

    def __init__(self) -> None:
        self._connection: psycopg.Connection | None = None

    def wait(self, timeout: float, wake_fd: int) -> None:
        watched: list[int] = [wake_fd]
        try:
            watched.append(self._connected().fileno())
        except psycopg.Error as error:
            logger.warning("the bus cannot listen (%s); it polls until it can", error)
        readable, _, _ = select.select(watched, [], [], timeout)
        if self._connection is not None and self._connection.fileno() in readable:
            try:
                # What was said does not matter, only that something was.
                for _ in self._connection.notifies(timeout=0):
                    pass
            except psycopg.Error:
                self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect()
            self._connection.execute(f"LISTEN {CHANNEL}")
        return self._connection
