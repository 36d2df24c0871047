"""The usage explorer: one metric, grouped, filtered, cut by time, beside four weeks earlier.

The address of a view is its whole state.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from math import ceil
from typing import Any
from uuid import UUID

from apps.analytics.explorer_filters import value_names
from apps.analytics.explorer_query import METRICS, Query, amount_of, group_words
from apps.analytics.period import Period
from apps.analytics.reads import Figures, Row, read
from apps.core.web.figures import change, day_label
from apps.usage.store import OrgState, org_state

__all__ = ["Explorer", "Line", "explore"]

_PAGE = 25
_SERIES = 7
# The earlier period is shown only where history reaches into its first days: a late start is no saving.
_REACH_DAYS = 4


@dataclass(slots=True)
class Line:
    """A row of the table. ``whole`` is its amount on complete days, which is what ``before`` is compared with."""

    key: str
    name: str
    colour: int
    figures: Figures
    amount: Decimal | int
    before: Decimal | int | None
    share: float
    whole: Decimal | int = 0
    values: list[Decimal | int] = field(default_factory=list)
    drill: str = ""

    @property
    def change(self) -> Decimal | None:
        return None if self.before is None else change(Decimal(self.whole), Decimal(self.before))

    @property
    def per_call(self) -> Decimal | None:
        """What a call cost on average; None where none of them has a price."""
        priced = self.figures.calls - self.figures.unpriced
        return self.figures.cost / priced if priced > 0 else None


@dataclass(slots=True)
class Heat:
    """A metric by weekday (Monday first) and hour; ``levels`` are 0 to 8 of the highest."""

    rows: list[tuple[str, list[tuple[int, Decimal | int]]]]
    peak: str


@dataclass(slots=True)
class Explorer:
    """Everything on the page."""

    query: Query
    total: Figures
    amount: Decimal | int
    before: Decimal | int | None
    whole: Decimal | int
    lines: list[Line]
    groups: int
    buckets: list[datetime]
    series: list[Line]
    ghost: list[Decimal | int] | None
    heat: Heat | None

    @property
    def words(self) -> str:
        return METRICS[self.query.metric][0]

    @property
    def kind(self) -> str:
        return METRICS[self.query.metric][1]

    @property
    def column(self) -> str:
        return group_words(self.query.by)

    @property
    def change(self) -> Decimal | None:
        return None if self.before is None else change(Decimal(self.whole), Decimal(self.before))

    @property
    def per_call(self) -> Decimal | None:
        priced = self.total.calls - self.total.unpriced
        return self.total.cost / priced if priced > 0 else None

    @property
    def is_empty(self) -> bool:
        return self.total.events == 0

    @property
    def partial(self) -> bool:
        return self.query.period.partial

    @property
    def pages(self) -> int:
        return max(1, -(-self.groups // _PAGE))

    @property
    def table(self) -> list[dict[str, Any]]:
        """Rows of the table under the chart, newest first."""
        rows = []
        for i, start in enumerate(self.buckets):
            values = [line.values[i] for line in self.series]
            rows.append(
                {
                    "label": self._label(start),
                    "running": self.partial and i == len(self.buckets) - 1,
                    "values": values,
                    "all": sum(values, Decimal(0)),
                    "before": self.ghost[i] if self.ghost else None,
                }
            )
        return rows[::-1]

    @property
    def chart(self) -> dict[str, Any]:
        starts = self.buckets
        step = max(1, len(starts) // 8)
        marks = list(range(len(starts))) if len(starts) <= 10 else [
            i for i, start in enumerate(starts)
            if (start.weekday() == 0 if self.query.grain == "day" and len(starts) <= 62 else i % step == 0)
        ]  # fmt: skip
        return {
            "labels": [self._label(start) for start in starts],
            "titles": [self._title(start) for start in starts],
            "marks": marks,
            "kind": self.kind,
            "partial": self.partial,
            "series": [
                {"name": line.name, "c": line.colour, "v": [float(v) for v in line.values]} for line in self.series
            ],
            "ghost": [float(v) for v in self.ghost] if self.ghost else None,
            "ghost_name": self.query.period.earlier_words,
        }

    def _label(self, start: datetime) -> str:
        if self.query.grain == "month":
            return f"{start:%b %Y}"
        return f"{day_label(start.date())} {start:%H:%M}" if self.query.grain == "hour" else day_label(start.date())

    def _title(self, start: datetime) -> str:
        if self.query.grain == "week":
            return f"Week of {day_label(start.date())}"
        return f"{start:%a} {self._label(start)}" if self.query.grain != "month" else self._label(start)


# ---------------------------------------------------------------- reading
def explore(*, org_id: UUID, query: Query, everything: bool = False) -> Explorer:
    """Read the view; ``everything`` puts all lines on one page (downloads). The number of queries never grows."""
    period = query.period
    state = org_state(org_id)
    groups, total = _read(org_id, query, period, by=query.by, latency=True, state=state)
    then = _then(org_id, query, state) if query.compare else None
    sums = {row.group or "": row.figures for row in groups}
    amount = amount_of(total, query.metric)
    lines = [
        Line(
            key=key,
            name="",
            colour=0,
            figures=figures,
            amount=amount_of(figures, query.metric),
            whole=then.whole.get(key, 0) if then else 0,
            before=then.before.get(key, 0) if then else None,
            share=float(Decimal(amount_of(figures, query.metric)) / Decimal(amount)) if amount else 0.0,
        )
        for key, figures in sums.items()
    ]
    by_amount = sorted(lines, key=lambda line: (-Decimal(line.amount), -line.figures.calls, line.key))
    for place, line in enumerate(by_amount[:_SERIES]):
        line.colour = place + 1
    _name(org_id, query.by, lines)
    ordered = _sorted(lines, query.sort)
    shown = ordered if everything else ordered[(query.page - 1) * _PAGE : query.page * _PAGE]
    buckets = _buckets(period, query.grain)
    heat = _heat(org_id, query, state) if query.view == "heat" else None
    ghost = None
    if heat is None:
        coloured = by_amount[:_SERIES]
        _fill(org_id, query, {line.key: line for line in [*coloured, *shown]}, buckets, state)
        series = _series(org_id, query, coloured, len(lines), buckets)
        if then and query.grain != "month":
            earlier = period.earlier()
            rows, _ = _read(org_id, query, earlier, granularity=query.grain, state=state)
            ghost = _spread(rows, _buckets(earlier, query.grain), query)[: len(buckets)]
            ghost += [0] * (len(buckets) - len(ghost))
    else:
        series = []
    for line in shown:
        if line.key or query.by not in query.filters:
            line.drill = query.address(
                filters=query.with_filter(query.by, [line.key]), by="model" if query.by != "model" else "project"
            )
    return Explorer(
        query=query, total=total, amount=amount, whole=sum(then.whole.values(), Decimal(0)) if then else 0,
        before=sum(then.before.values(), Decimal(0)) if then else None, lines=shown, groups=len(lines),
        buckets=buckets, series=series, ghost=ghost, heat=heat,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Then:
    """Group → amount, on the complete days of the period and of four weeks earlier."""

    whole: dict[str, Decimal | int]
    before: dict[str, Decimal | int]


def _then(org_id: UUID, query: Query, state: OrgState | None) -> _Then | None:
    """What the view is compared with; None where history does not reach that far, or no day is complete."""
    period, earlier = query.period, query.period.earlier()
    if period.partial:
        if len(period.days) < 2:
            return None
        day = timedelta(days=1)
        period, earlier = replace(period, last=period.last - day), replace(earlier, last=earlier.last - day)
    first = replace(earlier, last=min(earlier.last, earlier.first + timedelta(days=_REACH_DAYS - 1)))
    _, reached = read(org_id, start=first.start, end=first.end, timezone=first.zone.key, state=state)
    if not reached.events:
        return None
    amounts = []
    for part in (period, earlier):
        rows, _ = _read(org_id, query, part, by=query.by, state=state)
        amounts.append({row.group or "": amount_of(row.figures, query.metric) for row in rows})
    return _Then(*amounts)


def _read(org_id: UUID, query: Query, period: Period, **how: Any) -> tuple[list[Row], Figures]:
    return read(org_id, start=period.start, end=period.end, timezone=period.zone.key, filters=query.filters, **how)


def _sorted(lines: Sequence[Line], sort: str) -> list[Line]:
    def worth(line: Line) -> tuple[Any, ...]:
        least = Decimal("-Infinity")
        values: dict[str, Any] = {
            "amount": Decimal(line.amount),
            "share": Decimal(line.amount),
            "change": line.change if line.change is not None else least,
            "calls": line.figures.calls,
            "per_call": line.per_call if line.per_call is not None else least,
            "p95": line.figures.p95 if line.figures.p95 is not None else -1,
            "errors": line.figures.error_share if line.figures.error_share is not None else -1,
        }
        return values[sort], Decimal(line.amount), line.figures.calls

    if sort == "name":
        return sorted(lines, key=lambda line: (line.name.casefold(), line.key))
    return sorted(sorted(lines, key=lambda line: line.key), key=worth, reverse=True)


def _name(org_id: UUID, by: str, lines: Sequence[Line]) -> None:
    names = value_names(org_id, by, [line.key for line in lines])
    for line in lines:
        line.name = names[line.key]


def _buckets(period: Period, grain: str) -> list[datetime]:
    """The starts of the period's parts, aware, in its zone."""
    if grain == "hour":
        count = int((period.end - period.start) / timedelta(hours=1))
        utc = [period.start.timestamp() + 3600 * n for n in range(count)]
        return [datetime.fromtimestamp(moment, period.zone) for moment in utc]
    starts: list[datetime] = []
    for day in period.days:
        if grain == "week":
            day -= timedelta(days=day.weekday())
        elif grain == "month":
            day = day.replace(day=1)
        start = datetime(day.year, day.month, day.day, tzinfo=period.zone)
        if not starts or starts[-1] != start:
            starts.append(start)
    return starts


