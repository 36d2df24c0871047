"""The rows of a flush: chunks of raw events, rollup deltas and session deltas, in COPY form, by numpy."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.core import clock
from apps.usage import chunks
from apps.usage.drain.copybuf import RowFormat, pg_micros
from apps.usage.drain.dims import Dimensions
from apps.usage.histogram import ENTRY, buckets_of
from apps.usage.texts import TextColumns, concatenated, kept
from apps.usage.words import listed_words

__all__ = [
    "CHUNK",
    "DELTA",
    "MOST_NANO",
    "MOST_SEARCHES",
    "SESSION_DELTA",
    "Events",
    "Ints",
    "NewChunk",
    "Sessions",
    "WhatTraits",
    "copied_chunks",
    "delta_rows",
    "distinct",
    "exact_sum",
    "new_chunks",
    "session_rows",
]

Ints = npt.NDArray[np.int64]
DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
_DAYS_TO_2000 = 10_957
UNPRICED = 8

TOKENS = (
    ("input_tokens", "input"), ("output_tokens", "output"), ("cache_read_tokens", "cache_read"),
    ("cache_write_5m_tokens", "write_5m"), ("cache_write_1h_tokens", "write_1h"), ("web_searches", "web"),
)  # fmt: skip
CHUNK = RowFormat(
    "usage_chunk",
    [("first_at", "i8"), ("last_at", "i8"), ("upto", "i8"), ("org", "i4"), ("drop_on", "i4"), ("events", "i4")],
    ["whos", "whats", "words", "scan", "facts", "texts"],
)
DELTA = RowFormat(
    "usage_delta",
    [
        ("minute", "i8"), ("org", "i4"), ("who", "i4"), ("what", "i4"), ("events", "i4"),
        ("input_tokens", "i8"), ("output_tokens", "i8"), ("cache_read_tokens", "i8"),
        ("cache_write_5m_tokens", "i8"), ("cache_write_1h_tokens", "i8"), ("web_searches", "i4"),
        ("cost_nano", "i8"), ("reported_nano", "i8"), ("unpriced", "i4"), ("latency_count", "i4"),
        ("latency_ms", "i8"),
    ],
    ["latency_hist"],
)  # fmt: skip
SESSION_DELTA = RowFormat(
    "usage_session_delta",
    [
        ("session", "i8"), ("org", "i4"), ("who", "i4"), ("started_at", "i8"), ("last_at", "i8"), ("events", "i4"),
        ("calls", "i4"), ("tool_calls", "i4"), ("errors", "i4"), ("input_tokens", "i8"), ("output_tokens", "i8"),
        ("cache_read_tokens", "i8"), ("cache_write_tokens", "i8"), ("cost_nano", "i8"),
    ],
    ["session_id", "models"],
)  # fmt: skip


class Sessions:
    """The sessions of a flush, by place; place 0 stands for none."""

    def __init__(self) -> None:
        self.numbers, self.names = [0], [""]
        self._places: dict[tuple[int, int], int] = {}

    def place(self, org: int, number: int, name: str) -> int:
        """The place of an organisation's session."""
        found = self._places.setdefault((org, number), len(self.numbers))
        if found == len(self.numbers):
            self.numbers.append(number)
            self.names.append(name)
        return found


@dataclass(slots=True)
class Events:
    """The columns of all new events of a flush, organisations side by side.

    ``columns`` are those of the frames' records; ``parts`` are the frames they came in, each of one organisation: how
    many events, and their texts.
    """

    columns: dict[str, npt.NDArray[Any]]
    org: Ints
    who: Ints
    what: Ints
    session: Ints
    session_place: Ints
    sessions: Sessions
    retention: Ints
    parts: list[tuple[int, TextColumns]]

    def __len__(self) -> int:
        return len(self.org)


def distinct(numbers: Ints) -> Ints:
    """The numbers (at least one) that occur, ascending: a thousand in a third of the time of ``np.unique``."""
    ordered = np.sort(numbers)
    found: Ints = ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))]
    return found


def _distinct(numbers: Ints) -> tuple[Ints, Ints]:
    """The surrogates that occur, and each one's place among them; sorted only where they are large."""
    if int(numbers.max(initial=0)) > 1 << 20:
        used, place = np.unique(numbers, return_inverse=True)
        return used, place
    occurs = np.bincount(numbers) > 0
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[numbers]


