"""The columns of what it was and what it costs: dimensions, tokens, price."""

from typing import Any

import numpy as np
import numpy.typing as npt

from apps.projects.contracts import KeyContext
from apps.usage.ingest.batch import Columns, Ints, ints
from apps.usage.ingest.checks import nano_of
from apps.usage.ingest.frame import WhatKey
from apps.usage.pricing.book import PriceClass, get_book
from apps.usage.pricing.models_names import canonical_model

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


class _Places(dict[Any, int]):
    """Numbers keys in the order in which they are first asked for."""

    def __missing__(self, key: Any) -> int:
        place = self[key] = len(self)
        return place


def _codes(columns: list[tuple[Any, ...]]) -> tuple[list[tuple[Any, ...]], Ints]:
    """The distinct rows of ``columns`` and each row's place among them; constant columns cost next to nothing."""
    count = len(columns[0])
    varying = [i for i, column in enumerate(columns) if column.count(column[0]) != count]
    constant = [column[0] for column in columns]
    if not varying:
        return [tuple(constant)], np.zeros(count, dtype=np.int64)
    places = _Places()
    rows = zip(*(columns[i] for i in varying), strict=True)
    index = np.fromiter(map(places.__getitem__, rows), dtype=np.int64, count=count)
    distinct = []
    for row in places:
        values = list(constant)
        for i, value in zip(varying, row, strict=True):
            values[i] = value
        distinct.append(tuple(values))
    return distinct, index


def describe(columns: Columns, key: KeyContext, records: npt.NDArray[np.void]) -> list[WhatKey]:
    """Fill tokens, cost and ``what``; the batch's distinct :data:`WhatKey` rows."""
    tokens = _tokens(columns)
    combos, combo = _codes([columns[name] for name in _WHAT_FIELDS])
    models = [canonical_model(row[1]) if row[1] else "" for row in combos]
    bands, band = _bands(tokens)
    pairs = [(i, 0) for i in range(len(combos))]
    code = combo
    if len(bands) > 1:
        used, code = np.unique(combo * len(bands) + band, return_inverse=True)
        pairs = [divmod(int(u), len(bands)) for u in used]
    whats: list[WhatKey] = []
    for row_index, band_index in pairs:
        event_type, _, tier, geo, speed, server, tool, source, status = combos[row_index]
        price_class = PriceClass.of(tier, geo, speed, bands[band_index])
        whats.append(
            (event_type, models[row_index], *price_class, server or "", tool or "", source or "", status or "ok")
        )
    records["what"] = code
    _price(columns, key, records, tokens, whats, code)
    for field, column in zip(
        ("input", "output", "cache_read", "write_5m", "write_1h", "web"), tokens.values(), strict=True
    ):
        records[field] = column
    latencies = columns["latency_ms"]
    if None in latencies:
        latencies = tuple(-1 if value is None else value for value in latencies)
    records["latency"] = np.fromiter(latencies, dtype=np.int32, count=columns.count)
    if not columns.all_none("stop_reason"):
        records["stop"] = [STOP_CODES.get(value, 0) for value in columns["stop_reason"]]
    return whats


def _tokens(columns: Columns) -> dict[str, Ints]:
    """Token columns by kind. Cache writes beyond the 5-minute/1-hour split count as 5-minute ones."""
    write_5m = ints(columns["cache_creation_input_tokens"])
    write_1h = web = np.zeros(columns.count, dtype=np.int64)
    if not columns.all_none("cache_creation"):
        splits = columns["cache_creation"]
        short = ints([s.ephemeral_5m_input_tokens if s else 0 for s in splits])
        write_1h = ints([s.ephemeral_1h_input_tokens if s else 0 for s in splits])
        write_5m = short + np.maximum(write_5m - short - write_1h, 0)
    if not columns.all_none("server_tool_use"):
        web = ints([tool.web_search_requests if tool else 0 for tool in columns["server_tool_use"]])
    return {
        "input": ints(columns["input_tokens"]),
        "output": ints(columns["output_tokens"]),
        "cache_read": ints(columns["cache_read_input_tokens"]),
        "cache_write_5m": write_5m,
        "cache_write_1h": write_1h,
        "web_search": web,
    }


def _bands(tokens: dict[str, Ints]) -> tuple[list[str], Ints]:
    """The context bands that a price may depend on and each event's place among them."""
    total = tokens["input"] + tokens["cache_read"] + tokens["cache_write_5m"] + tokens["cache_write_1h"]
    if total.max() <= CONTEXT_BANDS[0][0]:
        return [""], total
    return ["", *(name for _, name in CONTEXT_BANDS)], sum(
        (total > limit).astype(np.int64) for limit, _ in CONTEXT_BANDS
    )  # type: ignore[return-value]


def _price(
    columns: Columns,
    key: KeyContext,
    records: npt.NDArray[np.void],
    tokens: dict[str, Ints],
    whats: list[WhatKey],
    code: Ints,
) -> None:
    """Fill ``cost``, ``reported`` and ``flags``.

    Calls, and whatever else names a model and tokens, have a price; where the book knows none, the cost is the
    reported one, or nothing and the event is unpriced.
    """
    pairs = tuple((row[1], PriceClass(*row[2:7])) for row in whats)
    nano, priced = get_book().price_pairs(key.org_id, pairs, code, records["ts"], tokens)
    wanted = _wants_price(whats, code, tokens)
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


def _wants_price(whats: list[WhatKey], code: Ints, tokens: dict[str, Ints]) -> npt.NDArray[np.bool_]:
    """Calls, and what names a model and tokens."""
    calls = [row[0] == "api_call" for row in whats]
    if all(calls):
        return np.ones(len(code), dtype=bool)
    has_model = np.array([row[1] != "" for row in whats])[code]
    spent = np.zeros(len(code), dtype=bool)
    for column in tokens.values():
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
