"""The columns of what it was and what it costs: dimensions, tokens, price."""

from functools import lru_cache
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from apps.usage.ingest.batch import Columns, Ints, ints
from apps.usage.ingest.checks import nano_of
from apps.usage.ingest.frame import WhatKey
from apps.usage.pricing.book import PriceClass, get_book
from apps.usage.pricing.models_names import canonical_model
from apps.usage.pricing.tables import distinct

__all__ = ["COST_IS_REPORTED", "DETAIL", "PRICED", "REPORTED", "STOP_CODES", "STOP_REASONS", "UNPRICED", "describe"]

STOP_REASONS = (
    "", "end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "model_context_window_exceeded",
)  # fmt: skip
STOP_CODES: dict[str | None, int] = {reason: code for code, reason in enumerate(STOP_REASONS)} | {None: 0}
# Flags of an event: priced by the book, the sender reported a cost, the cost is that one, no price is known, and
# a detail lies among its texts.
PRICED, REPORTED, COST_IS_REPORTED, UNPRICED, DETAIL = 1, 2, 4, 8, 16

# Total input above which a price may be another, largest last, and the name of what lies above.
CONTEXT_BANDS = ((100_000, ">100k"), (200_000, ">200k"))
_WHAT_FIELDS = (
    "event_type", "model", "service_tier", "inference_geo", "speed", "mcp_server", "mcp_tool", "source", "status",
)  # fmt: skip


def _combinations(columns: Columns) -> tuple[list[tuple[Any, ...]], Ints | None]:
    """The distinct rows of what an event is and each event's place among them; None where there is one for all.

    Columns that do not vary cost next to nothing.
    """
    # Models are numbered in any case; what else there is of them says whether they vary.
    varying = [
        name
        for name in _WHAT_FIELDS
        if (len(columns.coded(name)[0]) > 1 if name == "model" else not columns.is_constant(name))
    ]
    if not varying:
        return [tuple(columns[name][0] for name in _WHAT_FIELDS)], None
    places, index = columns.coded(varying[0])
    limit = len(places)
    for name in varying[1:]:
        places, more = columns.coded(name)
        used, index = distinct(index * len(places) + more, limit * len(places))
        limit = len(used)
    # Any event of each: it has the values of all of them.
    one = np.empty(limit, dtype=np.int64)
    one[index] = np.arange(columns.count)
    fields = [columns[name] for name in _WHAT_FIELDS]
    return [tuple(field[position] for field in fields) for position in one.tolist()], index


@lru_cache(maxsize=4096)
def _what_of(row: tuple[Any, ...], band: str) -> WhatKey:
    event_type, model, tier, geo, speed, server, tool, source, status = row
    price_class = PriceClass.of(tier, geo, speed, band)
    name = canonical_model(model) if model else ""
    return (event_type, name, *price_class, server or "", tool or "", source or "", status or "ok")