class WhatTraits:
    """What the sums need to know of each event's ``what``: its type, status and model."""

    def __init__(self, dims: Dimensions, what: Ints) -> None:
        self.used, self.place = _distinct(what)
        self.keys = [dims.what_keys[number] for number in self.used.tolist()]
        self.is_call = np.array([key[0] == "api_call" for key in self.keys])[self.place]
        self.is_tool = np.array([key[0] == "mcp_tool" for key in self.keys])[self.place]
        self.is_error = np.array([key[10] == "error" for key in self.keys])[self.place]
        self.models = sorted({key[1] for key in self.keys if key[0] == "api_call"} | {""})
        numbers = {model: number for number, model in enumerate(self.models)}
        self.model = np.array([numbers[key[1] if key[0] == "api_call" else ""] for key in self.keys])[self.place]


# ---------------------------------------------------------------------------------------------- raw events
@dataclass(frozen=True, slots=True)
class NewChunk:
    """A chunk to be written: its columns (``who``, ``what`` and ``session`` among them) and texts.

    ``upto`` is the newest of the chunks that it was merged from, 0 for one as the drain first wrote it.
    """

    org: int
    drop_day: int
    columns: dict[str, npt.NDArray[Any]]
    texts: TextColumns
    upto: int = 0


def copied_chunks(new: list[NewChunk]) -> bytes:
    """Chunks in COPY form."""
    rows = CHUNK.rows(len(new))
    tails = []
    for row, chunk in zip(rows, new, strict=True):
        ts = chunk.columns["ts"]
        row["first_at"], row["last_at"] = pg_micros(ts.min()), pg_micros(ts.max())
        row["org"], row["events"], row["drop_on"] = chunk.org, len(ts), chunk.drop_day - _DAYS_TO_2000
        row["upto"] = chunk.upto
        fields = (
            _int_array(distinct(chunk.columns["who"])), _int_array(distinct(chunk.columns["what"])),
            None if (words := listed_words(chunk.texts[1])) is None else _int_array(np.array(words, dtype=np.int64)),
            *chunks.packed(chunk.columns, chunk.texts),
        )  # fmt: skip
        tails.append(
            b"".join(
                piece
                for field in fields
                for piece in ((len(field).to_bytes(4, "big"), field) if field is not None else (_NULL,))
            )
        )
    return CHUNK.joined(rows, tails)


def new_chunks(events: Events) -> list[NewChunk]:
    """A chunk for each organisation and day of dropping, of what its retention keeps.

    Older events are counted in the rollups alone.
    """
    days = events.columns["ts"] // DAY_US + events.retention + 1
    today = int(clock.now().timestamp()) // 86_400
    out = []
    for part, texts in _org_slices(events):
        part_days = days[part]
        low, high = int(part_days.min()), int(part_days.max())
        for day in range(max(low, today + 1), high + 1):
            mask = None if low == high else part_days == day
            if mask is None or mask.any():
                out.append(_chunk(events, part, texts, day, mask))
    return out


def _org_slices(events: Events) -> Iterator[tuple[slice, TextColumns]]:
    """The events of each organisation, at most a chunk's worth at once where parts allow it, and their texts."""
    start = at = 0
    texts: list[tuple[int, TextColumns]] = []
    for size, part in events.parts:
        if size and at > start and (events.org[at] != events.org[start] or at + size - start > chunks.MAX_EVENTS):
            yield slice(start, at), concatenated(texts)
            start, texts = at, []
        texts.append((size, part))
        at += size
    if at > start:
        yield slice(start, at), concatenated(texts)


def _chunk(events: Events, part: slice, texts: TextColumns, day: int, mask: npt.NDArray[np.bool_] | None) -> NewChunk:
    columns: dict[str, npt.NDArray[Any]] = {name: column[part] for name, column in events.columns.items()}
    columns |= {"who": events.who[part], "what": events.what[part], "session": events.session[part]}
    if mask is not None:
        texts = kept(texts, mask)
        columns = {name: column[mask] for name, column in columns.items()}
    return NewChunk(int(events.org[part.start]), day, columns, texts)


_NULL = b"\xff\xff\xff\xff"
_ELEMENT = np.dtype([("length", ">i4"), ("value", ">i4")])


