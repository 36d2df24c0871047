"""Reading attributes that may be numbers, strings of numbers, or missing."""

from datetime import UTC, datetime
from uuid import UUID, uuid5

from apps.usage.otlp.wire import Attributes

__all__ = ["event_id", "moment", "number", "text", "truth", "whole"]


def text(attributes: Attributes, name: str, limit: int = 200) -> str | None:
    """A word, cut to ``limit``; None where it is missing or empty."""
    value = attributes.get(name)
    if value is None or value == "":
        return None
    return str(value).replace("\x00", "")[:limit] or None


def number(attributes: Attributes, name: str) -> float | None:
    """A number, also one that came as a string; None where it is none."""
    value = attributes.get(name)
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if found == found and abs(found) != float("inf") else None


def whole(attributes: Attributes, name: str) -> int:
    """A count; 0 where it is missing or no number."""
    value = attributes.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 18:
        return int(value)
    return round(number(attributes, name) or 0)


def truth(attributes: Attributes, name: str) -> bool:
    """A boolean, also the words that stand for one."""
    value = attributes.get(name)
    return value if isinstance(value, bool) else str(value).lower() == "true"


def moment(time_ns: int, attributes: Attributes) -> str:
    """RFC 3339 of a record's time; without one, of its ``event.timestamp``; empty where it has neither."""
    if time_ns > 0:
        seconds, rest = divmod(time_ns, 1_000_000_000)
        try:
            return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000).isoformat()
        except (OverflowError, ValueError, OSError):
            return ""
    return text(attributes, "event.timestamp", 40) or ""


def event_id(org_id: UUID, *parts: object) -> str:
    """The id of an event that brings none: the same for the same thing in one organisation (UUID version 5)."""
    return str(uuid5(org_id, "\x1f".join(str(part) for part in parts)))
