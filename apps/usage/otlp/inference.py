"""What Claude Code's telemetry leaves out and its own cost gives away.

A call's price depends on the split of its cache writes, which 2.1.197 does not send, and on where it ran, which no
version sends. The CLI knows both and sends the cost. So the missing parts are looked for with the list prices: where a
split or a place gives the CLI's figure to the nano-dollar, that is what the call was, and the book prices it so from
then on (an organisation's own prices included). Where nothing explains the figure, it is kept as the cost and flagged
as reported, unless the organisation has prices of its own, which the CLI cannot know.
"""

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from uuid import UUID

from apps.usage.pricing.book import CONTEXT_BANDS, PriceBook, PriceClass, PriceRow, get_book

__all__ = ["Found", "Told", "infer"]

_BAND_STARTS = (100_000, 200_000)
_GEOS = ("", "us")
_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Told:
    """What the telemetry of a call says; ``cache_write_1h``, part of ``cache_write``, may be untold: None."""

    model: str
    at: str
    input: int
    output: int
    cache_read: int
    cache_write: int
    cache_write_1h: int | None
    speed: str | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Found:
    """What it must have been."""

    cache_write_5m: int
    cache_write_1h: int
    geo: str = ""
    trust_reported: bool = False


def infer(told: Told, org_id: UUID) -> Found:
    """The split and the place that explain the CLI's figure, or what was told where nothing does."""
    known = told.cache_write_1h is not None
    plain = Found(told.cache_write - (told.cache_write_1h or 0), told.cache_write_1h or 0)
    book = get_book()
    at_us = _microseconds(told.at)
    row = book.find(told.model, at_us) if told.model else None
    if told.cost_usd is None or row is None:
        return plain
    wanted = round(Fraction(str(told.cost_usd)) * _NANO)
    for geo in _GEOS:
        rates = row.rates(PriceClass.of(None, geo, told.speed, _band(told)))
        hours = [plain.cache_write_1h] if known else _hours(told, rates, wanted)
        for hour in hours:
            if _cost(told, rates, hour) == wanted:
                return Found(told.cache_write - hour, hour, geo)
    return Found(
        plain.cache_write_5m, plain.cache_write_1h, trust_reported=not _has_own(book, row, told, at_us, org_id)
    )


def _hours(told: Told, rates: tuple[Fraction, ...], wanted: int) -> list[int]:
    """Candidates for the 1-hour part: the cost grows evenly with it, so there is one, give or take the rounding."""
    step = rates[4] - rates[3]
    base = _exact(told, rates, 0)
    if step <= 0 or not told.cache_write:
        return [0]
    guess = round((wanted - base) / step)
    return [hour for hour in (0, guess, guess - 1, guess + 1) if 0 <= hour <= told.cache_write]


def _exact(told: Told, rates: tuple[Fraction, ...], hour: int) -> Fraction:
    counts = (told.input, told.output, told.cache_read, told.cache_write - hour, hour)
    return sum((rate * count for rate, count in zip(rates, counts, strict=False)), Fraction(0))


def _cost(told: Told, rates: tuple[Fraction, ...], hour: int) -> int:
    return round(_exact(told, rates, hour))


def _band(told: Told) -> str:
    total = told.input + told.cache_read + told.cache_write
    passed = sum(total > start for start in _BAND_STARTS)
    return CONTEXT_BANDS[passed - 1] if passed else ""


def _has_own(book: PriceBook, row: PriceRow, told: Told, at_us: int, org_id: UUID) -> bool:
    own = book.find(told.model, at_us, org_id)
    return own is not None and own is not row


def _microseconds(at: str) -> int:
    try:
        return round(datetime.fromisoformat(at).timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        return 0
