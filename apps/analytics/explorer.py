"""The usage explorer: one metric, grouped, filtered, cut by time, beside four weeks earlier.

The address of a view is its whole state.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from math import ceil
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import QueryDict

from apps.analytics.people import person_names
from apps.analytics.period import DEFAULT, Period, period_of
from apps.analytics.reads import Figures, Row, read
from apps.core.web.figures import change, day_label
from apps.projects.selectors import key_names, project_names
from apps.teams.selectors import team_names
from apps.usage.selectors import DIMENSIONS, tag_keys
from apps.usage.store import OrgState, org_state

__all__ = [
    "GRAINS",
    "METRICS",
    "VIEWS",
    "Explorer",
    "Line",
    "Query",
    "Value",
    "dimensions_of",
    "explore",
    "filter_words",
    "query_of",
    "value_names",
    "values_of",
]

# Metric → (words, kind of figure, field of Figures).
METRICS = {
    "cost": ("Cost", "money", "cost"),
    "calls": ("Calls", "count", "calls"),
    "tokens": ("Tokens", "short", "tokens"),
    "input_tokens": ("Input tokens", "short", "input_tokens"),
    "output_tokens": ("Output tokens", "short", "output_tokens"),
    "cache_read_tokens": ("Cache read tokens", "short", "cache_read_tokens"),
    "cache_creation_tokens": ("Cache write tokens", "short", "cache_creation_tokens"),
    "tool_calls": ("Tool calls", "count", "tool_calls"),
    "errors": ("Errors", "count", "errors"),
    "events": ("Events", "count", "events"),
}
# Dimension → (words for one, words for what is not known).
GROUPS = {
    "model": ("Model", "No model"),
    "project": ("Project", "No project"),
    "team": ("Team", "No team"),
    "user": ("Person", "No person"),
    "key": ("Key", "No key"),
    "event_type": ("Event type", "None"),
    "mcp_server": ("MCP server", "No server"),
    "mcp_tool": ("MCP tool", "No tool"),
    "source": ("Source", "None"),
    "status": ("Status", "None"),
}
GRAINS = {"hour": "Hour", "day": "Day", "week": "Week", "month": "Month"}
VIEWS = {"bars": "Bars", "lines": "Lines", "heat": "Hour of week"}
SORTS = ("amount", "change", "share", "calls", "per_call", "p95", "errors", "name")
_IDS = {"project", "team", "user", "key"}
_HOURS_MOST_DAYS = 7
_PAGE = 25
_SERIES = 7
_MOST_VALUES = 40
_MOST_FILTERS = 8
# The earlier period is shown only where history reaches into its first days: a late start is no saving.
_REACH_DAYS = 4


@dataclass(frozen=True, slots=True)
class Query:
    """What the address says, made valid: an unknown word counts as not there."""

    metric: str
    by: str
    period: Period
    grain: str
    view: str
    compare: bool
    sort: str
    page: int
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def address(self, **changes: Any) -> str:
        """The query string of this view with some of it changed; what is the default is left out."""
        changed = replace(self, **{"page": 1, **changes}) if changes else self
        period = changes.get("period", self.period)
        key = period if isinstance(period, str) else period.key
        said = {
            "metric": (changed.metric, "cost"),
            "by": (changed.by, "model"),
            "period": (key, DEFAULT),
            "grain": (changed.grain, "day"),
            "view": (changed.view, "bars"),
            "compare": ("" if changed.compare else "off", ""),
            "sort": (changed.sort, "amount"),
            "page": (str(changed.page), "1"),
        }
        pairs = [(name, value) for name, (value, default) in said.items() if value != default]
        pairs += [(f"filter[{name}]", ",".join(values)) for name, values in sorted(changed.filters.items())]
        return urlencode(pairs, safe="[],:")

    def with_filter(self, name: str, values: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The filters with one set anew, or taken away where no value is left."""
        kept = {key: chosen for key, chosen in self.filters.items() if key != name}
        chosen = tuple(dict.fromkeys(values))
        return kept | {name: chosen} if chosen else kept


def query_of(params: QueryDict, *, timezone: str, tags: Sequence[str]) -> Query:
    """The view that an address names."""
    dimensions = {*DIMENSIONS, *(f"tag:{name}" for name in tags)}
    period = period_of(params.get("period"), timezone)
    days = len(period.days)
    grain = params.get("grain", "day")
    if grain not in GRAINS or (grain == "hour" and days > _HOURS_MOST_DAYS):
        grain = "day"
    filters: dict[str, tuple[str, ...]] = {}
    for key in params:
        name = key.removeprefix("filter[").removesuffix("]")
        if key != f"filter[{name}]" or name not in dimensions or len(filters) >= _MOST_FILTERS:
            continue
        values = tuple(dict.fromkeys(value[:200] for text in params.getlist(key) for value in text.split(",")))
        values = tuple(value for value in values if name not in _IDS or not value or _is_id(value))
        if values:
            filters[name] = values[:_MOST_VALUES]
    page = params.get("page", "1")
    return Query(
        metric=_known(params.get("metric"), METRICS, "cost"),
        by=_known(params.get("by"), dimensions, "model"),
        period=period,
        grain=grain,
        view=_known(params.get("view"), VIEWS, "bars"),
        compare=params.get("compare") != "off",
        sort=_known(params.get("sort"), SORTS, "amount"),
        page=int(page) if page.isascii() and page.isdigit() and 0 < int(page[:6]) < 10_000 else 1,
        filters=filters,
    )


