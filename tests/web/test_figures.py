"""How figures are written."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.template import Context, Template
from hypothesis import given
from hypothesis import strategies as st

from apps.analytics.period import Period, period_of
from apps.core.clock import freeze
from apps.core.web import figures, graphics


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "$0.00"), ("0.00001", "<$0.0001"), ("0.00005", "$0.0001"), ("0.0501", "$0.0501"), ("0.99994", "$0.9999"),
        ("0.99995", "$1.00"), ("5.256", "$5.26"), ("99.994", "$99.99"), ("99.995", "$100"), ("26200.699655", "$26,201"),
        ("999999.4", "$999,999"), ("999999.5", "$1.00M"), ("1284310", "$1.28M"), ("999995000", "$1.00B"),
        ("-5.256", "−$5.26"),
    ],
)  # fmt: skip
def test_money_has_the_digits_its_size_asks_for(amount: str, text: str) -> None:
    assert figures.money(Decimal(amount)) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0"), (7, "7"), (999, "999"), (1000, "1.00k"), (9994, "9.99k"), (9996, "10.0k"), (18_412, "18.4k"),
     (99_960, "100k"), (999_499, "999k"), (999_500, "1.00M"), (18_812_345, "18.8M"), (1_280_000_000, "1.28B"),
     (-1234, "−1.23k")],
)  # fmt: skip
def test_counts_keep_three_digits(amount: int, text: str) -> None:
    assert figures.short(amount) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0%"), (0.008, "0.8%"), (0.0994, "9.9%"), (0.0995, "10%"), (0.41, "41%"), (-0.2, "−20%")]
)
def test_small_shares_have_a_decimal(share: float, text: str) -> None:
    assert figures.percent(share) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0 ms"), (830, "830 ms"), (999, "999 ms"), (1000, "1.00 s"), (8450, "8.45 s"), (9995, "10.0 s"),
     (59_949, "59.9 s"), (59_960, "1m 00s"), (123_000, "2m 03s"), (11_040_000, "3h 04m")],
)  # fmt: skip
def test_times_taken_name_their_unit(ms: int, text: str) -> None:
    assert figures.duration(ms) == text


@given(st.decimals(min_value=0, max_value=10**15, places=9))
def test_exact_money_loses_no_digit(amount: Decimal) -> None:
    assert Decimal(figures.exact_money(amount).lstrip("$").replace(",", "")) == amount


@given(st.decimals(min_value="0.0001", max_value=10**12, places=6))
def test_short_money_is_within_half_a_percent(amount: Decimal) -> None:
    text = figures.money(amount).lstrip("$").replace(",", "")
    scale = {"M": 10**6, "B": 10**9}.get(text[-1], 1)
    shown = Decimal(text.rstrip("MB")) * scale
    assert abs(shown - amount) <= max(amount * Decimal("0.0051"), Decimal("0.00005"))


@given(st.integers(min_value=0, max_value=10**15))
def test_short_counts_are_within_half_a_percent_and_five_characters(amount: int) -> None:
    text = figures.short(amount)
    scale = {"k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}.get(text[-1], 1)
    shown = Decimal(text.rstrip("kMBT").replace(",", "")) * scale
    assert abs(shown - amount) <= max(Decimal(amount) * Decimal("0.0051"), Decimal("0.5"))
    assert len(text) <= 6


def test_the_exact_value_is_within_reach() -> None:
    html = Template("{{ amount|money }} {{ tokens|short }}").render(
        Context({"amount": Decimal("26200.699655"), "tokens": 18_412})
    )
    assert '<data class="mw-num" value="26200.699655" title="$26,200.699655">$26,201</data>' in html
    assert '<data class="mw-num" value="18412" title="18,412">18.4k</data>' in html


def test_moments_are_told_in_the_zone_of_the_page() -> None:
    moment = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
    with freeze(datetime(2026, 11, 23, 12, tzinfo=UTC)):
        html = Template("{% when moment %} {% ago moment %}").render(Context({"moment": moment, "tz": "Europe/Berlin"}))
    assert "23 Nov, 00:30" in html
    assert "12 h ago" in html
    assert 'title="2026-11-23 00:30:00 CET"' in html


def test_names_in_graphics_are_escaped() -> None:
    assert "<b>" not in graphics.spark([1, 2, 3], label="<b>")


def test_a_line_with_gaps_is_not_joined_across_them() -> None:
    assert str(graphics.spark([1.0, 2.0, None, 2.0, 1.0], label="x", rate=True)).count("M") == 2


@given(st.lists(st.tuples(st.integers(0, 7), st.floats(0, 1e9)), max_size=9))
def test_the_parts_of_a_strip_fill_it(parts: list[tuple[int, float]]) -> None:
    html = str(graphics.strip(parts, label="x"))
    assert html.count("mw-part") == sum(amount > 0 for _, amount in parts) or "mw-track" in html


# ---------------------------------------------------------------- periods
def test_months_and_days_follow_the_calendar_of_the_zone() -> None:
    # 23:30 UTC on the 30th is the first of the next month in Berlin.
    with freeze(datetime(2026, 11, 30, 23, 30, tzinfo=UTC)):
        month = period_of("month", "Europe/Berlin")
        assert (month.first, month.last, month.partial) == (date(2026, 12, 1), date(2026, 12, 1), True)
        last = period_of("last-month", "Europe/Berlin")
        assert (last.first, last.last, last.partial) == (date(2026, 11, 1), date(2026, 11, 30), False)
        assert last.title == "November 2026"
        assert period_of("month", "America/New_York").title == "November 2026"


def test_a_day_that_the_clocks_change_on_is_one_day() -> None:
    with freeze(datetime(2026, 10, 27, 12, tzinfo=UTC)):
        week = period_of("7d", "Europe/Berlin")
    assert len(week.days) == 7
    assert (week.end - week.start).total_seconds() == 7 * 86_400, "wall time"
    assert (week.end.astimezone(UTC) - week.start.astimezone(UTC)).total_seconds() == 7 * 86_400 + 3600


@given(
    st.datetimes(min_value=datetime(2025, 1, 1), max_value=datetime(2030, 1, 1)),
    st.sampled_from(["7d", "28d", "month", "90d"]),
)
def test_the_earlier_period_has_the_same_weekdays(moment: datetime, key: str) -> None:
    with freeze(moment.replace(tzinfo=UTC)):
        period = period_of(key, "Asia/Kathmandu")
    earlier: Period = period.earlier()
    assert [day.weekday() for day in earlier.days] == [day.weekday() for day in period.days]
    assert earlier.first < period.first