def _int_array(values: Ints) -> bytes:
    """An ``integer[]`` on PostgreSQL's wire: one dimension, no nulls, type 23, from index 1."""
    elements = np.empty(len(values), dtype=_ELEMENT)
    elements["length"], elements["value"] = 4, values
    return b"".join(number.to_bytes(4, "big") for number in (1, 0, 23, len(values), 1)) + elements.tobytes()


# ---------------------------------------------------------------------------------------------- rollup deltas
def _grouped(*columns: Ints) -> tuple[Ints, Ints]:
    """The order that brings equal rows of ``columns`` together, and where each group starts in it."""
    code = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        low = int(column.min())
        span = int(column.max()) - low + 1
        if span * (int(code.max()) + 1) >= 1 << 62:
            _, code = np.unique(code, return_inverse=True)
            _, column = np.unique(column, return_inverse=True)
            low, span = 0, int(column.max()) + 1
        code = code * span + (column - low)
    order = np.argsort(code)
    ordered = code[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return order, starts


def _sum(column: npt.NDArray[Any], order: Ints, starts: Ints) -> Ints:
    result: Ints = np.add.reduceat(column[order].astype(np.int64), starts)
    return result


# Figures up to these may be added up by the hundred thousand and fit their columns; larger ones have a row each.
MOST_NANO, MOST_SEARCHES = 1 << 46, 1 << 14
_MOST = {"cost": MOST_NANO, "reported": MOST_NANO, "web": MOST_SEARCHES}


def _huge(records: dict[str, npt.NDArray[Any]]) -> Ints | None:
    """A number for each event whose figures are too large to be added to others', 0 for the rest; None without any."""
    large = [name for name, most in _MOST.items() if name in records and int(records[name].max()) > most]
    if not large:
        return None
    found = np.logical_or.reduce([records[name] > _MOST[name] for name in large])
    return np.where(found, np.arange(1, len(found) + 1), 0)


def exact_sum(column: Ints) -> int:
    """The sum of figures of which int64 might not hold it."""
    most = int(column.max(initial=0))
    return int(column.sum()) if most * len(column) < 1 << 62 else sum(column.tolist())


def delta_rows(events: Events) -> bytes:
    """Sums by minute, who and what, in COPY form."""
    records = events.columns
    minute = records["ts"] // MINUTE_US
    huge = _huge(records)
    order, starts = _grouped(minute, events.who, events.what, *(() if huge is None else (huge,)))
    first = order[starts]
    rows = DELTA.rows(len(starts))
    rows["minute"] = pg_micros(minute[first] * MINUTE_US)
    rows["org"], rows["who"], rows["what"] = events.org[first], events.who[first], events.what[first]
    rows["events"] = np.diff(np.append(starts, len(order)))
    for column, source in TOKENS:
        if records[source].any():
            rows[column] = _sum(records[source], order, starts)
    rows["cost_nano"] = _sum(records["cost"], order, starts)
    rows["reported_nano"] = _sum(records["reported"], order, starts)
    rows["unpriced"] = _sum((records["flags"] & UNPRICED) != 0, order, starts)
    latency = records["latency"].astype(np.int64)
    known = latency >= 0
    rows["latency_count"] = _sum(known, order, starts)
    rows["latency_ms"] = _sum(np.where(known, latency, 0), order, starts)
    return DELTA.joined(rows, _histograms(latency, known, order, starts))


# The count of an entry has 16 bits: more than that of a bucket in one flush are several entries.
_MOST_IN_ENTRY = 65_535


def _histograms(latency: Ints, known: npt.NDArray[np.bool_], order: Ints, starts: Ints) -> list[bytes]:
    """Each group's histogram as a COPY field."""
    group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(order))))
    ordered_known = known[order]
    codes = np.sort(group[ordered_known] * 4096 + buckets_of(latency[order][ordered_known]).astype(np.int64))
    begins = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1]))) if len(codes) else np.zeros(0, np.int64)
    counts = np.diff(np.append(begins, len(codes)))
    if counts.max(initial=0) > _MOST_IN_ENTRY:
        begins = np.flatnonzero((np.arange(len(codes)) - np.repeat(begins, counts)) % _MOST_IN_ENTRY == 0)
        counts = np.diff(np.append(begins, len(codes)))
    distinct = codes[begins]
    entries = np.zeros(len(distinct), dtype=ENTRY)
    entries["bucket"] = distinct & 4095
    entries["count"] = counts
    data = entries.tobytes()
    ends = np.searchsorted(distinct, (np.arange(len(starts)) + 1) * 4096) * ENTRY.itemsize
    out, start = [], 0
    for end in ends.tolist():
        out.append((end - start).to_bytes(4, "big") + data[start:end])
        start = end
    return out


