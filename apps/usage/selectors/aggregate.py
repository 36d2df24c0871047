"""Sums over the rollups: by time, by any dimension, in any time zone."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from apps.core.clock import now
from apps.core.errors import ValidationFailed
from apps.core.money import nano_to_str
from apps.core.tenancy import org_scope
from apps.usage import histogram, store
from apps.usage.models import TagKey
from apps.usage.selectors.dimensions import (
    DIMENSIONS,
    WHAT_DIMENSIONS,
    dimension_column,
    dimension_conditions,
    dimension_joins,
)
from apps.usage.selectors.past import SUMS, Row, parts, past_rows, rows_of

__all__ = [
    "DIMENSIONS",
    "GRANULARITIES",
    "MAX_ROWS",
    "Metrics",
    "UsageAnswer",
    "UsageRow",
    "tag_keys",
    "usage_aggregate",
]

GRANULARITIES = ("minute", "hour", "day", "week", "month", "none")
MAX_ROWS = 10_000
# Minute rows are kept 35 days; a margin of one keeps a query from reading a half-dropped day.
_MINUTES_KEPT = timedelta(days=34)

_SQL_SUMS = """
    sum(r.events),
    sum(r.events) FILTER (WHERE t.event_type = 'api_call'),
    sum(r.events) FILTER (WHERE t.event_type = 'mcp_tool'),
    sum(r.events) FILTER (WHERE t.status = 'error'),
    sum(r.events) FILTER (WHERE t.status = 'error' AND t.event_type = 'api_call'),
    sum(r.input_tokens), sum(r.output_tokens), sum(r.cache_read_tokens),
    sum(r.cache_write_5m_tokens + r.cache_write_1h_tokens),
    sum(r.web_searches), sum(r.cost_nano), sum(r.reported_nano), sum(r.unpriced)
"""
_SQL_LATENCIES = "string_agg(r.latency_hist, ''::bytea) FILTER (WHERE t.event_type = 'api_call')"


@dataclass(frozen=True, slots=True)
class Metrics:
    """Sums of one row (docs/definitions.md), in the order of ``past.SUMS``.

    ``cost_nano`` is nano-USD; latencies are those of calls, in ms.

    ``errors`` are those of calls and tool calls, ``call_errors`` those of calls alone; ``unpriced`` counts events
    without a price.
    """

    events: int = 0
    calls: int = 0
    tool_calls: int = 0
    errors: int = 0
    call_errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    web_searches: int = 0
    cost_nano: int = 0
    reported_nano: int = 0
    unpriced: int = 0
    latency_ms_p50: int | None = None
    latency_ms_p95: int | None = None

    @property
    def cost_usd(self) -> str:
        """The exact cost as a decimal string."""
        return nano_to_str(self.cost_nano)

    @property
    def reported_cost_usd(self) -> str:
        """What senders said it cost, as a decimal string."""
        return nano_to_str(self.reported_nano)


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One bucket of one group; ``start`` is None without granularity, a group's value None where nothing is known."""

    start: datetime | None
    group: Mapping[str, str | None]
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class UsageAnswer:
    """Rows in the order of time and then of cost, their totals, and up to when everything acknowledged is counted."""

    data: list[UsageRow]
    totals: Metrics
    as_of: datetime


def tag_keys(org_id: UUID) -> list[str]:
    """The metadata keys that the organisation groups by."""
    with org_scope(org_id):
        return sorted(TagKey.objects.values_list("key", flat=True))


def usage_aggregate(
    *,
    org_id: UUID,
    start: datetime,
    end: datetime,
    timezone: str,
    org_timezone: str,
    granularity: str = "none",
    group_by: Sequence[str] = (),
    filters: Mapping[str, Sequence[str]] | None = None,
    latency: bool = True,
    state: store.OrgState | None = None,
) -> UsageAnswer:
    """Usage of ``[start, end)`` (aware), cut by ``granularity`` in ``timezone`` and grouped by dimensions.

    ``state`` is what :func:`store.org_state` said before, where several questions should agree on it.
    ``latency=False`` leaves the percentiles out, whose histograms are most of what is read.

    ``group_by`` and ``filters`` take :data:`DIMENSIONS` and ``tag:<name>``; an empty filter value means "not known".
    Raises :class:`ValidationFailed` for what cannot be answered exactly: borders inside a minute, minutes older than 34
    days, more than 10,000 rows.
    """
    org = state or store.org_state(org_id)
    if org is None or start >= end:
        return UsageAnswer([], Metrics(), store.as_of(org_id))
    zone = ZoneInfo(timezone)
    grain = _grain(start, end, zone, granularity, same_zone=timezone == org_timezone)
    params: dict[str, Any] = {"org": org.number, "tz": timezone}
    sql = _sql(grain, granularity, list(group_by), filters or {}, params, latency=latency)
    found: list[Row] = []
    for first, last, past in parts(start, end, ZoneInfo(org_timezone)):
        days = grain == "day"
        params["start"] = first.astimezone(zone).date() if days else first
        params["end"] = last.astimezone(zone).date() if days else last
        found += past_rows(sql, params, org.past) if past else rows_of(sql, params)
    if len(found) > MAX_ROWS:
        raise ValidationFailed(
            f"The answer has more than {MAX_ROWS:,} rows",
            errors=[
                {"pointer": "granularity", "detail": "choose a coarser granularity, a shorter period or fewer groups"}
            ],
        )
    return _answer(_merged(found), group_by, zone, org.as_of)


