"""The usage explorer: what it sums, how its address works, what it refuses to believe."""

import csv
import html
import io
import json
import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext

from apps.analytics.explorer import explore
from apps.analytics.explorer_filters import values_of
from apps.analytics.explorer_query import query_of
from tests.web.conftest import Cast, event

NOW = timedelta(seconds=1)
Send = Callable[..., None]


def view(cast: Cast, address: str = "", everything: bool = False):
    query = query_of(QueryDict(address), timezone=cast.org.timezone, tags=[])
    return explore(org_id=cast.org.id, query=query, everything=everything)


def test_a_metric_is_summed_by_group_and_by_day(cast: Cast, send: Send) -> None:
    send(event(ago=NOW), event(ago=NOW, model="claude-sonnet-4-5"), event(ago=timedelta(days=3), status="error"))
    page = view(cast)
    assert [(line.name, line.amount, line.colour) for line in page.lines] == [
        ("claude-sonnet-4-5", Decimal("0.0045"), 1),
        ("claude-haiku-4-5", Decimal("0.0030"), 2),
    ]
    assert page.amount == Decimal("0.0075") == sum(sum(line.values) for line in page.series)
    assert len(page.buckets) == 28
    assert page.total.call_errors == 1
    by_calls = view(cast, "metric=calls&by=project")
    assert [(line.name, line.amount, line.share) for line in by_calls.lines] == [("Shuttle", 3, 1.0)]
    assert [(line.name, line.amount) for line in view(cast, "metric=tokens&by=user").lines] == [("Olive", 3300)]


@pytest.mark.parametrize("grain", ["hour", "day", "week", "month"])
@pytest.mark.parametrize("view_of", ["bars", "lines", "heat"])
def test_every_cut_adds_up_to_the_same_sum(cast: Cast, send: Send, grain: str, view_of: str) -> None:
    send(*(event(ago=timedelta(hours=7 * n) + NOW) for n in range(20)))
    page = view(cast, f"metric=calls&period=7d&grain={grain}&view={view_of}")
    assert page.amount == 20
    if page.heat:
        assert sum(value for _, cells in page.heat.rows for _, value in cells) == 20
        assert max(level for _, cells in page.heat.rows for level, _ in cells) == 8
        assert page.heat.peak
    else:
        assert sum(sum(line.values) for line in page.series) == 20
    answer = cast.owner.get(cast.url("usage"), {"metric": "calls", "period": "7d", "grain": grain, "view": view_of})
    assert answer.status_code == 200


def test_beyond_seven_series_the_rest_is_grey_and_nothing_is_lost(cast: Cast, send: Send) -> None:
    send(*(event(ago=NOW, model=f"model-{n}") for n in range(10)), event(ago=NOW, model="model-3"))
    page = view(cast, "metric=calls")
    assert [line.colour for line in page.series] == [1, 2, 3, 4, 5, 6, 7, 0]
    assert page.series[0].name == "model-3"
    assert (page.series[-1].name, page.series[-1].amount) == ("3 others", 3)
    assert page.groups == 10


def test_filters_narrow_and_are_taken_away_one_by_one(cast: Cast, send: Send) -> None:
    send(event(ago=NOW), event(ago=NOW, model="claude-sonnet-4-5", status="error"))
    assert view(cast, "metric=calls&filter[model]=claude-haiku-4-5").amount == 1
    assert view(cast, "metric=calls&filter[model]=claude-haiku-4-5,claude-sonnet-4-5&filter[status]=error").amount == 1
    page = cast.owner.get(cast.url("usage"), {"filter[status]": "error", "filter[model]": "claude-sonnet-4-5"})
    text = page.content.decode()
    assert "Status is" in text
    assert 'href="?filter[model]=claude-sonnet-4-5" aria-label="Remove filter: Status"' in text
    values = values_of(org_id=cast.org.id, query=view(cast, "filter[model]=claude-haiku-4-5").query, name="model")
    assert [(value.key, value.chosen) for value in values] == [("claude-haiku-4-5", True), ("claude-sonnet-4-5", False)]


def test_the_filter_form_becomes_the_address(cast: Cast, send: Send) -> None:
    send(event(ago=NOW))
    page = cast.owner.get(cast.url("usage"), {"metric": "calls", "add": "model"}).content.decode()
    assert 'name="value" value="claude-haiku-4-5"' in page
    assert '<input type="hidden" name="metric" value="calls">' in page
    answer = cast.owner.get(cast.url("usage"), {"metric": "calls", "pick": "model", "value": ["a b", "c"]})
    assert answer.status_code == 302
    assert answer.headers["Location"].endswith("/usage?metric=calls&filter[model]=a+b,c")


