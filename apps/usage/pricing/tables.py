"""Rates as integers over one denominator, and sums of products of them: exact, a column at a time."""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

__all__ = [
    "INT64_MAX",
    "INT64_SAFE",
    "TOKEN_KINDS",
    "Ints",
    "Settled",
    "Table",
    "distinct",
    "dot",
    "round_half_even",
    "table_of",
]

Ints = npt.NDArray[np.int64]
TOKEN_KINDS = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h", "web_search")
INT64_MAX = 2**63 - 1
# Sums below this cannot overflow, whatever is rounded off them.
INT64_SAFE = 2**62


def round_half_even(value: Fraction) -> int:
    """The nearest integer, ties to the even one (IEEE 754 roundTiesToEven)."""
    return round(value)


def distinct(codes: Ints, limit: int) -> tuple[Ints, Ints]:
    """The codes (below ``limit``) that occur, and each one's place among them."""
    if limit > 1 << 14:
        used, places = np.unique(codes, return_inverse=True)
        return used, places
    occurs = np.bincount(codes, minlength=limit) > 0
    numbers = np.cumsum(occurs) - 1
    return np.flatnonzero(occurs), numbers[codes]


@dataclass(frozen=True, slots=True)
class Table:
    """``numerators[place][kind] / denominator`` are the rates; the last place is for what has no price."""

    rates: tuple[tuple[Fraction, ...], ...]
    denominator: int
    numerators: npt.NDArray[np.int64] | None
    largest: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Settled:
    """Prices of pairs that hold in ``[from_us, to_us)``: whether a pair has one, and the numerators by kind and pair.

    The latter are None where int64 does not hold them.
    """

    priced: npt.NDArray[np.bool_]
    columns: tuple[Ints, ...] | None
    largest: tuple[int, ...]
    denominator: int
    from_us: int
    to_us: int

    @classmethod
    def of(cls, table: Table, places: Ints, from_us: int, to_us: int) -> "Settled":
        numerators = table.numerators
        columns = None
        if numerators is not None:
            columns = tuple(np.ascontiguousarray(numerators[places, kind]) for kind in range(len(TOKEN_KINDS)))
        return cls(places >= 0, columns, table.largest, table.denominator, from_us, to_us)

    def cost(self, code: Ints, tokens: Sequence[Ints]) -> Ints | None:
        """Σ tokens × rate for each event, rounded half to even; None where int64 might not hold the sum."""
        if self.columns is None:
            return None
        total: Ints | None = None
        nothing: Ints | None = None
        bound = 0
        for column, numerators, largest in zip(tokens, self.columns, self.largest, strict=True):
            # Kinds of which no event has any are mostly one and the same column.
            if column is nothing:
                continue
            if not (most := int(column.max())):
                nothing = column
            else:
                bound += most * largest
                if bound >= INT64_SAFE:
                    return None
                part = column * numerators[code]
                total = part if total is None else total + part
        return np.zeros(len(code), dtype=np.int64) if total is None else rounded(total, self.denominator)


def table_of(rates: list[tuple[Fraction, ...]]) -> Table:
    """The rates as integers over their least common denominator."""
    denominator = math.lcm(*(rate.denominator for row in rates for rate in row))
    rows = [[rate.numerator * (denominator // rate.denominator) for rate in row] for row in rates]
    rows.append([0] * len(TOKEN_KINDS))
    largest = tuple(max(row[kind] for row in rows) for kind in range(len(TOKEN_KINDS)))
    fits = max(denominator, *largest) < INT64_SAFE
    return Table(tuple(rates), denominator, np.array(rows, dtype=np.int64) if fits else None, largest)


def dot(table: Table, rates: list[tuple[Fraction, ...]], where: Ints, columns: list[Ints]) -> Ints:
    """Σ tokens × rate for each event, rounded half to even; exact. Place -1 costs nothing."""
    most = [int(column.max(initial=0)) for column in columns]
    if table.numerators is None or sum(map(operator.mul, most, table.largest)) >= INT64_SAFE:
        return dot_slowly(rates, where, columns)
    total = np.zeros(len(where), dtype=np.int64)
    for kind, column in enumerate(columns):
        if most[kind]:
            total += column * table.numerators[where, kind]
    return rounded(total, table.denominator)


def rounded(total: Ints, denominator: int) -> Ints:
    """``total / denominator`` (neither negative), half to even."""
    # By one number, numpy divides three times as fast as it takes quotient and rest together.
    quotient = total // denominator
    rest = total - quotient * denominator
    # An odd quotient goes up at the half already.
    up = rest + rest + (quotient & 1) > denominator
    rounded: Ints = quotient + up
    return rounded


def dot_slowly(rates: list[tuple[Fraction, ...]], where: Ints, columns: list[Ints]) -> Ints:
    """The same for amounts beyond int64 on the way; a result beyond it (9 billion USD for one event) is cut there."""
    totals = [
        round_half_even(sum((rates[place][k] * int(column[i]) for k, column in enumerate(columns)), Fraction(0)))
        if place >= 0
        else 0
        for i, place in enumerate(where.tolist())
    ]
    return np.array([min(total, INT64_MAX) for total in totals], dtype=np.int64)
