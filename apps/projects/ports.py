"""What projects shows of what stands above it: usage by key and by project (filled by analytics)."""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal, Protocol
from uuid import UUID

from apps.core.ports import Port

__all__ = ["UsageDay", "UsageReader", "UsageSummary", "usage_reader"]


@dataclass(frozen=True, slots=True)
class UsageDay:
    """One day's figures; ``cost`` in USD."""

    day: date
    calls: int
    tokens: int
    cost: Decimal


@dataclass(frozen=True, slots=True)
class UsageSummary:
    """The figures of the last days up to today, which is still running; ``tokens`` of all kinds, ``cost`` in USD.

    ``query`` is that of the Usage page with the same figures.
    """

    events: int
    calls: int
    errors: int
    tokens: int
    cost: Decimal
    days: list[UsageDay] = field(default_factory=list)
    query: str = ""

    @property
    def costs(self) -> list[Decimal]:
        """What each day cost."""
        return [day.cost for day in self.days]


class UsageReader(Protocol):
    """Reads usage of one thing."""

    def last_days(self, *, org_id: UUID, dimension: Literal["key", "project"], id: UUID) -> UsageSummary | None:
        """The last 28 days, in the organisation's time zone; None where nothing is known of usage at all."""


class _Nothing:
    def last_days(self, *, org_id: UUID, dimension: Literal["key", "project"], id: UUID) -> UsageSummary | None:
        return None


usage_reader: Port[UsageReader] = Port("projects.usage_reader", _Nothing())