# ---------------------------------------------------------------------------------------------- sessions
_SESSION_COLUMNS = ("ts", "input", "output", "cache_read", "write_5m", "write_1h", "cost")


def _projects(who: Ints, dims: Dimensions) -> Ints:
    """A number for each event's project."""
    used, place = _distinct(who)
    numbers: dict[bytes | None, int] = {}
    codes = [numbers.setdefault(dims.who_keys[number][1], len(numbers)) for number in used.tolist()]
    return np.array(codes, dtype=np.int64)[place]


def session_rows(events: Events, traits: WhatTraits, dims: Dimensions) -> bytes:
    """A delta for each session and project."""
    inside = np.flatnonzero(events.session_place)
    if not len(inside):
        return b""
    records = {name: events.columns[name][inside] for name in _SESSION_COLUMNS}
    org, session = events.org[inside], events.session[inside]
    place = events.session_place[inside]
    huge = _huge({"cost": records["cost"]})
    keys = [place] if huge is None else [place, huge]
    order, starts = _grouped(*keys)
    who = events.who[inside]
    if (np.minimum.reduceat(who[order], starts) != np.maximum.reduceat(who[order], starts)).any():
        order, starts = _grouped(*keys, _projects(who, dims))
    first = order[starts]
    ts = records["ts"][order]
    rows = SESSION_DELTA.rows(len(starts))
    rows["session"], rows["org"], rows["who"] = session[first], org[first], who[first]
    rows["started_at"] = pg_micros(np.minimum.reduceat(ts, starts))
    rows["last_at"] = pg_micros(np.maximum.reduceat(ts, starts))
    rows["events"] = np.diff(np.append(starts, len(order)))
    rows["calls"] = _sum(traits.is_call[inside], order, starts)
    rows["tool_calls"] = _sum(traits.is_tool[inside], order, starts)
    rows["errors"] = _sum(traits.is_error[inside], order, starts)
    rows["input_tokens"] = _sum(records["input"], order, starts)
    rows["output_tokens"] = _sum(records["output"], order, starts)
    rows["cache_read_tokens"] = _sum(records["cache_read"], order, starts)
    rows["cache_write_tokens"] = _sum(records["write_5m"].astype(np.int64) + records["write_1h"], order, starts)
    rows["cost_nano"] = _sum(records["cost"], order, starts)
    names = list(map(_text, events.sessions.names))
    models = _models_of(traits.model[inside][order], starts, traits.models)
    return SESSION_DELTA.joined(rows, [names[n] + field for n, field in zip(place[first].tolist(), models, strict=True)])


def _models_of(model: Ints, starts: Ints, names: list[str]) -> list[bytes]:
    """The models that each group names, as a COPY field; number 0 is none. Few groups differ in theirs."""
    group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(model))))
    pairs = distinct(group * len(names) + model)
    ends = np.searchsorted(pairs, (np.arange(len(starts)) + 1) * len(names)).tolist()
    numbers = (pairs % len(names)).tolist()
    fields: dict[tuple[int, ...], bytes] = {}
    out, start = [], 0
    for end in ends:
        own = tuple(numbers[start:end])
        if (field := fields.get(own)) is None:
            field = fields[own] = _text_array([names[number] for number in own if number])
        out.append(field)
        start = end
    return out


def _text_array(values: list[str]) -> bytes:
    """A ``text[]`` as a COPY field: one dimension, no nulls, type 25, from index 1; none where it is empty."""
    head = (1, 0, 25, len(values), 1) if values else (0, 0, 25)
    data = b"".join([*(number.to_bytes(4, "big") for number in head), *map(_text, values)])
    return len(data).to_bytes(4, "big") + data


def _text(value: str) -> bytes:
    """A text as a COPY field."""
    data = value.encode()
    return len(data).to_bytes(4, "big") + data
