"""An app for processes that tests start: a type, and a subscription that writes what it hears into a table.

The number in the event tells what the handler does: 13 kills its process, the first time or each time.
"""

import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.db import connection

from apps.events.contracts import Envelope
from apps.events.registry import EventType, register_type, subscribe

SCHEMA: dict[str, Any] = {"properties": {"n": {"type": "integer"}, "poison": {"type": "string"}}, "required": ["n"]}
TABLE = "CREATE TABLE test_heard (n int, pid int)"
EVENT = EventType(name="test.processed", topic="audit.log", schema=SCHEMA, source="test")


def hear(event: Envelope) -> None:
    """Write the number down, or die of it."""
    poison = event.data.get("poison")
    if poison:
        antidote = Path(poison)
        if antidote.name == "always" or not antidote.exists():
            antidote.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO test_heard VALUES (%s, %s)", [event.data["n"], os.getpid()])


class ListenerConfig(AppConfig):
    name = "tests.events"
    label = "test_events_listener"

    def ready(self) -> None:
        from apps.events import queues

        # What fails because its process was killed is tried again at once.
        queues.FIRST_BACKOFF = timedelta(seconds=0.2)
        register_type(EVENT)
        subscribe(name="test.process", types=[EVENT.name], handler=hear, max_attempts=3)
