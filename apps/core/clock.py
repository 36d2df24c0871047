"""The clock of the product: one place to ask for the time, so that a test can hold it still."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache
from zoneinfo import available_timezones

__all__ = ["freeze", "now", "zone_names"]

_frozen: ContextVar[datetime | None] = ContextVar("mindweave_clock", default=None)


def now() -> datetime:
    """The current time, aware, in UTC."""
    return _frozen.get() or datetime.now(UTC)


@cache
def zone_names() -> frozenset[str]:
    """The names of time zones that may be asked for. ``localtime`` is a name on some machines, not for PostgreSQL.

    Looked up once: that reads some six hundred files.
    """
    return frozenset(available_timezones() - {"localtime"})


@contextmanager
def freeze(moment: datetime) -> Iterator[datetime]:
    """Hold :func:`now` at ``moment`` (aware) inside the block; for tests."""
    if moment.tzinfo is None:
        raise ValueError("freeze() takes an aware datetime")
    token = _frozen.set(moment.astimezone(UTC))
    try:
        yield moment
    finally:
        _frozen.reset(token)
