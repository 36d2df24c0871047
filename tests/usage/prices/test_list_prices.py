"""The list prices as they were published, and what the CLI itself computed with them."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.usage.pricing.book import PriceBook, PriceClass, TokenUsage, get_book

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MILLION = 1_000_000

# model: input, output, 5-minute write, 1-hour write, cache read (USD per million tokens); factors of us and of fast
TABLE = {
    "claude-fable-5": ("10", "50", "12.5", "20", "1", "1.1", "1"),
    "claude-mythos-5": ("10", "50", "12.5", "20", "1", "1.1", "1"),
    "claude-mythos-preview": ("10", "50", "12.5", "20", "1", "1.1", "1"),
    "claude-fable-5-1": ("10", "50", "12.5", "20", "0.25", "1.1", "1"),
    "claude-mythos-5-1": ("10", "50", "12.5", "20", "0.25", "1.1", "1"),
    "claude-opus-5-5": ("4", "20", "5", "8", "0.2", "1.1", "2"),
    "claude-opus-5": ("5", "25", "6.25", "10", "0.5", "1.1", "2"),
    "claude-opus-4-8": ("5", "25", "6.25", "10", "0.5", "1.1", "2"),
    "claude-opus-4-7-20260416": ("5", "25", "6.25", "10", "0.5", "1.1", "1"),
    "claude-opus-4-6-20260205": ("5", "25", "6.25", "10", "0.5", "1.1", "1"),
    "claude-opus-4-5-20251101": ("5", "25", "6.25", "10", "0.5", "1", "1"),
    "claude-opus-4-1": ("15", "75", "18.75", "30", "1.5", "1", "1"),
    "claude-opus-4": ("15", "75", "18.75", "30", "1.5", "1", "1"),
    "claude-3-opus": ("15", "75", "18.75", "30", "1.5", "1", "1"),
    "claude-sonnet-5-5": ("2", "10", "2.5", "4", "0.1", "1.1", "1"),
    "claude-sonnet-5": ("2", "10", "2.5", "4", "0.2", "1.1", "1"),
    "claude-sonnet-4-6": ("3", "15", "3.75", "6", "0.3", "1.1", "1"),
    "claude-sonnet-4-5-20250929": ("3", "15", "3.75", "6", "0.3", "1", "1"),
    "claude-sonnet-4": ("3", "15", "3.75", "6", "0.3", "1", "1"),
    "claude-3-7-sonnet": ("3", "15", "3.75", "6", "0.3", "1", "1"),
    "claude-3-sonnet": ("3", "15", "3.75", "6", "0.3", "1", "1"),
    "claude-haiku-5-5": ("0.1", "0.5", "0.125", "0.2", "0.01", "1.1", "1"),
    "claude-haiku-4-5-20251001": ("1", "5", "1.25", "2", "0.1", "1", "1"),
    "claude-3-5-haiku": ("0.8", "4", "1", "1.6", "0.08", "1", "1"),
    "claude-3-haiku": ("0.25", "1.25", "0.3", "0.5", "0.03", "1", "1"),
}
EACH = TokenUsage(MILLION, MILLION, MILLION, MILLION, MILLION)


@pytest.fixture
def book(db: None) -> PriceBook:
    return get_book()


def usd(book: PriceBook, model: str, price_class: PriceClass, usage: TokenUsage) -> Decimal:
    priced = book.price(model, price_class, NOW, usage)
    assert priced.nano_usd is not None
    return Decimal(priced.nano_usd).scaleb(-9)


@pytest.mark.parametrize("model", TABLE)
def test_each_token_kind_costs_what_the_list_says(book: PriceBook, model: str) -> None:
    kinds = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
    costs = [usd(book, model, PriceClass(), TokenUsage(**{kind: MILLION})) for kind in kinds]
    assert costs == [Decimal(price) for price in TABLE[model][:5]]


@pytest.mark.parametrize("model", TABLE)
def test_batch_place_and_speed_multiply_where_the_list_says(book: PriceBook, model: str) -> None:
    *units, us, fast = (Decimal(price) for price in TABLE[model])
    total = sum(units)
    assert usd(book, model, PriceClass(batch=True), EACH) == total / 2
    assert usd(book, model, PriceClass(geo="us"), EACH) == total * us
    assert usd(book, model, PriceClass(speed="fast"), EACH) == total * fast
    assert usd(book, model, PriceClass(batch=True, geo="us", speed="fast"), EACH) == total * us * fast / 2


counts = st.integers(0, 50) | st.integers(0, 2_000_000_000)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    model=st.sampled_from(sorted(TABLE)), usage=st.builds(TokenUsage, counts, counts, counts, counts, counts, counts),
    batch=st.booleans(), us=st.booleans(), fast=st.booleans(), long=st.booleans(),
)  # fmt: skip
def test_any_usage_costs_what_decimals_say_rounded_once(
    book: PriceBook, model: str, usage: TokenUsage, batch: bool, us: bool, fast: bool, long: bool
) -> None:
    into, out, write_5m, write_1h, read, us_factor, fast_factor = (Decimal(price) for price in TABLE[model])
    with localcontext(prec=80):
        dollars = (
            into * usage.input + out * usage.output + read * usage.cache_read
            + write_5m * usage.cache_write_5m + write_1h * usage.cache_write_1h
        ) / MILLION  # fmt: skip
        for asked, factor in ((batch, Decimal("0.5")), (us, us_factor), (fast, fast_factor)):
            dollars *= factor if asked else 1
        dollars *= 5 if long and model == "claude-haiku-5-5" else 1
        dollars += Decimal("0.01") * usage.web_search
        wanted = dollars.quantize(Decimal("1e-9"), rounding=ROUND_HALF_EVEN)
    price_class = PriceClass(
        batch=batch, geo="us" if us else "", speed="fast" if fast else "", context_band=">100k" if long else ""
    )
    assert usd(book, model, price_class, usage) == wanted


@pytest.mark.parametrize(
    ("model", "geo", "cost"),
    [
        ("claude-opus-4-8", "", "0.0118"),
        ("claude-opus-5-5", "us", "0.009284"),
        ("claude-sonnet-5-5", "us", "0.004642"),
    ],
)
def test_the_clis_own_figures_come_out_to_the_last_digit(book: PriceBook, model: str, geo: str, cost: str) -> None:
    assert usd(book, model, PriceClass(geo=geo), TokenUsage(1200, 42, 5000, 200, 100)) == Decimal(cost)


def test_a_web_search_costs_a_cent_whatever_multiplies_the_tokens(book: PriceBook) -> None:
    every = PriceClass(batch=True, geo="us", speed="fast")
    assert usd(book, "claude-opus-5-5", every, TokenUsage(web_search=3)) == Decimal("0.03")


def test_haiku_costs_five_times_as_much_past_100k_tokens_of_input(book: PriceBook) -> None:
    long = PriceClass(context_band=">100k")
    assert usd(book, "claude-haiku-5-5", long, EACH) == 5 * usd(book, "claude-haiku-5-5", PriceClass(), EACH)
    longer = PriceClass(context_band=">200k")
    assert usd(book, "claude-haiku-5-5", longer, EACH) == usd(book, "claude-haiku-5-5", long, EACH)
    assert usd(book, "claude-opus-5", long, EACH) == usd(book, "claude-opus-5", PriceClass(), EACH)


@pytest.mark.parametrize("model", ["claude-fable-5-2", "claude-mythos-5-2", "claude-opus-9", "gpt-7", ""])
def test_a_model_without_a_public_price_is_unpriced_not_free(book: PriceBook, model: str) -> None:
    assert book.price(model, PriceClass(), NOW, EACH) == (priced := book.price(model, PriceClass(), NOW, TokenUsage()))
    assert priced.nano_usd is None
    assert priced.explanation is None


def test_a_cost_says_how_it_came_about(book: PriceBook) -> None:
    usage = TokenUsage(1200, 42, 5000, 200, 100, 2)
    explanation = book.price("claude-opus-5-5[1m]", PriceClass(geo="us"), NOW, usage).explanation
    assert explanation is not None
    assert explanation.model == "claude-opus-5-5"
    assert explanation.source.startswith("Anthropic list price")
    assert explanation.valid_from <= NOW
    assert explanation.valid_to is None
    assert {name: str(factor) for name, factor in explanation.multipliers.items()} == {"geo:us": "11/10"}
    lines = [(line.kind, line.count, str(line.unit), str(line.multiplier), line.nano_usd) for line in explanation.lines]
    assert lines == [
        ("input", 1200, "4", "11/10", 5_280_000),
        ("output", 42, "20", "11/10", 924_000),
        ("cache_read", 5000, "1/5", "11/10", 1_100_000),
        ("cache_write_5m", 200, "5", "11/10", 1_100_000),
        ("cache_write_1h", 100, "8", "11/10", 880_000),
        ("web_search", 2, "1/100", "1", 20_000_000),
    ]