def test_four_weeks_earlier_stands_beside_it_unless_told_otherwise(cast: Cast, send: Send) -> None:
    send(event(ago=timedelta(days=2)), event(ago=timedelta(days=30)))
    assert view(cast, "metric=calls&period=7d").before is None
    send(event(ago=timedelta(days=33)), event(ago=NOW))
    page = view(cast, "metric=calls&period=7d")
    # Today is in the sum and out of the comparison.
    assert (page.amount, page.whole, page.before, page.lines[0].change) == (2, 1, 2, Decimal("-0.5"))
    assert sum(page.ghost or []) == 2
    assert view(cast, "metric=calls&period=7d&compare=off").before is None


@pytest.mark.parametrize(
    "address",
    [
        "metric=drop&by=table&period=never&grain=second&view=3d&sort=x&page=-1",
        "page=99999999999999999999", "page=²", "filter[nothing]=1", "filter[user]=not-an-id",
        "filter[model]=" + "x" * 9000,
        "by=tag:nobody", "add=<script>", "period=90d&grain=hour", "filter[project]=",
    ],
)  # fmt: skip
def test_an_address_that_means_nothing_is_the_plain_view(cast: Cast, send: Send, address: str) -> None:
    send(event(ago=NOW))
    answer = cast.owner.get(f"{cast.url('usage')}?{address}")
    assert answer.status_code == 200
    assert "<script>alert" not in answer.content.decode()


def test_names_cannot_break_out(cast: Cast, send: Send) -> None:
    send(event(ago=NOW, model='"><script>alert(1)</script>'))
    for address in ("metric=calls", "metric=calls&add=model", "metric=calls&view=heat"):
        assert "<script>alert" not in cast.owner.get(f"{cast.url('usage')}?{address}").content.decode()
    page = cast.owner.get(f"{cast.url('usage')}?metric=calls").content.decode()
    data = json.loads(html.unescape(re.search(r'data-values="(.*?)"', page)[1]))
    assert data["series"][0]["name"] == '"><script>alert(1)</script>'


def test_the_csv_has_what_is_seen_exactly(cast: Cast, send: Send) -> None:
    send(event(ago=NOW), event(ago=NOW, model="=cmd"))
    text = cast.owner.get(cast.url("usage.csv"), {"metric": "calls"}).content.decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["model"]: row["calls"] for row in rows} == {"claude-haiku-4-5": "1", "'=cmd": "1"}
    over_time = cast.owner.get(cast.url("usage.csv"), {"part": "time"}).content.decode()
    assert len(over_time.splitlines()) == 29


def test_pages_of_the_table_and_its_order(cast: Cast, send: Send) -> None:
    send(*(event(ago=NOW, model=f"model-{n:02}") for n in range(30)), event(ago=NOW, model="model-29"))
    first, second = view(cast, "metric=calls"), view(cast, "metric=calls&page=2")
    assert (len(first.lines), len(second.lines), first.groups) == (25, 5, 30)
    assert first.lines[0].name == "model-29"
    assert [line.name for line in view(cast, "metric=calls&sort=name").lines[:2]] == ["model-00", "model-01"]
    assert len(view(cast, "metric=calls", everything=True).lines) == 30
    for sort in ("change", "share", "calls", "per_call", "p95", "errors"):
        assert len(view(cast, f"metric=calls&sort={sort}").lines) == 25


def test_who_may_see_it(cast: Cast, send: Send) -> None:
    send(event(ago=NOW))
    assert cast.viewer.get(cast.url("usage")).status_code == 200
    assert cast.stranger.get(cast.url("usage")).status_code == 404
    assert cast.nobody.get(cast.url("usage")).status_code == 302
    assert cast.owner.get(f"/o/{cast.other.slug}/usage").status_code == 404


def test_the_number_of_queries_does_not_grow(
    cast: Cast, send: Send, django_assert_max_num_queries: Callable[..., CaptureQueriesContext]
) -> None:
    send(*(event(ago=timedelta(days=n), model=f"m-{n}") for n in range(30)))
    cast.owner.get(cast.url("usage"))
    with django_assert_max_num_queries(40):
        assert (
            cast.owner.get(cast.url("usage"), {"by": "user", "filter[project]": str(cast.project.id)}).status_code
            == 200
        )


def test_nothing_in_the_view_says_what_to_do(cast: Cast, send: Send) -> None:
    send(event(ago=NOW))
    assert "Clear the filters" in cast.owner.get(cast.url("usage"), {"filter[model]": "none"}).content.decode()
    assert "Show the last 90 days" in cast.owner.get(cast.url("usage"), {"period": "last-month"}).content.decode()
