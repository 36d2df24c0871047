"""How events get from the outbox to the subscriptions' queues."""

from functools import cache

from apps.events.transports.base import Listener, Outgoing, Transport
from apps.events.transports.postgres import PostgresTransport

__all__ = ["Listener", "Outgoing", "Transport", "get_transport"]


@cache
def get_transport() -> Transport:
    """The transport of this deployment: PostgreSQL, which every deployment has."""
    return PostgresTransport()
