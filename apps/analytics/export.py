"""CSV of what a panel shows: exact figures."""

from collections.abc import Sequence
from typing import Any

from apps.analytics.day_panel import DayPanel
from apps.analytics.home import Home, Ranked
from apps.core.web.downloads import csv_response

__all__ = ["PANELS", "csv_response"]


def _spend(home: Home) -> tuple[list[str], list[list[Any]]]:
    before = home.cumulative_before
    rows = [
        [day.isoformat(), figures.cost, running, before[i] if before else None]
        for i, (day, figures, running) in enumerate(zip(home.period.days, home.days, home.cumulative, strict=True))
    ]
    return ["day", "cost_usd", "cost_usd_so_far", "cost_usd_so_far_four_weeks_earlier"], rows


def _days(home: Home) -> tuple[list[str], list[list[Any]]]:
    panel: DayPanel = home.panel
    header = ["day", *(series.name for series in panel.series), "all", "four_weeks_earlier"]
    rows = [[row["day"].isoformat(), *row["values"], row["all"], row["before"]] for row in reversed(panel.table)]
    return header, rows


def _right_now(home: Home) -> tuple[list[str], list[list[Any]]]:
    header = ["day", "events", "calls", "errors", "latency_ms_p50", "latency_ms_p95", "cache_hit_share"]
    rows = [
        [day.isoformat(), f.events, f.calls, f.errors, f.p50, f.p95, f.cache_share]
        for day, f in zip(home.period.days, home.days, strict=True)
    ]
    return header, rows


def _ranked(rows: Sequence[Ranked]) -> list[list[Any]]:
    return [[row.name, row.figures.cost, row.figures.calls, row.figures.tokens, row.figures.errors] for row in rows]


def _projects(home: Home) -> tuple[list[str], list[list[Any]]]:
    return ["project", "cost_usd", "calls", "tokens", "errors"], _ranked(home.projects)


def _people(home: Home) -> tuple[list[str], list[list[Any]]]:
    return ["person", "cost_usd", "calls", "tokens", "errors"], _ranked(home.people)


PANELS = {"spend": _spend, "days": _days, "health": _right_now, "projects": _projects, "people": _people}
