"""The book of prices in memory: exact, the same for one event and for a column of them.

A cost is a sum over token kinds of tokens × unit price × multipliers, computed in exact rationals and rounded once for
each event, half to even, to integer nano-USD (docs/definitions.md, "cost"). ``price`` does so with fractions and says
how; ``price_columns`` with int64 numerators over a common denominator, which is the same number bit for bit, and with
Python's integers where int64 could overflow.
"""

import logging
import operator
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
from django.db import DatabaseError

from apps.core.meanwhile import meanwhile
from apps.usage.pricing.models_names import canonical_model
from apps.usage.pricing.price import (
    CONTEXT_BANDS,
    ZERO_USAGE,
    Explanation,
    Line,
    PriceClass,
    Priced,
    PriceRow,
    TokenUsage,
)
from apps.usage.pricing.tables import (
    INT64_MAX,
    TOKEN_KINDS,
    Ints,
    Settled,
    Table,
    distinct,
    dot,
    round_half_even,
    table_of,
)

__all__ = [
    "CONTEXT_BANDS",
    "TOKEN_KINDS",
    "ZERO_USAGE",
    "Explanation",
    "Line",
    "PriceBook",
    "PriceClass",
    "PriceRow",
    "Priced",
    "TokenUsage",
    "forget_book",
    "get_book",
    "is_book_young",
    "round_half_even",
]

logger = logging.getLogger(__name__)

# Models with a class each.
Pairs = tuple[tuple[str, PriceClass], ...]

_CHECK_EVERY = 1.0
# Below this many events, reckoning one by one is quicker than setting numpy going.
_FEW = 5
_FOREVER = INT64_MAX


