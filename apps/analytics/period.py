"""The periods that a page offers, and the one it is compared with: four weeks earlier, weekday for weekday."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from apps.core.clock import now
from apps.core.web.figures import day_label

__all__ = ["DEFAULT", "PERIODS", "Period", "period_of"]

# Key in the URL → words on the page.
PERIODS = {
    "7d": "Last 7 days",
    "28d": "Last 28 days",
    "month": "This month",
    "last-month": "Last month",
    "90d": "Last 90 days",
}
DEFAULT = "28d"
_FOUR_WEEKS = timedelta(days=28)


@dataclass(frozen=True, slots=True)
class Period:
    """Days ``first`` to ``last``, both included, in ``zone``; ``partial`` where the last one is still running."""

    key: str
    first: date
    last: date
    zone: ZoneInfo
    partial: bool

    @property
    def label(self) -> str:
        return PERIODS[self.key]

    @property
    def title(self) -> str:
        """``November 2026`` for a month, else the words of the period."""
        return f"{self.first:%B %Y}" if "month" in self.key else self.label

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]

    @property
    def span(self) -> str:
        """``1–23 Nov`` or ``27 Oct – 23 Nov``."""
        if self.first == self.last:
            return day_label(self.last)
        if (self.first.year, self.first.month) == (self.last.year, self.last.month):
            return f"{self.first.day}–{day_label(self.last)}"
        return f"{day_label(self.first)} – {day_label(self.last)}"

    @property
    def start(self) -> datetime:
        """The first moment, aware."""
        return datetime.combine(self.first, time(), self.zone)

    @property
    def end(self) -> datetime:
        """The first moment after the last day, aware."""
        return datetime.combine(self.last + timedelta(days=1), time(), self.zone)

    def earlier(self) -> "Period":
        """The same weekdays four weeks (for 90 days twelve more) before, all complete."""
        shift = _FOUR_WEEKS * (4 if self.key == "90d" else 1)
        return Period(self.key, self.first - shift, self.last - shift, self.zone, partial=False)

    @property
    def earlier_words(self) -> str:
        return "16 weeks earlier" if self.key == "90d" else "4 weeks earlier"


def period_of(key: str | None, timezone: str) -> Period:
    """The period that a URL names, in a time zone; an unknown key is the default."""
    zone = ZoneInfo(timezone)
    today = now().astimezone(zone).date()
    chosen = key if key in PERIODS else DEFAULT
    if chosen == "month":
        return Period(chosen, today.replace(day=1), today, zone, partial=True)
    if chosen == "last-month":
        last = today.replace(day=1) - timedelta(days=1)
        return Period(chosen, last.replace(day=1), last, zone, partial=False)
    days = int(chosen.removesuffix("d"))
    return Period(chosen, today - timedelta(days=days - 1), today, zone, partial=True)
