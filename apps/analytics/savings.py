"""What the prompt cache saved, by the price book (docs/definitions.md, "savings by cache")."""

from datetime import datetime, time
from decimal import Decimal
from uuid import UUID

from django.db import connection

from apps.analytics.period import Period
from apps.usage.pricing.book import PriceClass, TokenUsage, get_book
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
    saved, known = 0, False
    with connection.cursor() as cursor:
        cursor.execute(
            _SQL.format(rollups=rollup_sql("day")),
            {"org": number, "start": period.first, "end": period.end.date()},
        )
        rows = cursor.fetchall()
    for day, model, tier, batch, geo, speed, band, read, short_lived, long_lived in rows:
        at = datetime.combine(day, time(12), period.zone)
        price_class = PriceClass(tier, batch, geo, speed, band)
        tokens = int(read + short_lived + long_lived)
        without = book.price(model, price_class, at, TokenUsage(input=tokens), org_id=org_id).nano_usd
        cached = TokenUsage(cache_read=int(read), cache_write_5m=int(short_lived), cache_write_1h=int(long_lived))
        paid = book.price(model, price_class, at, cached, org_id=org_id).nano_usd
        if without is not None and paid is not None:
            saved, known = saved + without - paid, True
    return Decimal(saved).scaleb(-9) if known else None
