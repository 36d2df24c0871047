"""Costs: what was paid for adds up to what was spent, exactly."""

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.analytics.costs import costs
from apps.analytics.period import period_of
from apps.core.clock import freeze
from apps.usage.contracts import EventIn
from tests.web.conftest import Cast, event

NOW = timedelta(seconds=1)
Send = Callable[..., None]


def changed(sent: EventIn, **fields: object) -> EventIn:
    return EventIn(**{**{name: getattr(sent, name) for name in sent.__struct_fields__}, **fields})


def test_the_kinds_add_up_to_the_bill(cast: Cast, send: Send) -> None:
    cached = changed(event(ago=NOW), cache_read_input_tokens=10_000, cache_creation_input_tokens=2_000)
    send(cached, event(ago=timedelta(days=2), model="claude-sonnet-4-5"))
    page = costs(org_id=cast.org.id, period=period_of("7d", cast.org.timezone))
    haiku = next(line for line in page.models if line.name == "claude-haiku-4-5")
    # haiku 4.5: $1 in, $5 out, $0.10 read from and $1.25 written to the cache, a million each
    assert haiku.kinds["input"] == Decimal("0.001")
    assert haiku.kinds["output"] == Decimal("0.0005")
    assert haiku.kinds["cache_read"] == Decimal("0.001")
    assert haiku.kinds["cache_write"] == Decimal("0.0025")
    assert haiku.other == 0
    assert page.total.total == sum(page.total.kinds.values()) == Decimal("0.0095")
    assert sum(row["share"] for row in page.kinds) == pytest.approx(1)


def test_what_a_sender_reported_is_other_and_what_has_no_price_is_said(cast: Cast, send: Send) -> None:
    send(changed(event(ago=NOW, model="a-model-nobody-sells"), cost_usd=0.25), event(ago=NOW, model="nobody-knows"))
    page = costs(org_id=cast.org.id, period=period_of("7d", cast.org.timezone))
    assert page.total.other == Decimal("0.25")
    assert page.total.unpriced == 1
    text = cast.owner.get(cast.url("costs"), {"period": "7d"}).content.decode()
    assert "1 event without a price" in text
    assert "1 unpriced" in text


def test_months_are_the_organisations_and_the_running_one_is_compared_day_for_day(cast: Cast, send: Send) -> None:
    send(event(ago=NOW), event(ago=timedelta(days=62)))
    page = costs(org_id=cast.org.id, period=period_of("month", cast.org.timezone))
    assert page.months[0].running
    assert page.months[0].figures.calls == 1
    assert sum(month.figures.calls for month in page.months) == 2
    assert all(month.figures.events for month in page.months[1:])


def test_a_month_that_began_late_is_no_measure_for_the_next(cast: Cast, send: Send) -> None:
    noon = datetime(2026, 9, 16, 12, 0, tzinfo=UTC)
    with freeze(noon):
        ago = datetime.now(UTC) - noon
        send(event(ago=ago), event(ago=ago + timedelta(days=20)))
        months = costs(org_id=cast.org.id, period=period_of("month", cast.org.timezone)).months
        assert [(month.first.month, month.change) for month in months] == [(9, None), (8, None)]
        send(event(ago=ago + timedelta(days=44)))
        months = costs(org_id=cast.org.id, period=period_of("month", cast.org.timezone)).months
        assert months[0].change == -1


def test_the_csv_agrees_with_the_page(cast: Cast, send: Send) -> None:
    send(event(ago=NOW), event(ago=timedelta(days=1), model="=cmd"))
    rows = list(csv.DictReader(io.StringIO(cast.owner.get(cast.url("costs/models.csv?period=7d")).content.decode())))
    assert [row["model"] for row in rows] == ["claude-haiku-4-5", "'=cmd", "All"]
    assert Decimal(rows[-1]["cost_usd"]) == Decimal("0.0015")
    months = list(csv.DictReader(io.StringIO(cast.owner.get(cast.url("costs/months.csv")).content.decode())))
    assert sum(int(row["calls"]) for row in months) == 2


def test_nothing_says_so_and_nobody_else_sees_it(cast: Cast, send: Send) -> None:
    assert "Nothing was counted" in cast.owner.get(cast.url("costs")).content.decode()
    assert cast.viewer.get(cast.url("costs")).status_code == 200
    assert cast.stranger.get(cast.url("costs")).status_code == 404
    send(event(ago=NOW, model="<script>alert(1)</script>"))
    assert "<script>alert" not in cast.owner.get(cast.url("costs?period=7d")).content.decode()
