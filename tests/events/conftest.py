"""A bus with types and subscriptions of the test's own."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction

from apps.core.ids import uuid7
from apps.events import registry
from apps.events.contracts import Envelope
from apps.events.delivery import drain
from apps.events.models import Delivery
from apps.events.queues import sync_subscriptions
from apps.events.registry import EventType
from apps.events.relay import relay
from apps.events.services import publish

SCHEMA = {"properties": {"n": {"type": "integer"}, "note": {"type": "string"}}, "required": ["n"]}


class Bus:
    """Publishes ``test.happened`` events and delivers them in this process."""

    def __init__(self) -> None:
        self.names: list[str] = []
        registry.register_type(EventType(name="test.happened", topic="audit.log", schema=SCHEMA))
        self.names.append("test.happened")

    def subscribe(self, handler: Callable[[Envelope], None], name: str = "test.listener", **options: Any) -> str:
        registry.subscribe(name=name, types=["test.happened"], handler=handler, **options)
        self.names.append(name)
        sync_subscriptions()
        return name

    def publish(self, n: int, *, org_id: UUID | None = None, key: str | None = None, note: str = "") -> UUID:
        with transaction.atomic():
            return publish(type="test.happened", data={"n": n, "note": note}, org_id=org_id, key=key)

    def relay(self) -> int:
        total = 0
        while relayed := relay():
            total += relayed
        return total

    def deliver(self) -> None:
        """Relay all and deliver all that can be delivered now."""
        self.relay()
        for name in self.names:
            if name in registry.subscriptions():
                drain(name)

    def waiting(self, name: str = "test.listener") -> list[tuple[int, str]]:
        """What is left in the queue, as (n, state)."""
        rows = Delivery.objects.filter(subscription=name).order_by("id")
        return [(row.envelope["data"]["n"], row.state) for row in rows]


@pytest.fixture
def bus(db: None) -> Iterator[Bus]:
    made = Bus()
    yield made
    registry.unregister(*made.names)


@pytest.fixture
def org() -> UUID:
    return uuid7()
