"""The panel of days on Home: a metric by day, stacked by model, team or project."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from apps.analytics.explorer_filters import value_names
from apps.analytics.explorer_query import GROUPS
from apps.analytics.period import Period
from apps.analytics.reads import Figures, Row
from apps.core.web.figures import day_label

__all__ = ["METRICS", "STACKS", "DayPanel", "Series", "axis", "day_of", "day_panel", "ranking", "series_of", "sums_of"]

# Metric → (words, kind of figure).
METRICS = {"spend": ("Spend", "money"), "calls": ("Calls", "count"), "tokens": ("Tokens", "short")}
# What a day is made of → words.
STACKS = {"model": "Model", "team": "Team", "project": "Project"}
_SERIES = 7


@dataclass(slots=True)
class Series:
    """One colour of a stack: its amount in each day."""

    name: str
    colour: int
    values: list[Decimal | int]

    @property
    def total(self) -> Decimal | int:
        return sum(self.values, Decimal(0))


@dataclass(slots=True)
class DayPanel:
    """A metric by day, stacked by one of :data:`STACKS`, beside four weeks earlier where that is known."""

    metric: str
    stack: str
    period: Period
    series: list[Series]
    before: list[Decimal | int] | None

    @property
    def words(self) -> str:
        return METRICS[self.metric][0]

    @property
    def kind(self) -> str:
        return METRICS[self.metric][1]

    @property
    def totals(self) -> list[Decimal | int]:
        return [sum((series.values[i] for series in self.series), Decimal(0)) for i in range(len(self.period.days))]

    @property
    def table(self) -> list[dict[str, Any]]:
        """Rows of the table under the chart, newest first."""
        totals = self.totals
        rows = [
            {
                "day": day,
                "running": self.period.partial and day == self.period.last,
                "values": [series.values[i] for series in self.series],
                "all": totals[i],
                "before": self.before[i] if self.before else None,
            }
            for i, day in enumerate(self.period.days)
        ]
        return rows[::-1]

    @property
    def chart(self) -> dict[str, Any]:
        return {
            **axis(self.period),
            "kind": self.kind,
            "partial": self.period.partial,
            "series": [
                {"name": series.name, "c": series.colour, "v": [float(v) for v in series.values]}
                for series in self.series
            ],
            "ghost": [float(v) for v in self.before] if self.before else None,
            "ghost_name": self.period.earlier_words,
        }


def day_panel(
    org_id: UUID, period: Period, rows: Sequence[Row], *, metric: str, stack: str, earlier: Sequence[Figures] | None
) -> DayPanel:
    """The panel of ``rows``, which are days by ``stack``; ``earlier`` the days four weeks before."""
    colours = ranking(sums_of(rows))
    shown = [key for key, colour in colours.items() if colour]
    names = dict.fromkeys(shown, "") if stack == "model" else value_names(org_id, stack, shown)
    series = series_of(rows, colours, period, metric, without=GROUPS[stack][1])
    for one in series:
        one.name = names.get(one.name) or one.name
    before = [figures.metric(metric) for figures in earlier] if earlier else None
    return DayPanel(metric, stack, period, series, before)


def day_of(row: Row, period: Period) -> date:
    """The day of a row that has one."""
    assert row.start is not None
    return row.start.astimezone(period.zone).date()


def sums_of(rows: Iterable[Row]) -> dict[str, Figures]:
    """Group → its sums over all days, without what belongs to none."""
    sums: dict[str, Figures] = {}
    for row in rows:
        if row.group:
            before = sums.get(row.group)
            sums[row.group] = row.figures if before is None else before + row.figures
    return sums


def ranking(sums: Mapping[str, Figures]) -> dict[str, int]:
    """Group → colour, by spend and then calls; those after the seventh share grey. The same on the whole page."""
    order = sorted(sums, key=lambda name: (-sums[name].cost, -sums[name].calls, name))
    return {name: index + 1 if index < _SERIES else 0 for index, name in enumerate(order)}


def series_of(
    rows: Iterable[Row], colours: Mapping[str, int], period: Period, metric: str, *, without: str
) -> list[Series]:
    """The coloured groups by name, and all others in grey; ``without`` names what belongs to none."""
    index = {day: i for i, day in enumerate(period.days)}
    values: dict[str, list[Decimal | int]] = {}
    for row in rows:
        amount = row.figures.metric(metric)
        at = index.get(day_of(row, period))
        if amount and at is not None:
            values.setdefault(row.group or "", [0] * len(index))[at] += amount
    named = [Series(name, colour, values[name]) for name, colour in colours.items() if colour and name in values]
    rest = [values[name] for name in values if not colours.get(name)]
    if rest:
        others = without if len(rest) == 1 and "" in values else f"{len(rest)} others"
        named.append(Series(others, 0, [sum(day, Decimal(0)) for day in zip(*rest, strict=True)]))
    return named


def axis(period: Period) -> dict[str, Any]:
    """Labels of the day axis; ``marks`` are the days that get one: Mondays where there are many."""
    days = period.days
    step = 4 if len(days) > 60 else 1
    mondays = [i for i, day in enumerate(days) if day.weekday() == 0][::step]
    return {
        "labels": [day_label(day) for day in days],
        "titles": [f"{day:%a} {day_label(day)}" for day in days],
        "marks": list(range(len(days))) if len(days) <= 10 else mondays,
    }
