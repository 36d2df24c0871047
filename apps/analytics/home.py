"""What Home shows: one dataclass a panel, computed from a handful of usage queries whose number never grows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from apps.accounts.selectors import member_list
from apps.analytics.day_panel import DayPanel, Series, axis, day_of, day_panel, ranking, series_of, sums_of
from apps.analytics.people import person_names
from apps.analytics.period import Period
from apps.analytics.reads import Figures, Row, read
from apps.analytics.savings import cache_savings
from apps.core.web.figures import change
from apps.projects.selectors import project_list
from apps.usage.selectors import active_people
from apps.usage.store import OrgState, org_state

__all__ = ["Home", "ModelLine", "Ranked", "home", "home_days"]

_TOP = 8
# The earlier period is shown only where history reaches into its first days: a late start is no saving.
_REACH_DAYS = 4


@dataclass(slots=True)
class Ranked:
    """A line of a top list; ``key`` is its id, empty for what belongs to none.

    ``change`` is of spend on complete days against four weeks earlier, None where there was nothing then.
    """

    key: str
    name: str
    url: str
    figures: Figures
    share: float
    change: Decimal | None = None
    days: list[Decimal] = field(default_factory=list)


@dataclass(slots=True)
class ModelLine:
    """What a call to a model cost on average."""

    name: str
    colour: int
    figures: Figures

    @property
    def per_call(self) -> Decimal | None:
        """None where none of its calls has a price: unpriced is not free."""
        priced = self.figures.calls - self.figures.unpriced
        return self.figures.cost / priced if priced > 0 else None


@dataclass(slots=True)
class Home:
    """Everything on the page. ``comparable`` says whether four weeks earlier may stand beside it."""

    period: Period
    total: Figures
    days: list[Figures]
    models: list[Series]
    panel: DayPanel
    projects: list[Ranked]
    people: list[Ranked]
    saved: Decimal | None
    people_active: int
    people_days: list[int]
    members: int
    by_model: list["ModelLine"]
    comparable: bool
    before: list[Decimal] | None

    @property
    def is_empty(self) -> bool:
        return self.total.events == 0

    @property
    def unpriced_models(self) -> list[str]:
        return [line.name for line in self.by_model if line.figures.unpriced]

    @property
    def top_model_share(self) -> float:
        return _share(self.by_model[0].figures, self.total) if self.by_model else 0.0

    @property
    def change(self) -> Decimal | None:
        """Of spend on complete days, against the same days four weeks earlier."""
        if self.before is None:
            return None
        done = self._complete
        return change(sum((day.cost for day in self.days[:done]), Decimal(0)), sum(self.before[:done], Decimal(0)))

    @property
    def _complete(self) -> int:
        return len(self.days) - (1 if self.period.partial else 0)

    @property
    def daily(self) -> Decimal | None:
        """Spend of a complete day on average."""
        spent = sum((day.cost for day in self.days[: self._complete]), Decimal(0))
        return spent / self._complete if self._complete else None

    @property
    def cumulative(self) -> list[Decimal]:
        return _running(day.cost for day in self.days)

    @property
    def cumulative_before(self) -> list[Decimal] | None:
        return None if self.before is None else _running(self.before)

    @property
    def cumulative_table(self) -> list[dict[str, Any]]:
        before = self.cumulative_before
        return [
            {"day": day, "now": now, "before": before[i] if before else None}
            for i, (day, now) in enumerate(zip(self.period.days, self.cumulative, strict=True))
        ][::-1]

    @property
    def cumulative_chart(self) -> dict[str, Any]:
        before = self.cumulative_before
        return {
            **axis(self.period),
            "kind": "money",
            "now": [float(value) for value in self.cumulative],
            "now_name": "Spent so far",
            "before": [float(value) for value in before] if before else None,
            "before_name": self.period.earlier_words,
        }

    @property
    def strip(self) -> list[tuple[int, Decimal | int]]:
        return [(series.colour, series.total) for series in self.models]

    @property
    def error_days(self) -> list[float | None]:
        return [day.error_share for day in self.days]

    @property
    def error_peak(self) -> int | None:
        """The day with the worst share of errors, where it stands out: at least twice the whole and above 1 %."""
        known = [(share, i) for i, share in enumerate(self.error_days) if share is not None]
        worst = max(known, default=(0.0, None))
        stands_out = worst[0] > 0.01 and worst[0] >= 2 * (self.total.error_share or 0)
        return worst[1] if stands_out else None

    @property
    def latency_days(self) -> list[int | None]:
        return [day.p95 for day in self.days]

    @property
    def cache_days(self) -> list[float | None]:
        return [day.cache_share for day in self.days]

    @property
    def token_kinds(self) -> list[dict[str, Any]]:
        total = self.total
        whole = total.tokens or 1
        kinds = (
            ("Cache read", total.cache_read_tokens),
            ("Cache write", total.cache_creation_tokens),
            ("Input", total.input_tokens),
            ("Output", total.output_tokens),
        )
        return [{"name": name, "tokens": tokens, "share": tokens / whole} for name, tokens in kinds]


def home(*, org_id: UUID, slug: str, period: Period, metric: str = "spend", stack: str = "model") -> Home:
    """Read everything for Home; ``metric`` and ``stack`` choose what the panel of days shows."""
    state = org_state(org_id)
    by_model, _ = _read(org_id, period, granularity="day", by="model", state=state)
    stacked = by_model if stack == "model" else _read(org_id, period, granularity="day", by=stack, state=state)[0]
    by_day, total = _read(org_id, period, granularity="day", latency=True, state=state)
    days = _by_day(by_day, period)
    earlier = _earlier(org_id, period, state)
    people, _ = _read(org_id, period, by="user", state=state)
    projects, _ = _read(org_id, period, by="project", state=state)
    sums = sums_of(by_model)
    models = ranking(sums)
    return Home(
        period=period,
        total=total,
        days=days,
        models=series_of(by_model, models, period, "spend", without="No model"),
        panel=day_panel(org_id, period, stacked, metric=metric, stack=stack, earlier=earlier),
        projects=_top_projects(org_id, slug, projects, period, total, state, comparable=earlier is not None),
        saved=cache_savings(org_id, period),
        people=_top_people(org_id, people, total),
        people_active=sum(1 for row in people if row.group),
        people_days=_people_days(org_id, period, state),
        members=member_list(org_id).count(),
        by_model=_model_lines(sums, models),
        comparable=earlier is not None,
        before=[figures.cost for figures in earlier] if earlier else None,
    )


def home_days(*, org_id: UUID, period: Period, metric: str, stack: str) -> DayPanel:
    """The panel of days alone."""
    state = org_state(org_id)
    rows, _ = _read(org_id, period, granularity="day", by=stack, state=state)
    return day_panel(org_id, period, rows, metric=metric, stack=stack, earlier=_earlier(org_id, period, state))


# ---------------------------------------------------------------- parts
def _read(
    org_id: UUID,
    period: Period,
    *,
    granularity: str = "none",
    by: str = "",
    only: Sequence[str] = (),
    latency: bool = False,
    state: OrgState | None = None,
) -> tuple[list[Row], Figures]:
    return read(
        org_id,
        start=period.start,
        end=period.end,
        timezone=period.zone.key,
        granularity=granularity,
        by=by,
        only=only,
        latency=latency,
        state=state,
    )


def _by_day(rows: Iterable[Row], period: Period) -> list[Figures]:
    found = {day_of(row, period): row.figures for row in rows}
    return [found.get(day, Figures()) for day in period.days]


def _people_days(org_id: UUID, period: Period, state: OrgState | None) -> list[int]:
    """How many people were active on each day."""
    found = active_people(
        org_id=org_id, start=period.start, end=period.end, timezone=period.zone.key, state=state
    )  # fmt: skip
    return [found.get(day, 0) for day in period.days]


def _earlier(org_id: UUID, period: Period, state: OrgState | None = None) -> list[Figures] | None:
    """Four weeks earlier by day, or None where history does not reach that far."""
    before = period.earlier()
    rows, _ = _read(org_id, before, granularity="day", state=state)
    days = _by_day(rows, before)
    return days if any(figures.events for figures in days[:_REACH_DAYS]) else None


def _model_lines(sums: Mapping[str, Figures], colours: Mapping[str, int]) -> list[ModelLine]:
    return [ModelLine(name, colour, sums[name]) for name, colour in colours.items() if colour and sums[name].calls]


def _running(values: Iterable[Decimal]) -> list[Decimal]:
    total, sums = Decimal(0), []
    for value in values:
        total += value
        sums.append(total)
    return sums


def _top_projects(
    org_id: UUID,
    slug: str,
    rows: Sequence[Row],
    period: Period,
    total: Figures,
    state: OrgState | None,
    *,
    comparable: bool,
) -> list[Ranked]:
    sums = {row.group or "": row.figures for row in rows}
    best = _best(sums)
    known = {
        str(project.pk): project for project in project_list(org_id, archived=True).filter(pk__in=filter(None, best))
    }
    days = _days_of(org_id, period, [key for key in best if key], state)
    before = _days_of(org_id, period.earlier(), list(days), state) if comparable else {}
    done = len(period.days) - (1 if period.partial else 0)
    return [
        Ranked(
            key=key,
            name=known[key].name if key in known else "No project",
            url=f"/o/{slug}/projects/{known[key].slug}" if key in known else "",
            figures=sums[key],
            share=_share(sums[key], total),
            days=days.get(key, []),
            change=change(sum(days[key][:done], Decimal(0)), sum(before.get(key, [])[:done], Decimal(0)))
            if comparable and key in days
            else None,
        )
        for key in best
    ]


def _days_of(
    org_id: UUID, period: Period, project_ids: Sequence[str], state: OrgState | None
) -> dict[str, list[Decimal]]:
    """Spend by day of some projects."""
    if not project_ids:
        return {}
    index = {day: i for i, day in enumerate(period.days)}
    rows, _ = _read(org_id, period, granularity="day", by="project", only=project_ids, state=state)
    days: dict[str, list[Decimal]] = {}
    for row in rows:
        days.setdefault(row.group or "", [Decimal(0)] * len(index))[index[day_of(row, period)]] += row.figures.cost
    return days


def _top_people(org_id: UUID, rows: Sequence[Row], total: Figures) -> list[Ranked]:
    sums = {row.group or "": row.figures for row in rows}
    best = _best(sums)
    names = person_names(org_id, [UUID(key) for key in best if key])
    return [
        Ranked(key=key, name=names.get(UUID(key), "Somebody unknown") if key else "No person", url="",
               figures=sums[key], share=_share(sums[key], total))
        for key in best
    ]  # fmt: skip


def _best(sums: Mapping[str, Figures]) -> list[str]:
    return sorted(sums, key=lambda key: (-sums[key].cost, -sums[key].calls, key))[:_TOP]


def _share(part: Figures, total: Figures) -> float:
    return float(part.cost / total.cost) if total.cost else 0.0
