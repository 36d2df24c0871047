"""The running month of an organisation: what it has used so far, what its plan allows, where the month will end."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from fractions import Fraction
from uuid import UUID
from zoneinfo import ZoneInfo

from apps.accounts.selectors import org_get
from apps.analytics.selectors import usage_query
from apps.core import clock, ports
from apps.usage.selectors import UsageAnswer

__all__ = ["LIMITS", "OrgUsage", "org_usage"]

# What a plan may bound; None is no bound.
LIMITS = ("projects", "members", "calls", "cost_usd")


@dataclass(frozen=True, slots=True)
class OrgUsage:
    """Usage of ``[start, end)`` as counted up to now. The forecast is the month's end at the pace so far."""

    start: datetime
    end: datetime
    timezone: str
    usage: UsageAnswer
    limits: dict[str, int | None]
    forecast_calls: int
    forecast_nano: int


def org_usage(org_id: UUID) -> OrgUsage:
    """The current calendar month in the organisation's time zone."""
    zone = ZoneInfo(org_get(org_id).timezone)
    moment = clock.now()
    first = moment.astimezone(zone).date().replace(day=1)
    start = datetime.combine(first, time(), zone)
    end = datetime.combine((first + timedelta(days=32)).replace(day=1), time(), zone)
    usage = usage_query(org_id=org_id, start=start, end=end, timezone=zone.key)
    # Across a change of the clocks, wall-clock subtraction would be an hour off: timestamps are not.
    elapsed = max(Fraction(moment.timestamp()) - Fraction(start.timestamp()), Fraction(1))
    pace = max(Fraction(1), (Fraction(end.timestamp()) - Fraction(start.timestamp())) / elapsed)
    allowed = ports.plan_limits.get()
    return OrgUsage(
        start=start, end=end, timezone=zone.key, usage=usage,
        limits={name: allowed.limit(org_id, name) for name in LIMITS},
        forecast_calls=round(usage.totals.calls * pace),
        forecast_nano=round(usage.totals.cost_nano * pace),
    )  # fmt: skip
