"""Usage of one key or one project, for the pages of projects (fills :data:`apps.projects.ports.usage_reader`)."""

from decimal import Decimal
from typing import Literal
from urllib.parse import urlencode
from uuid import UUID

from apps.accounts.selectors import org_get
from apps.analytics.period import DEFAULT, period_of
from apps.analytics.selectors import usage_query
from apps.projects.ports import UsageDay, UsageSummary
from apps.usage.selectors import Metrics

__all__ = ["LastDays"]


class LastDays:
    """The last 28 days, as the Usage page has them."""

    def last_days(self, *, org_id: UUID, dimension: Literal["key", "project"], id: UUID) -> UsageSummary:
        period = period_of(DEFAULT, org_get(org_id).timezone)
        answer = usage_query(
            org_id=org_id, start=period.start, end=period.end, granularity="day", filters={dimension: [str(id)]}
        )
        by_day = {row.start.date(): row.metrics for row in answer.data if row.start is not None}
        days = [_day(day, by_day.get(day, Metrics())) for day in period.days]
        total = answer.totals
        query = urlencode({"period": period.key, f"filter[{dimension}]": str(id)}, safe="[]")
        return UsageSummary(
            events=total.events, calls=total.calls, errors=total.errors, tokens=_tokens(total),
            cost=Decimal(total.cost_usd), days=days, query=query,
        )  # fmt: skip


def _day(day: object, metrics: Metrics) -> UsageDay:
    return UsageDay(day, metrics.calls, _tokens(metrics), Decimal(metrics.cost_usd))  # type: ignore[arg-type]


def _tokens(metrics: Metrics) -> int:
    return metrics.input_tokens + metrics.output_tokens + metrics.cache_read_tokens + metrics.cache_creation_tokens
