"""What was paid for: by kind of token and model, by the price book; and month over month."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connection

from apps.analytics.period import Period
from apps.analytics.reads import Figures, read
from apps.core.clock import now
from apps.core.web.figures import change
from apps.usage.pricing.book import PriceClass, get_book
from apps.usage.store import org_number, rollup_sql

__all__ = ["KINDS", "Costs", "ModelCost", "Month", "costs"]

# Kinds of what is paid for, in the order of the price book's rates, and what each is counted by.
KINDS = {
    "input": "Input",
    "cache_write": "Cache write",
    "cache_read": "Cache read",
    "output": "Output",
    "web": "Web searches",
}
MONTHS = 6
# A month that was used in its first days is a whole one, also where nothing is known of those before it.
_REACH_DAYS = 4
_SQL = """
SELECT r.bucket, t.model, t.service_tier, t.batch, t.geo, t.speed, t.context_band,
       sum(r.input_tokens), sum(r.output_tokens), sum(r.cache_read_tokens), sum(r.cache_write_5m_tokens),
       sum(r.cache_write_1h_tokens), sum(r.web_searches), sum(r.cost_nano), sum(r.unpriced), sum(r.events)
FROM {rollups} AS r JOIN usage_what t ON t.id = r.what {where}
GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
_OF_PROJECTS = (
    "WHERE r.who IN (SELECT id FROM usage_who WHERE org = %(org)s AND project_id = ANY(%(projects)s::uuid[]))"
)


@dataclass(slots=True)
class ModelCost:
    """A model's bill: dollars by kind, and what they do not explain."""

    name: str
    kinds: dict[str, Decimal] = field(default_factory=lambda: dict.fromkeys(KINDS, Decimal(0)))
    total: Decimal = Decimal(0)
    events: int = 0
    unpriced: int = 0
    share: float = 0.0

    @property
    def other(self) -> Decimal:
        """What senders reported without a price of ours, and prices that changed within a day."""
        return self.total - sum(self.kinds.values(), Decimal(0))

    @property
    def cells(self) -> list[Decimal]:
        return list(self.kinds.values())


@dataclass(slots=True)
class Month:
    """A calendar month of the organisation; the running one is compared at the same number of days."""

    first: date
    figures: Figures
    running: bool
    change: Decimal | None

    @property
    def label(self) -> str:
        return f"{self.first:%B %Y}"


@dataclass(slots=True)
class Costs:
    """Everything on the page."""

    period: Period
    models: list[ModelCost]
    total: ModelCost
    months: list[Month]

    @property
    def kinds(self) -> list[dict[str, Any]]:
        """The bill by kind, what the kinds do not explain at the end."""
        total = self.total.total
        rows = [{"name": KINDS[kind], "cost": cost} for kind, cost in self.total.kinds.items()]
        if self.total.other:
            rows.append({"name": "Other", "cost": self.total.other})
        return [
            row | {"share": float(row["cost"] / total) if total else 0.0, "colour": place}  # type: ignore[operator]
            for place, row in enumerate(rows, 1)
        ]

    @property
    def other(self) -> bool:
        return any(line.other for line in self.models)

    @property
    def strip(self) -> list[tuple[int, Decimal]]:
        return [(row["colour"], row["cost"]) for row in self.kinds]


def costs(*, org_id: UUID, period: Period, projects: Collection[str] | None = None) -> Costs:
    """The bill of a period, of all projects or of these (ids). Days are the organisation's, each priced by the book as
    it was at noon."""
    models: dict[str, ModelCost] = {}
    number = org_number(org_id)
    rows: list[tuple[Any, ...]] = []
    if number is not None:
        sql = _SQL.format(rollups=rollup_sql("day", "what"), where="")
        if projects is not None:
            sql = _SQL.format(rollups=rollup_sql("day"), where=_OF_PROJECTS)
        with connection.cursor() as cursor:
            cursor.execute(
                sql,
                {"org": number, "start": period.first, "end": period.end.date(), "projects": list(projects or ())},
            )
            rows = cursor.fetchall()
    _add_up(rows, models, period.zone, org_id)
    ranked = sorted(models.values(), key=lambda line: (-line.total, -line.events, line.name))
    total = ModelCost("All")
    for line in ranked:
        total.total += line.total
        total.events += line.events
        total.unpriced += line.unpriced
        for kind, cost in line.kinds.items():
            total.kinds[kind] += cost
    for line in ranked:
        line.share = float(line.total / total.total) if total.total else 0.0
    months = _months(org_id, period.zone, projects)
    return Costs(period, [line for line in ranked if line.total or line.unpriced], total, months)


def _add_up(rows: list[tuple[Any, ...]], models: dict[str, ModelCost], zone: ZoneInfo, org_id: UUID) -> None:
    book = get_book()
    sums: dict[str, dict[str, Fraction]] = {}
    for day, model, tier, batch, geo, speed, band, *counts in rows:
        plain, out, read_back, short_lived, long_lived, web, nano, unpriced, events = (int(n or 0) for n in counts)
        line = models.setdefault(model, ModelCost(model or "No model"))
        line.total += Decimal(nano).scaleb(-9)
        line.events += events
        line.unpriced += unpriced
        noon = round(datetime.combine(day, time(12), zone).timestamp()) * 1_000_000
        price = book.find(model, noon, org_id) if model else None
        if price is None:
            continue
        rates = book.rates_of(price, PriceClass(tier, batch, geo, speed, band))
        kinds = sums.setdefault(model, dict.fromkeys(KINDS, Fraction(0)))
        kinds["input"] += rates[0] * plain
        kinds["output"] += rates[1] * out
        kinds["cache_read"] += rates[2] * read_back
        kinds["cache_write"] += rates[3] * short_lived + rates[4] * long_lived
        kinds["web"] += rates[5] * web
    for model, kinds in sums.items():
        models[model].kinds = {kind: Decimal(round(nano)).scaleb(-9) for kind, nano in kinds.items()}


def _months(org_id: UUID, zone: ZoneInfo, projects: Collection[str] | None) -> list[Month]:
    """The last six months, newest first; a month before any event is left out.

    A month is compared with the one before where that was used from its first days: a late start is no growth.
    """
    today = now().astimezone(zone).date()
    starts = [today.replace(day=1)]
    for _ in range(MONTHS):
        starts.append((starts[-1] - timedelta(days=1)).replace(day=1))
    first, end = starts[-1], today + timedelta(days=1)
    rows, _ = read(
        org_id, start=datetime.combine(first, time(), zone), end=datetime.combine(end, time(), zone),
        timezone=zone.key, granularity="day", filters=None if projects is None else {"project": list(projects)},
    )  # fmt: skip
    by_month: dict[date, Figures] = {start: Figures() for start in starts}
    same_days: dict[date, Decimal] = dict.fromkeys(starts, Decimal(0))
    began: set[date] = set()
    for row in rows:
        if row.start is None:
            continue
        day = row.start.astimezone(zone).date()
        start = day.replace(day=1)
        by_month[start] = by_month[start] + row.figures
        if row.figures.events and day.day <= _REACH_DAYS:
            began.add(start)
        if day.day < today.day:
            same_days[start] += row.figures.cost
    months = []
    for start, before in pairwise(starts):
        figures, earlier = by_month[start], by_month[before]
        running = start == starts[0]
        moved = None
        whole = before in began or any(by_month[month].events for month in starts if month < before)
        if whole and earlier.events:
            moved = change(same_days[start], same_days[before]) if running else change(figures.cost, earlier.cost)
        if figures.events or running:
            months.append(Month(start, figures, running, moved))
    return months
