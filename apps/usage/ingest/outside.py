"""Telling of events outside their project's settings: in figures each, on the bus once an hour for each value."""

import threading
import time
from uuid import UUID

from django.db import transaction

from apps.events.services import publish
from apps.projects.contracts import KeyContext
from apps.usage.ingest.rules import Outside
from apps.usage.telemetry import count_outside

__all__ = ["forget_outside", "note_outside"]

_EVERY_SECONDS = 3600.0
# How many values of a project's models or sources are told of in that time: names may be made up by the thousand.
_MOST_VALUES = 5
_MOST_PROJECTS = 10_000

_lock = threading.Lock()
_told: dict[tuple[UUID, str], dict[str, float]] = {}


def note_outside(key: KeyContext, outside: Outside) -> None:
    """Count them, and tell of the values that this process has not told of within the hour."""
    refused = key.rules is not None and key.rules.refuses
    for (rule, value), events in outside.items():
        count_outside(rule, events, refused=refused)
        if _is_news(key.project_id, rule, value):
            _tell(key, rule, value, events, refused)


def forget_outside() -> None:
    """Tell of everything anew (tests)."""
    with _lock:
        _told.clear()


def _is_news(project_id: UUID, rule: str, value: str) -> bool:
    moment = time.monotonic()
    with _lock:
        if len(_told) > _MOST_PROJECTS:
            _told.clear()
        values = _told.setdefault((project_id, rule), {})
        for old in [name for name, at in values.items() if moment - at >= _EVERY_SECONDS]:
            del values[old]
        if value in values or len(values) >= _MOST_VALUES:
            return False
        values[value] = moment
        return True


def _tell(key: KeyContext, rule: str, value: str, events: int, refused: bool) -> None:
    with transaction.atomic():
        publish(
            type="usage.outside_settings", org_id=key.org_id,
            data={
                "project_id": str(key.project_id), "key_id": str(key.key_id), "rule": rule, "value": value[:200],
                "events": events, "refused": refused,
            },
        )  # fmt: skip