def _known(value: str | None, words: Iterable[str], default: str) -> str:
    return value if value is not None and value in set(words) else default


def _is_id(value: str) -> bool:
    try:
        UUID(value)
    except ValueError:
        return False
    return True


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


def group_words(by: str) -> str:
    """What a dimension is called: ``Project``, or a tag's key."""
    return by.removeprefix("tag:") if by.startswith("tag:") else GROUPS[by][0]


# ---------------------------------------------------------------- reading
def explore(*, org_id: UUID, query: Query, everything: bool = False) -> Explorer:
    """Read the view; ``everything`` puts all lines on one page (downloads). The number of queries never grows."""
    period = query.period
    state = org_state(org_id)
    groups, total = _read(org_id, query, period, by=query.by, latency=True, state=state)
    then = _then(org_id, query, state) if query.compare else None
    sums = {row.group or "": row.figures for row in groups}
    amount = _amount(total, query.metric)
    lines = [
        Line(
            key=key,
            name="",
            colour=0,
            figures=figures,
            amount=_amount(figures, query.metric),
            whole=then.whole.get(key, 0) if then else 0,
            before=then.before.get(key, 0) if then else None,
            share=float(Decimal(_amount(figures, query.metric)) / Decimal(amount)) if amount else 0.0,
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
        amounts.append({row.group or "": _amount(row.figures, query.metric) for row in rows})
    return _Then(*amounts)


def _read(org_id: UUID, query: Query, period: Period, **how: Any) -> tuple[list[Row], Figures]:
    return read(org_id, start=period.start, end=period.end, timezone=period.zone.key, filters=query.filters, **how)


def _amount(figures: Figures, metric: str) -> Decimal | int:
    value: Decimal | int = getattr(figures, METRICS[metric][2])
    return value


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


def value_names(org_id: UUID, by: str, keys: Iterable[str]) -> dict[str, str]:
    """What people call the values of a dimension; at most one query."""
    wanted = list(keys)
    if by.startswith("tag:"):
        return {key: key or f"No {by.removeprefix('tag:')}" for key in wanted}
    missing = GROUPS[by][1]
    if by not in _IDS:
        return {key: key or missing for key in wanted}
    ids = [UUID(key) for key in wanted if key]
    known: Mapping[UUID, str]
    if by == "user":
        known = person_names(org_id, ids)
    else:
        known = {"project": project_names, "team": team_names, "key": key_names}[by](org_id)
    gone = f"{GROUPS[by][0]} {{}} (gone)"
    return {key: known.get(UUID(key), gone.format(key[:8])) if key else missing for key in wanted}


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
            values[at] += _amount(row.figures, query.metric)
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
            sums[local.weekday()][local.hour] += _amount(row.figures, query.metric)
    highest = max(max(hours) for hours in sums)
    level = [
        [(ceil(_LEVELS * Decimal(value) / Decimal(highest)) if highest else 0, value) for value in day] for day in sums
    ]
    peak = ""
    if highest:
        day, hour = next((d, h) for d in range(7) for h in range(24) if sums[d][h] == highest)
        peak = f"{_DAYS[day]} {hour:02}:00"
    return Heat(list(zip(_DAYS, level, strict=True)), peak)


# ---------------------------------------------------------------- filters
@dataclass(frozen=True, slots=True)
class Value:
    """A value that a filter may take."""

    key: str
    name: str
    amount: Decimal | int
    chosen: bool


def values_of(*, org_id: UUID, query: Query, name: str) -> list[Value]:
    """The values of a dimension in the view's period, largest first, and those chosen already."""
    others = {key: values for key, values in query.filters.items() if key != name}
    rows, _ = read(
        org_id, start=query.period.start, end=query.period.end, timezone=query.period.zone.key, by=name, filters=others
    )
    chosen = query.filters.get(name, ())
    amounts = {row.group or "": _amount(row.figures, query.metric) for row in rows}
    ranked = sorted(amounts, key=lambda key: (-Decimal(amounts[key]), key))[:_MOST_VALUES]
    keys = [*chosen, *(key for key in ranked if key not in chosen)]
    names = value_names(org_id, name, keys)
    return [Value(key, names[key], amounts.get(key, 0), key in chosen) for key in keys]


def filter_words(org_id: UUID, query: Query) -> list[dict[str, Any]]:
    """The filters as words, each with the address without it; one query for each kind of name at most."""
    chips = []
    for name, values in query.filters.items():
        names = value_names(org_id, name, values)
        chips.append(
            {
                "name": name,
                "label": group_words(name),
                "values": [names[value] for value in values],
                "without": query.address(filters=query.with_filter(name, ())),
            }
        )
    return chips


def dimensions_of(org_id: UUID) -> dict[str, str]:
    """What usage can be grouped and filtered by here: dimension → words."""
    return {name: words for name, (words, _) in GROUPS.items()} | {f"tag:{key}": key for key in tag_keys(org_id)}