def _sql(
    grain: store.Grain,
    granularity: str,
    group_by: Sequence[str],
    filters: Mapping[str, Sequence[str]],
    params: dict[str, Any],
    *,
    latency: bool,
) -> str:
    dimensions = [dimension_column(name, index, params) for index, name in enumerate(group_by)]
    conditions = dimension_conditions(filters, params)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    keys = [_bucket(grain, granularity), *dimensions]
    names = {*group_by, *filters}
    side = _side(grain, names)
    whose = "JOIN usage_who w ON w.id = r.who " if names - set(WHAT_DIMENSIONS) else ""
    what = (
        "CROSS JOIN LATERAL (SELECT r.event_type, r.status) AS t "
        if side == "who"
        else "JOIN usage_what t ON t.id = r.what "
    )
    return (
        f"SELECT {', '.join(keys)}, {_SQL_SUMS}, {_SQL_LATENCIES if latency else 'NULL::bytea'}"  # noqa: S608 - our own parts
        f" FROM {store.rollup_sql(grain, side)} r {whose}{what}{dimension_joins((*group_by, *filters))}"
        f"{where} GROUP BY {', '.join(str(i + 1) for i in range(len(keys)))} LIMIT {MAX_ROWS + 1}"
    )


def _side(grain: store.Grain, names: Set[str]) -> store.Side:
    """The smallest table of days that knows these dimensions."""
    if grain != "day":
        return "both"
    if names <= set(WHAT_DIMENSIONS):
        return "what"
    return "who" if names & set(WHAT_DIMENSIONS) <= {"event_type", "status"} else "both"


def _merged(found: Iterable[Row]) -> Iterable[Row]:
    """One row for each key: the past and the present may share a week."""
    rows: dict[tuple[Any, ...], Row] = {}
    for row in found:
        before = rows.get(row.key)
        rows[row.key] = row if before is None else before + row
    return rows.values()


def _answer(found: Iterable[Row], group_by: Sequence[str], zone: ZoneInfo, as_of: datetime) -> UsageAnswer:
    kept = [row for row in found if row.sums[0]]
    rows = [
        UsageRow(
            _moment(row.key[0], zone),
            {name: (str(value) if value else None) for name, value in zip(group_by, row.key[1:], strict=True)},
            _metrics(row.sums, row.latencies),
        )
        for row in kept
    ]
    rows.sort(
        key=lambda row: (row.start or as_of, -row.metrics.cost_nano, [value or "" for value in row.group.values()])
    )
    sums = [sum(column) for column in zip(*(row.sums for row in kept), strict=True)] or [0] * len(SUMS)
    return UsageAnswer(rows, _metrics(sums, b"".join(row.latencies for row in kept)), as_of)


def _metrics(sums: Iterable[int], latencies: bytes) -> Metrics:
    p50, p95 = histogram.percentiles(latencies, (0.5, 0.95)) if latencies else (None, None)
    values: list[Any] = [*sums, p50, p95]
    return Metrics(*values)


def _moment(value: datetime | date | None, zone: ZoneInfo) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.replace(tzinfo=zone) if value.tzinfo is None else value.astimezone(zone)
    return datetime.combine(value, time(), zone)


def _grain(start: datetime, end: datetime, zone: ZoneInfo, granularity: str, *, same_zone: bool) -> store.Grain:
    """The coarsest rollup that answers exactly."""
    for name, moment in (("start", start), ("end", end)):
        if moment.second or moment.microsecond:
            raise ValidationFailed(
                "The period cannot be cut inside a minute", errors=[{"pointer": name, "detail": "a whole minute"}]
            )
    midnights = all(moment.astimezone(zone).time() == time() for moment in (start, end))
    if same_zone and midnights and granularity not in {"minute", "hour"}:
        return "day"
    quarters = all(moment.minute % 15 == 0 for moment in (start, end))
    if quarters and granularity != "minute":
        return "quarter"
    if start < now() - _MINUTES_KEPT:
        raise ValidationFailed(
            "Single minutes are kept for 34 days",
            errors=[{"pointer": "start", "detail": "later, or a coarser granularity on quarters of an hour"}],
        )
    return "minute"


def _bucket(grain: store.Grain, granularity: str) -> str:
    if granularity == "none":
        return "NULL::timestamptz"
    if grain == "day":
        # Dates of the organisation's zone: a moment is made of them outside, where the zone's rules are known.
        return "r.bucket" if granularity == "day" else f"date_trunc('{granularity}', r.bucket::timestamp)"
    return "r.bucket" if granularity == "minute" else f"date_trunc('{granularity}', r.bucket, %(tz)s)"
