"""What a transport does.

The outbox and the queues of the subscriptions are tables whatever the transport: publishing stands or falls with the
publisher's transaction, handling with the handler's. A transport carries events from the one to the other:
:class:`~apps.events.transports.postgres.PostgresTransport` by an INSERT, a broker by producing on one side and, on the
other, a consumer that writes what it reads into the queues before it commits its offset.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import orjson

from apps.events.contracts import Envelope

__all__ = ["LOOKS_AGAIN", "Listener", "Outgoing", "Transport"]

# How long a dispatcher that found something lets more come together, in seconds. Events that come one by one cost ten
# times as much as those that are taken up fifty at a time.
LOOKS_AGAIN = 0.05


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event on its way: ``envelope`` is its JSON text, ``key`` what order is kept for within ``topic``."""

    event_id: UUID
    type: str
    topic: str
    key: str
    envelope: str

    def open(self) -> Envelope:
        """The event as handlers get it."""
        return Envelope.from_dict(orjson.loads(self.envelope), topic=self.topic, key=self.key)


class Listener(Protocol):
    """Waits for news on a connection of its own."""

    def wait(self, timeout: float, wake_fd: int) -> bool:
        """Return when there may be news, when ``wake_fd`` can be read, or after ``timeout`` seconds; whether it is
        news.
        """

    def close(self) -> None:
        """Give the connection back."""


class Transport(Protocol):
    """One way of carrying events."""

    name: str

    def send(self, events: Sequence[Outgoing]) -> None:
        """Take events over, in this order. Called in the transaction that marks them as relayed: returning means that
        they will reach every subscription even if this process dies now; raising leaves them in the outbox.
        """

    def notify(self) -> None:
        """Tell the dispatchers that something was published; best effort, never raises.

        A dispatcher that was told looks at once and again :data:`LOOKS_AGAIN` seconds later, so whoever told them less
        than half of that ago need not say it again.
        """

    def listen(self) -> Listener:
        """A listener for a dispatcher."""