def describe(columns: Columns, org_id: UUID | None, records: npt.NDArray[np.void]) -> list[WhatKey]:
    """Fill tokens, cost and ``what``; the batch's distinct :data:`WhatKey` rows.

    Prices are the organisation's own, then the list's; the list's alone where none is named.
    """
    tokens = _tokens(columns)
    rows, index = _combinations(columns)
    bands, band = _bands(tokens)
    if band is None:
        whats = [_what_of(row, "") for row in rows]
        code = np.zeros(columns.count, dtype=np.int64) if index is None else index
    else:
        used, code = np.unique(band if index is None else index * len(bands) + band, return_inverse=True)
        whats = [_what_of(rows[value // len(bands)], bands[value % len(bands)]) for value in used.tolist()]
    if len(whats) > 1:
        records["what"] = code
    _price(columns, org_id, records, tokens, whats, code)
    for field, column in zip(
        ("input", "output", "cache_read", "write_5m", "write_1h", "web"), tokens.values(), strict=True
    ):
        if column is not tokens.nothing:
            records[field] = column
    records["latency"] = -1 if columns.all_none("latency_ms") else ints(columns["latency_ms"], absent=-1)
    if not columns.all_none("stop_reason"):
        records["stop"] = [STOP_CODES.get(value, 0) for value in columns["stop_reason"]]
    return whats


class _Tokens(dict[str, Ints]):
    """Columns by kind; kinds of which no event has any share the column ``nothing``."""

    def __init__(self, count: int) -> None:
        self.nothing = np.zeros(count, dtype=np.int64)

    def of(self, column: tuple[Any, ...]) -> Ints:
        return ints(column) if any(column) else self.nothing


def _tokens(columns: Columns) -> _Tokens:
    """Token columns by kind. Cache writes beyond the 5-minute/1-hour split count as 5-minute ones."""
    tokens = _Tokens(columns.count)
    write_5m = tokens.of(columns["cache_creation_input_tokens"])
    write_1h = web = tokens.nothing
    if not columns.all_none("cache_creation"):
        splits = columns["cache_creation"]
        short = ints([s.ephemeral_5m_input_tokens if s else 0 for s in splits])
        write_1h = ints([s.ephemeral_1h_input_tokens if s else 0 for s in splits])
        write_5m = short + np.maximum(write_5m - short - write_1h, 0)
    if not columns.all_none("server_tool_use"):
        web = ints([tool.web_search_requests if tool else 0 for tool in columns["server_tool_use"]])
    tokens.update(
        input=tokens.of(columns["input_tokens"]),
        output=tokens.of(columns["output_tokens"]),
        cache_read=tokens.of(columns["cache_read_input_tokens"]),
        cache_write_5m=write_5m,
        cache_write_1h=write_1h,
        web_search=web,
    )
    return tokens


def _bands(tokens: _Tokens) -> tuple[list[str], Ints | None]:
    """The context bands that a price may depend on and each event's place among them; None where all are in the
    lowest."""
    total = tokens["input"]
    for kind in ("cache_read", "cache_write_5m", "cache_write_1h"):
        if tokens[kind] is not tokens.nothing:
            total = total + tokens[kind]
    if total.max() <= CONTEXT_BANDS[0][0]:
        return [""], None
    band = np.searchsorted([limit for limit, _ in CONTEXT_BANDS], total, side="left")
    return ["", *(name for _, name in CONTEXT_BANDS)], band


def _price(
    columns: Columns,
    org_id: UUID | None,
    records: npt.NDArray[np.void],
    tokens: _Tokens,
    whats: list[WhatKey],
    code: Ints,
) -> None:
    """Fill ``cost``, ``reported`` and ``flags``.

    Calls, and whatever else names a model and tokens, have a price; where the book knows none, the cost is the
    reported one, or nothing and the event is unpriced.
    """
    pairs = tuple((row[1], PriceClass(*row[2:7])) for row in whats)
    nano, priced = get_book().price_pairs(org_id, pairs, code, records["ts"], tokens)
    wanted = _wants_price(whats, code, tokens)
    if columns.all_none("cost_usd") and wanted is None and priced.all():
        records["cost"], records["flags"] = nano, PRICED
        return
    if wanted is None:
        wanted = np.ones(columns.count, dtype=bool)
    reported, has_reported = _reported(columns["cost_usd"])
    priced = priced & wanted
    if columns.telemetry:
        priced &= ~(np.array(columns["trust_cost"]) & has_reported)
    takes_reported = ~priced & has_reported
    records["cost"] = np.where(priced, nano, np.where(takes_reported, reported, 0))
    records["reported"] = reported
    records["flags"] = (
        priced * PRICED
        + has_reported * REPORTED
        + takes_reported * COST_IS_REPORTED
        + (wanted & ~priced & ~has_reported) * UNPRICED
    )


def _wants_price(whats: list[WhatKey], code: Ints, tokens: _Tokens) -> npt.NDArray[np.bool_] | None:
    """Calls, and what names a model and tokens; None where that is all."""
    calls = [row[0] == "api_call" for row in whats]
    if all(calls):
        return None
    has_model = np.array([row[1] != "" for row in whats])[code]
    spent = np.zeros(len(code), dtype=bool)
    for column in tokens.values():
        if column is not tokens.nothing:
            spent |= column != 0
    wanted: npt.NDArray[np.bool_] = np.array(calls)[code] | (has_model & spent)
    return wanted


def _reported(costs: tuple[Any, ...]) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """The senders' own costs in nano-USD (0 where none) and where there are any."""
    count = len(costs)
    missing = costs.count(None)
    if missing == count:
        return np.zeros(count, dtype=np.int64), np.zeros(count, dtype=bool)
    if missing == 0 and set(map(type, costs)) == {float}:
        amounts = np.array(costs)
        # Below 1,000 USD a double holds more than nano-USD, so rounding the product is exact enough to give the
        # sender's figure back; larger ones go through decimals.
        if amounts.max() < 1000:
            return np.rint(amounts * 1e9).astype(np.int64), np.ones(count, dtype=bool)
    values = [None if cost is None else nano_of(cost) for cost in costs]
    return np.array([v or 0 for v in values], dtype=np.int64), np.array([v is not None for v in values])
