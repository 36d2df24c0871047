"""What each app keeps of a person: handed out to them, and taken away, on request.

A new table with somebody's name, address or device in it gets its part here, registered when its app starts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

__all__ = ["ERASED_DOMAIN", "PersonalData", "Subject", "all_parts", "listed", "pseudonym", "register_personal"]

# Reserved (RFC 2606): no mail to it ever arrives anywhere.
ERASED_DOMAIN = "erased.invalid"


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose data it is: their id and every address that is known to be theirs, in its normal spelling."""

    user_id: UUID
    emails: Sequence[str]


@dataclass(frozen=True, slots=True)
class PersonalData:
    """One app's share. ``export`` gives JSON values, without secrets and without what names other people.

    ``erase`` works in the caller's transaction and tells how many rows it took or changed; it may be repeated. It may
    refuse by a ``MindWeaveError``, and then nothing of anybody's share is done. Parts go in ``order``.

    ``hold`` takes, in the transaction of an erasure and before the person themselves is locked, what the app's writes
    lock before they lock a person: else the two could wait for each other.
    """

    key: str
    title: str
    export: Callable[[Subject], Any]
    erase: Callable[[Subject], int]
    order: int = 100
    hold: Callable[[UUID], None] | None = None


_parts: dict[str, PersonalData] = {}


def register_personal(part: PersonalData) -> None:
    """Make a part known; called once, when the app starts."""
    if part.key in _parts:
        raise ValueError(f"{part.key!r} is registered already")
    _parts[part.key] = part


def all_parts() -> list[PersonalData]:
    """All parts, in order."""
    return sorted(_parts.values(), key=lambda part: (part.order, part.key))


def pseudonym(user_id: UUID) -> str:
    """What an erased person is called wherever numbers need a name: always the same for one, and telling nothing."""
    # The end of the id: its beginning is a time, the same for those who came together.
    return f"Erased person {user_id.hex[-8:]}"


def listed(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of ``.values()`` as JSON has them."""
    return [{name: _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value
