"""The one way pages ask for usage: rows of ``usage_aggregate`` as plain figures, days cut as the organisation does."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from apps.usage.selectors import Metrics, UsageRow, usage_aggregate
from apps.usage.store import OrgState

__all__ = ["Figures", "Row", "read"]


@dataclass(slots=True)
class Figures:
    """Sums of one row; adding two adds all that can be added (percentiles cannot)."""

    events: int = 0
    calls: int = 0
    tool_calls: int = 0
    errors: int = 0
    call_errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    cost: Decimal = Decimal(0)
    unpriced: int = 0
    p50: int | None = None
    p95: int | None = None

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_creation_tokens

    @property
    def cache_share(self) -> float | None:
        """Share of the input that came out of the cache; None where there was no input."""
        total = self.input_tokens + self.cache_read_tokens + self.cache_creation_tokens
        return self.cache_read_tokens / total if total else None

    @property
    def error_share(self) -> float | None:
        """Share of model calls that failed; None without calls."""
        return self.call_errors / self.calls if self.calls else None

    def metric(self, name: str) -> Decimal | int:
        """``spend``, ``calls`` or ``tokens``."""
        if name == "spend":
            return self.cost
        return self.calls if name == "calls" else self.tokens

    def __add__(self, other: "Figures") -> "Figures":
        # Written out: a page adds a thousand of them.
        return Figures(
            self.events + other.events, self.calls + other.calls, self.tool_calls + other.tool_calls,
            self.errors + other.errors, self.call_errors + other.call_errors, self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens, self.cache_read_tokens + other.cache_read_tokens,
            self.cache_creation_tokens + other.cache_creation_tokens, self.cost + other.cost,
            self.unpriced + other.unpriced,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """``start`` is None for a sum over the whole period; ``group`` is None where nothing is known."""

    start: datetime | None
    group: str | None
    figures: Figures = field(default_factory=Figures)


def read(
    org_id: UUID,
    *,
    start: datetime,
    end: datetime,
    timezone: str,
    granularity: str = "none",
    by: str = "",
    only: Sequence[str] = (),
    filters: Mapping[str, Sequence[str]] | None = None,
    latency: bool = False,
    state: OrgState | None = None,
) -> tuple[list[Row], Figures]:
    """Usage of ``[start, end)`` cut by ``granularity`` and grouped by one dimension; rows and their total.

    ``timezone`` is the organisation's own; ``only`` keeps some values of that dimension, ``filters`` some of any;
    percentiles come with ``latency``, at the price of reading their histograms. ``state`` is shared by the reads of
    one page, asked for before the first.
    """
    answer = usage_aggregate(
        org_id=org_id, start=start, end=end, timezone=timezone, org_timezone=timezone, granularity=granularity,
        group_by=[by] if by else [], filters={by: list(only)} if only else filters,
        latency=latency, state=state,
    )  # fmt: skip
    return list(_rows(answer.data, by)), _figures(answer.totals)


def _rows(rows: Iterable[UsageRow], by: str) -> Iterable[Row]:
    for row in rows:
        yield Row(start=row.start, group=row.group.get(by) if by else None, figures=_figures(row.metrics))


def _figures(metrics: Metrics) -> Figures:
    return Figures(
        events=metrics.events, calls=metrics.calls, tool_calls=metrics.tool_calls, errors=metrics.errors,
        call_errors=metrics.call_errors,
        input_tokens=metrics.input_tokens, output_tokens=metrics.output_tokens,
        cache_read_tokens=metrics.cache_read_tokens, cache_creation_tokens=metrics.cache_creation_tokens,
        cost=Decimal(metrics.cost_nano).scaleb(-9), unpriced=metrics.unpriced,
        p50=metrics.latency_ms_p50, p95=metrics.latency_ms_p95,
    )  # fmt: skip
