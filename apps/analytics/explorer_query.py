"""The view that an address of the usage explorer names, and the words it may use."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import QueryDict

from apps.analytics.period import DEFAULT, Period, period_of
from apps.analytics.reads import Figures
from apps.usage.selectors import DIMENSIONS

__all__ = [
    "GRAINS",
    "GROUPS",
    "IDS",
    "METRICS",
    "MOST_VALUES",
    "SORTS",
    "VIEWS",
    "Query",
    "amount_of",
    "group_words",
    "query_of",
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
IDS = {"project", "team", "user", "key"}
_HOURS_MOST_DAYS = 7
MOST_VALUES = 40
_MOST_FILTERS = 8


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
        values = tuple(value for value in values if name not in IDS or not value or _is_id(value))
        if values:
            filters[name] = values[:MOST_VALUES]
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


def group_words(by: str) -> str:
    """What a dimension is called: ``Project``, or a tag's key."""
    return by.removeprefix("tag:") if by.startswith("tag:") else GROUPS[by][0]


def amount_of(figures: Figures, metric: str) -> Decimal | int:
    """The figure that a metric shows."""
    value: Decimal | int = getattr(figures, METRICS[metric][2])
    return value