@dataclass
class PriceBook:
    """All prices as of one version; never changed."""

    rows: Sequence[PriceRow]
    version: int = 0
    _by_model: dict[tuple[UUID | None, str], list[PriceRow]] = field(default_factory=dict)
    _rates: dict[tuple[int, PriceClass], tuple[Fraction, ...]] = field(default_factory=dict)
    _tables: dict[tuple[int, ...], Table] = field(default_factory=dict)
    _settled: dict[tuple[UUID | None, Pairs], Settled] = field(default_factory=dict)
    _owners: set[UUID | None] = field(default_factory=set)

    def __post_init__(self) -> None:
        for row in sorted(self.rows, key=lambda row: row.from_us):
            self._by_model.setdefault((row.org_id, row.model), []).append(row)
            self._owners.add(row.org_id)

    def has_own(self, org_id: UUID) -> bool:
        """Whether the organisation has prices of its own."""
        return org_id in self._owners

    # ------------------------------------------------------------------ one event
    def find(self, model: str, at_us: int, org_id: UUID | None = None) -> PriceRow | None:
        """The price in force: the organisation's own before the list price."""
        name = canonical_model(model)
        for owner in (org_id, None) if org_id is not None else (None,):
            for row in self._by_model.get((owner, name), ()):
                if row.from_us <= at_us < row.to_us:
                    return row
        return None

    def price(
        self, model: str, price_class: PriceClass, at: datetime, usage: TokenUsage, *, org_id: UUID | None = None
    ) -> Priced:
        """The exact cost of one event at ``at`` (aware), with its explanation."""
        row = self.find(model, _microseconds(at), org_id)
        if row is None:
            return Priced(None, None)
        factor = row.factor(price_class)
        lines = []
        for kind, count, rate in zip(TOKEN_KINDS, usage, row.rates(price_class), strict=True):
            if count:
                multiplier = factor if kind != "web_search" else Fraction(1)
                lines.append(Line(kind, count, row.units[kind], multiplier, rate * count))
        total = sum((line.nano_usd for line in lines), Fraction(0))
        return Priced(
            round_half_even(total),
            Explanation(
                model=row.model,
                source=row.source,
                valid_from=_moment(row.from_us),
                valid_to=None if row.to_us == _FOREVER else _moment(row.to_us),
                multipliers=row.applied(price_class),
                lines=tuple(lines),
            ),
        )

    def cost_of(
        self, model: str, price_class: PriceClass, at_us: int, counts: Mapping[str, int], org_id: UUID | None = None
    ) -> int | None:
        """The same as the ``nano_usd`` of :meth:`price`, without the explanation; None without a price."""
        row = self.find(model, at_us, org_id)
        if row is None:
            return None
        table = self._table([self.rates_of(row, price_class)])
        total: int = sum(map(operator.mul, table.largest, (counts[kind] for kind in TOKEN_KINDS)))
        quotient, rest = divmod(total, table.denominator)
        up = 2 * rest > table.denominator or (2 * rest == table.denominator and quotient & 1)
        return min(quotient + bool(up), INT64_MAX)

    # ------------------------------------------------------------------ a column of events
    def price_columns(
        self,
        org_id: UUID | None,
        models: Sequence[str],
        model_idx: npt.NDArray[Any],
        classes: Sequence[PriceClass],
        class_idx: npt.NDArray[Any],
        ts_us: Ints,
        tokens: Mapping[str, Ints],
    ) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Costs in nano-USD (0 without a price) and whether there was a price, for ``n`` events.

        ``models[model_idx[i]]`` and ``classes[class_idx[i]]`` are those of event ``i``; ``tokens`` has a column for
        each of :data:`TOKEN_KINDS`. The same numbers as :meth:`price`.
        """
        count = len(ts_us)
        if not count:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
        pair = np.asarray(model_idx, dtype=np.int64) * len(classes) + np.asarray(class_idx, dtype=np.int64)
        if count < _FEW:
            return self._price_few(org_id, models, classes, pair, ts_us, tokens)
        used, code = distinct(pair, len(models) * len(classes))
        rates: list[tuple[Fraction, ...]] = []
        place = np.full(len(used), -1, dtype=np.int64)  # code → index in rates, -1 without a price
        split: list[tuple[int, list[PriceRow], PriceClass]] = []
        first, last = int(ts_us.min()), int(ts_us.max())
        for number, value in enumerate(used):
            model, price_class = models[int(value) // len(classes)], classes[int(value) % len(classes)]
            row = self.find(model, first, org_id)
            if row is not None and last < row.to_us and (row.org_id == org_id or not self._own(org_id, model)):
                place[number] = len(rates)
                rates.append(self.rates_of(row, price_class))
            elif candidates := self._candidates(org_id, model):
                split.append((number, candidates, price_class))
        where = place[code]
        for number, candidates, price_class in split:
            mine = code == number
            for candidate in candidates:  # own prices last: they win
                hit = mine & (ts_us >= candidate.from_us) & (ts_us < candidate.to_us)
                if hit.any():
                    where[hit] = len(rates)
                    rates.append(self.rates_of(candidate, price_class))
        priced = where >= 0
        if not rates:
            return np.zeros(count, dtype=np.int64), priced
        columns = [np.asarray(tokens[kind], dtype=np.int64) for kind in TOKEN_KINDS]
        return dot(self._table(rates), rates, where, columns), priced

    def price_pairs(
        self, org_id: UUID | None, pairs: Pairs, code: Ints, ts_us: Ints, tokens: Mapping[str, Ints]
    ) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """:meth:`price_columns` for events of which ``pairs[code[i]]`` is the model and class of event ``i``.

        Where each pair has one price for all of them, which is remembered from batch to batch, that is a sum of
        products and nothing else.
        """
        settled = self._settle(org_id, pairs, int(ts_us.min()), int(ts_us.max())) if len(ts_us) else None
        columns = [tokens[kind] for kind in TOKEN_KINDS]
        nano = settled.cost(code, columns) if settled is not None else None
        if settled is None or nano is None:
            classes = [price_class for _, price_class in pairs]
            return self.price_columns(org_id, [model for model, _ in pairs], code, classes, code, ts_us, tokens)
        return nano, settled.priced[code]

    def _settle(self, org_id: UUID | None, pairs: Pairs, first: int, last: int) -> Settled | None:
        """The one price of each pair in ``[first, last]``; None where one changes in between."""
        found = self._settled.get((org_id, pairs))
        if found is not None and found.from_us <= first and last < found.to_us:
            return found
        rates: list[tuple[Fraction, ...]] = []
        places: list[int] = []
        from_us, to_us = 0, _FOREVER
        for model, price_class in pairs:
            row = self.find(model, first, org_id)
            if row is None and not self._candidates(org_id, model):
                places.append(-1)
                continue
            if row is None or last >= row.to_us or (row.org_id != org_id and self._own(org_id, model)):
                return None
            places.append(len(rates))
            rates.append(self.rates_of(row, price_class))
            from_us, to_us = max(from_us, row.from_us), min(to_us, row.to_us)
        if len(self._settled) > 10_000:
            self._settled.clear()
        settled = self._settled[org_id, pairs] = Settled.of(self._table(rates), np.array(places), from_us, to_us)
        return settled

    def _price_few(
        self,
        org_id: UUID | None,
        models: Sequence[str],
        classes: Sequence[PriceClass],
        pair: Ints,
        ts_us: Ints,
        tokens: Mapping[str, Ints],
    ) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """:meth:`price_columns` one by one, which is quicker for a few."""
        nano, priced = np.zeros(len(pair), dtype=np.int64), np.zeros(len(pair), dtype=bool)
        counts = [tokens[kind].tolist() for kind in TOKEN_KINDS]
        for i, (code, at) in enumerate(zip(pair.tolist(), ts_us.tolist(), strict=True)):
            model, price_class = models[code // len(classes)], classes[code % len(classes)]
            row = self.find(model, at, org_id)
            if row is None:
                continue
            rates = self.rates_of(row, price_class)
            cost = sum((rate * column[i] for rate, column in zip(rates, counts, strict=True) if column[i]), Fraction(0))
            nano[i], priced[i] = min(round_half_even(cost), INT64_MAX), True
        return nano, priced

    def _table(self, rates: list[tuple[Fraction, ...]]) -> Table:
        """The rates as integers over one denominator, remembered: batches mostly have the same ones."""
        key = tuple(map(id, rates))
        found = self._tables.get(key)
        # Its own reference to the rates keeps their identities from being given to others.
        if found is None:
            if len(self._tables) > 1000:
                self._tables.clear()
            found = self._tables[key] = table_of(rates)
        return found

    def _own(self, org_id: UUID | None, model: str) -> bool:
        return org_id is not None and (org_id, canonical_model(model)) in self._by_model

    def _candidates(self, org_id: UUID | None, model: str) -> list[PriceRow]:
        name = canonical_model(model)
        own = self._by_model.get((org_id, name), []) if org_id is not None else []
        return [*self._by_model.get((None, name), []), *own]

    def rates_of(self, row: PriceRow, price_class: PriceClass) -> tuple[Fraction, ...]:
        """Nano-USD for one of each of :data:`TOKEN_KINDS`, remembered."""
        key = (id(row), price_class)
        found = self._rates.get(key)
        if found is None:
            if len(self._rates) > 10_000:
                self._rates.clear()
            found = self._rates[key] = row.rates(price_class)
        return found


def _microseconds(at: datetime) -> int:
    delta = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000)


# ---------------------------------------------------------------- the book of this process
_book: PriceBook | None = None
_checked = 0.0
_lock = threading.Lock()


def get_book() -> PriceBook:
    """The present book, a second old at most; the old one serves while the database is away.

    Where it is asked for often its version is looked at meanwhile, twice a second.
    """
    book, age = _book, time.monotonic() - _checked
    if book is None or age >= _CHECK_EVERY:
        return _look()
    if age >= _CHECK_EVERY / 2:
        meanwhile("price book", _look)
    return book


def is_book_young() -> bool:
    """Whether :func:`get_book` asks nobody."""
    return _book is not None and time.monotonic() - _checked < 0.9 * _CHECK_EVERY


def _look() -> PriceBook:
    global _book, _checked
    with _lock:
        if _book is not None and time.monotonic() - _checked < _CHECK_EVERY / 2:
            return _book
        moment = time.monotonic()
        try:
            _book = _read(_book)
        except DatabaseError:
            if _book is None:
                raise
            logger.warning("the price book could not be read; version %d goes on serving", _book.version)
        _checked = moment
        return _book


def forget_book() -> None:
    """Read the book again on the next use, whatever its version: one that was rolled back may come again."""
    global _book
    _book = None


def _read(known: PriceBook | None) -> PriceBook:
    from apps.usage.models.prices import Price, PriceBookVersion

    version = PriceBookVersion.objects.filter(pk=1).values_list("version", flat=True).first() or 0
    if known is not None and known.version == version:
        return known
    rows = [
        PriceRow(
            model=price.model,
            org_id=price.org_id,
            from_us=_microseconds(price.valid_from),
            to_us=_microseconds(price.valid_to) if price.valid_to else _FOREVER,
            units={kind: Fraction(getattr(price, kind)) for kind in TOKEN_KINDS},
            multipliers={name: Fraction(value) for name, value in price.multipliers.items()},
            source=price.source,
        )
        for price in Price.objects.all()
    ]
    return PriceBook(rows, version)
