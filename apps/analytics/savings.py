"""What the prompt cache saved, by the price book (docs/definitions.md, "savings by cache")."""

from datetime import date, datetime, time
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from django.db import connection

from apps.analytics.period import Period
from apps.usage.pricing.book import PriceClass, PriceRow, get_book
from apps.usage.store import org_number, rollup_sql

__all__ = ["cache_savings"]

_SQL = """
SELECT r.bucket, t.model, t.service_tier, t.batch, t.geo, t.speed, t.context_band,
       sum(r.cache_read_tokens), sum(r.cache_write_5m_tokens), sum(r.cache_write_1h_tokens)
FROM {rollups} AS r JOIN usage_what t ON t.id = r.what
WHERE r.cache_read_tokens + r.cache_write_5m_tokens + r.cache_write_1h_tokens > 0
GROUP BY 1, 2, 3, 4, 5, 6, 7
"""


def cache_savings(org_id: UUID, period: Period) -> Decimal | None:
    """Dollars saved in a period: read tokens at the input price minus their cost, minus the extra paid for writing.

    Days are the organisation's, each priced by the book as it was at noon. None where nothing cached has a price;
    negative where more was written than was ever read.
    """
    number = org_number(org_id)
    if number is None:
        return None
    book = get_book()
    # By the price's place in memory: the book holds them all, and its rows hold what cannot be hashed.
    sums: dict[tuple[int, tuple[Any, ...]], tuple[PriceRow, list[int]]] = {}
    prices: dict[tuple[str, date], PriceRow | None] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            _SQL.format(rollups=rollup_sql("day", "what")),
            {"org": number, "start": period.first, "end": period.end.date()},
        )
        rows = cursor.fetchall()
    for day, model, *kind, read, short_lived, long_lived in rows:
        if (model, day) not in prices:
            noon = round(datetime.combine(day, time(12), period.zone).timestamp()) * 1_000_000
            prices[model, day] = book.find(model, noon, org_id)
        price = prices[model, day]
        if price is None:
            continue
        _, tokens = sums.setdefault((id(price), tuple(kind)), (price, [0, 0, 0]))
        tokens[0] += int(read)
        tokens[1] += int(short_lived)
        tokens[2] += int(long_lived)
    saved = Fraction(0)
    for (_, kinds), (price, (read, short_lived, long_lived)) in sums.items():
        plain, _, of_read, of_short, of_long, _ = book.rates_of(price, PriceClass(*kinds))
        saved += plain * (read + short_lived + long_lived)
        saved -= of_read * read + of_short * short_lived + of_long * long_lived
    return Decimal(round(saved)).scaleb(-9) if sums else None
