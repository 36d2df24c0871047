"""Arguments that several commands take."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError

from apps.accounts.selectors import org_by_name
from apps.core.tenancy import system_scope

__all__ = ["moment", "org_of"]


def org_of(text: str) -> UUID:
    """The organisation of a slug or an id."""
    with system_scope("a command names its organisation"):
        found = org_by_name(text)
    if found is None:
        raise CommandError(f"There is no organisation {text!r}")
    return found


def moment(text: str | None) -> Any:
    """A date or a time with zone; dates are midnights in UTC."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"{text!r} is neither a date nor a time") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
