"""One event and a column of events cost the same, bit for bit."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from uuid import UUID

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.usage.pricing.book import TOKEN_KINDS, PriceBook, PriceClass, PriceRow, TokenUsage, round_half_even

ORG = UUID(int=1)
OTHER = UUID(int=2)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FOREVER = int(np.iinfo(np.int64).max)
MODELS = ["claude-opus-5", "claude-haiku-5-5[1m]", "claude-new"]

decimals = st.integers(0, 10**15).map(lambda n: Fraction(n, 10**12)) | st.sampled_from([Fraction(0), Fraction(1, 10)])
factors = st.sampled_from(
    [Fraction(1, 2), Fraction(11, 10), Fraction(2), Fraction(5), Fraction(1, 3), Fraction(7, 10**9)]
)
classes = st.builds(
    PriceClass,
    service_tier=st.sampled_from(["", "priority"]),
    batch=st.booleans(),
    geo=st.sampled_from(["", "us"]),
    speed=st.sampled_from(["", "fast"]),
    context_band=st.sampled_from(["", ">100k", ">200k"]),
)
counts = st.integers(0, 50) | st.integers(0, 2_000_000_000)
usages = st.builds(TokenUsage, counts, counts, counts, counts, counts, st.integers(0, 100))
CONDITIONS = ["batch", "tier:priority", "geo:us", "speed:fast", "context:>100k", "context:>200k"]
MOMENTS = [0, 999, 1000, 1001, 2000, 5000]


@st.composite
def books(draw: st.DrawFn) -> PriceBook:
    rows = []
    for org in (None, ORG, OTHER):
        for model in ("claude-opus-5", "claude-haiku-5-5"):
            borders = sorted(draw(st.sets(st.sampled_from([0, 1000, 2000, FOREVER]), max_size=4)))
            for start, end in pairwise(borders):
                names = draw(st.sets(st.sampled_from(CONDITIONS)))
                units = {kind: draw(decimals) for kind in TOKEN_KINDS}
                rows.append(
                    PriceRow(model, org, start, end, units, {name: draw(factors) for name in sorted(names)}, "x")
                )
    return PriceBook(rows)


@settings(max_examples=150, deadline=None)
@given(
    book=books(),
    org=st.sampled_from([None, ORG]),
    asked=st.lists(st.tuples(st.integers(0, 2), classes, st.sampled_from(MOMENTS), usages), min_size=1, max_size=12),
)
def test_a_column_costs_what_its_events_cost_one_by_one(book, org, asked) -> None:
    kinds = sorted({price_class for _, price_class, _, _ in asked})
    moments = np.array([moment for _, _, moment, _ in asked], dtype=np.int64)
    tokens = {kind: np.array([usage[k] for *_, usage in asked], dtype=np.int64) for k, kind in enumerate(TOKEN_KINDS)}
    nano, priced = book.price_columns(
        org,
        MODELS,
        np.array([model for model, *_ in asked], dtype=np.int32),
        kinds,
        np.array([kinds.index(price_class) for _, price_class, _, _ in asked], dtype=np.int32),
        moments,
        tokens,
    )
    pairs = tuple(dict.fromkeys((MODELS[model], price_class) for model, price_class, *_ in asked))
    code = np.array([pairs.index((MODELS[model], price_class)) for model, price_class, *_ in asked], dtype=np.int64)
    for index, (model, price_class, moment, usage) in enumerate(asked):
        one = book.price(MODELS[model], price_class, EPOCH + timedelta(microseconds=moment), usage, org_id=org)
        assert bool(priced[index]) == (one.nano_usd is not None)
        assert int(nano[index]) == min(one.nano_usd or 0, FOREVER)
    # Asked twice, since the second answer is remembered; then at other times, for which it need not hold.
    for at in (moments, moments, moments[::-1].copy()):
        expected = book.price_columns(
            org, [m for m, _ in pairs], code, [c for _, c in pairs], code, at, tokens
        )  # fmt: skip
        found = book.price_pairs(org, pairs, code, at, tokens)
        assert [column.tolist() for column in found] == [column.tolist() for column in expected]


@given(value=st.fractions(min_value=0, max_value=10**12))
def test_rounding_is_to_the_nearest_and_on_a_tie_to_the_even(value: Fraction) -> None:
    rounded = round_half_even(value)
    assert abs(rounded - value) <= Fraction(1, 2)
    assert abs(rounded - value) < Fraction(1, 2) or rounded % 2 == 0


def test_ties_round_to_even_in_a_column_too() -> None:
    """Half a nano-dollar a token: 1 → 0.5 → 0, 3 → 1.5 → 2, 5 → 2.5 → 2."""
    units = {**dict.fromkeys(TOKEN_KINDS, Fraction(0)), "input": Fraction(1, 2000)}
    book = PriceBook([PriceRow("m", None, 0, FOREVER, units, {}, "x")])
    tokens = {kind: np.zeros(4, dtype=np.int64) for kind in TOKEN_KINDS} | {"input": np.array([1, 3, 5, 7])}
    zeros = np.zeros(4, dtype=np.int64)
    nano, priced = book.price_columns(None, ["m"], zeros, [PriceClass()], zeros, zeros, tokens)
    assert nano.tolist() == [0, 2, 2, 4]
    assert priced.all()


def test_no_events_cost_nothing() -> None:
    none = np.zeros(0, dtype=np.int64)
    nano, priced = PriceBook([]).price_columns(None, [], none, [], none, none, dict.fromkeys(TOKEN_KINDS, none))
    assert (nano.tolist(), priced.tolist()) == ([], [])


def test_an_amount_beyond_int64_on_the_way_is_still_exact() -> None:
    units = {**dict.fromkeys(TOKEN_KINDS, Fraction(0)), "input": Fraction(10**12 - 1, 10**12), "output": Fraction(1, 3)}
    book = PriceBook([PriceRow("m", None, 0, FOREVER, units, {"geo:us": Fraction(7, 10**9)}, "x")])
    usage = TokenUsage(input=2_000_000_000, output=1_999_999_999)
    tokens = {kind: np.array([usage[k]], dtype=np.int64) for k, kind in enumerate(TOKEN_KINDS)}
    zero = np.zeros(1, dtype=np.int64)
    nano, _ = book.price_columns(None, ["m"], zero, [PriceClass(geo="us")], zero, zero, tokens)
    assert nano[0] == book.price("m", PriceClass(geo="us"), EPOCH, usage).nano_usd