def _spread(rows: Iterable[Row], buckets: Sequence[datetime], query: Query) -> list[Decimal | int]:
    place = {start.timestamp(): i for i, start in enumerate(buckets)}
    values: list[Decimal | int] = [0] * len(buckets)
    for row in rows:
        at = place.get(row.start.timestamp()) if row.start else None
        if at is not None:
            values[at] += amount_of(row.figures, query.metric)
    return values


def _fill(
    org_id: UUID, query: Query, lines: Mapping[str, Line], buckets: Sequence[datetime], state: OrgState | None
) -> None:
    """The values of some lines by bucket, in one query."""
    rows, _ = (
        read(
            org_id, start=query.period.start, end=query.period.end, timezone=query.period.zone.key,
            granularity=query.grain, by=query.by, filters={**query.filters, query.by: tuple(lines)}, state=state,
        )
        if lines
        else ([], None)
    )  # fmt: skip
    of_line: dict[str, list[Row]] = {key: [] for key in lines}
    for row in rows:
        of_line[row.group or ""].append(row)
    for key, line in lines.items():
        line.values = _spread(of_line[key], buckets, query)


def _series(
    org_id: UUID, query: Query, coloured: Sequence[Line], groups: int, buckets: Sequence[datetime]
) -> list[Line]:
    """What the chart stacks: the coloured lines, and the others together in grey."""
    series = [line for line in coloured if any(line.values)]
    if groups <= len(coloured):
        return series
    rows, _ = _read(org_id, query, query.period, granularity=query.grain)
    rest = [
        whole - sum((line.values[i] for line in coloured), Decimal(0))
        for i, whole in enumerate(_spread(rows, buckets, query))
    ]
    amount = sum(rest, Decimal(0))
    if amount:
        others = groups - len(coloured)
        name = f"{others} other{'s' if others > 1 else ''}"
        series.append(Line("", name, 0, Figures(), amount, None, 0.0, values=list(rest)))
    return series


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LEVELS = 8


def _heat(org_id: UUID, query: Query, state: OrgState | None) -> Heat:
    """Sums by weekday and hour of the organisation's clock."""
    rows, _ = _read(org_id, query, query.period, granularity="hour", state=state)
    sums: list[list[Decimal | int]] = [[0] * 24 for _ in _DAYS]
    for row in rows:
        if row.start is not None:
            local = row.start.astimezone(query.period.zone)
            sums[local.weekday()][local.hour] += amount_of(row.figures, query.metric)
    highest = max(max(hours) for hours in sums)
    level = [
        [(ceil(_LEVELS * Decimal(value) / Decimal(highest)) if highest else 0, value) for value in day] for day in sums
    ]
    peak = ""
    if highest:
        day, hour = next((d, h) for d in range(7) for h in range(24) if sums[d][h] == highest)
        peak = f"{_DAYS[day]} {hour:02}:00"
    return Heat(list(zip(_DAYS, level, strict=True)), peak)
