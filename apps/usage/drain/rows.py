"""The rows of a flush: chunks of raw events, rollup deltas and session deltas, in COPY form, by numpy."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.core import clock
from apps.usage import chunks
from apps.usage.drain.copybuf import NULL, RowFormat, array_field, arrays, field, pg_micros
from apps.usage.drain.dims import Dimensions
from apps.usage.histogram import ENTRY, buckets_of
from apps.usage.session_parts import MOST_WHOS, TOO_MANY
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
    "delta_packs",
    "distinct",
    "exact_sum",
    "new_chunks",
    "packed",
    "session_packs",
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
# What a pack has a list of, and what each is made of.
_MEASURES = (
    ("events", "i4"), ("input_tokens", "i8"), ("output_tokens", "i8"), ("cache_read_tokens", "i8"),
    ("cache_write_5m_tokens", "i8"), ("cache_write_1h_tokens", "i8"), ("web_searches", "i4"), ("cost_nano", "i8"),
    ("reported_nano", "i8"), ("unpriced", "i4"), ("latency_count", "i4"), ("latency_ms", "i8"),
)  # fmt: skip
DELTA = RowFormat(
    "usage_delta_pack",
    [("minute", "i8"), ("org", "i4"), ("keys", "i4")],
    ["who", "what", *(name for name, _ in _MEASURES), "latency_hist"],
)
# Keys or sessions of one pack: some 400 kB.
MOST_KEYS = 4096
_SESSION_SUMS = (
    ("events", "i4"), ("calls", "i4"), ("tool_calls", "i4"), ("errors", "i4"), ("input_tokens", "i8"),
    ("output_tokens", "i8"), ("cache_read_tokens", "i8"), ("cache_write_tokens", "i8"), ("cost_nano", "i8"),
)  # fmt: skip
SESSION_DELTA = RowFormat(
    "usage_session_delta_pack",
    [("org", "i4"), ("sessions", "i4")],
    ["session", "session_id", "who", "models", "whos", "started_at", "last_at", *(name for name, _ in _SESSION_SUMS)],
)


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
    """The numbers (at least one) that occur, ascending: a thousand in a third of the time of ``np.unique``, or less."""
    low, high = int(numbers.min()), int(numbers.max())
    if high - low < 4 * len(numbers):
        # An organisation's numbers were mostly given one after the other.
        return np.flatnonzero(np.bincount(numbers - low)) + low
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
        words = listed_words(chunk.texts[1])
        fields = (
            _int_array(distinct(chunk.columns["who"])), _int_array(distinct(chunk.columns["what"])),
            NULL if words is None else _int_array(np.array(words, dtype=np.int64)),
            *(NULL if data is None else field(data) for data in chunks.packed(chunk.columns, chunk.texts)),
        )  # fmt: skip
        tails.append(b"".join(fields))
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


def _int_array(values: Ints) -> bytes:
    return arrays("i4", values, [(0, len(values))])[0]


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


def delta_packs(events: Events) -> bytes:
    """Sums by minute, who and what, in COPY form: a row for each organisation's minute."""
    records = events.columns
    minute = records["ts"] // MINUTE_US
    latency = records["latency"].astype(np.int64)
    known = latency >= 0
    columns = {column: records[source] for column, source in TOKENS} | {
        "cost_nano": records["cost"], "reported_nano": records["reported"],
        "unpriced": (records["flags"] & UNPRICED) != 0, "latency_count": known,
        "latency_ms": np.where(known, latency, 0),
    }  # fmt: skip
    huge = _huge(records)
    place = np.cumsum(np.concatenate(([False], events.org[1:] != events.org[:-1])))
    order, starts = _grouped(place, minute, events.who, events.what, *(() if huge is None else (huge,)))
    first = order[starts]
    sums = {name: _sum(column, order, starts) for name, column in columns.items() if column.any()}
    sums["events"] = np.diff(np.append(starts, len(order)))
    return packed(
        minute[first] * MINUTE_US, events.org[first], events.who[first], events.what[first], sums,
        *_histograms(latency, known, order, starts),
    )  # fmt: skip


def packed(
    at: Ints, org: Ints, who: Ints, what: Ints, sums: Mapping[str, Ints], entries: npt.NDArray[np.void], ends: Ints
) -> bytes:
    """Sums by key as packs, in COPY form; keys of one organisation's minute (``at``, µs since 1970) are side by side.

    ``sums`` may lack what is nothing but zeros. ``entries`` are the latency histograms of all keys, one after the
    other, and ``ends`` where each one ends.
    """
    runs = _runs(np.concatenate(([True], (org[1:] != org[:-1]) | (at[1:] != at[:-1]))))
    rows = DELTA.rows(len(runs))
    begins = [begin for begin, _ in runs]
    rows["minute"], rows["org"], rows["keys"] = pg_micros(at[begins]), org[begins], [end - begin for begin, end in runs]
    none = [NULL] * len(runs)
    fields = [arrays("i4", who, runs), arrays("i4", what, runs)]
    fields += [arrays(kind, sums[name], runs) if name in sums else none for name, kind in _MEASURES]
    fields.append(_histogram_arrays(entries, ends, runs) if len(entries) else none)
    return DELTA.joined(rows, [b"".join(row) for row in zip(*fields, strict=True)])


def _runs(begins: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where each pack begins and ends."""
    borders = [*np.flatnonzero(begins).tolist(), len(begins)]
    return [
        (at, min(at + MOST_KEYS, end)) for start, end in pairwise(borders) for at in range(start, end, MOST_KEYS)
    ]  # fmt: skip


def _histogram_arrays(entries: npt.NDArray[np.void], ends: Ints, runs: list[tuple[int, int]]) -> list[bytes]:
    """Each run's histograms as a ``bytea[]``: in front of each one's entries a word for its length in bytes."""
    begins = np.concatenate(([0], ends[:-1]))
    words = np.empty(len(entries) + len(ends), dtype=">u4")
    heads = begins + np.arange(len(ends))
    is_entry = np.ones(len(words), dtype=bool)
    is_entry[heads] = False
    words[heads] = (ends - begins) * ENTRY.itemsize
    words[is_entry] = entries.view(">u4")
    data, places = words.tobytes(), np.append(heads, len(words)).tolist()
    return [
        array_field("bytea", end - start, data[4 * places[start] : 4 * places[end]]) for start, end in runs
    ]  # fmt: skip


# The count of an entry has 16 bits: more than that of a bucket in one flush are several entries.
_MOST_IN_ENTRY = 65_535


def _histograms(
    latency: Ints, known: npt.NDArray[np.bool_], order: Ints, starts: Ints
) -> tuple[npt.NDArray[np.void], Ints]:
    """The entries of all groups' histograms, and where each group's end."""
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
    return entries, np.searchsorted(distinct, (np.arange(len(starts)) + 1) * 4096)


# ---------------------------------------------------------------------------------------------- sessions
_SESSION_COLUMNS = ("ts", "input", "output", "cache_read", "write_5m", "write_1h", "cost")


def _projects(who: Ints, dims: Dimensions) -> Ints:
    """A number for each event's project."""
    used, place = _distinct(who)
    numbers: dict[bytes | None, int] = {}
    codes = [numbers.setdefault(dims.who_keys[number][1], len(numbers)) for number in used.tolist()]
    return np.array(codes, dtype=np.int64)[place]


def session_packs(events: Events, traits: WhatTraits, dims: Dimensions) -> bytes:
    """A delta for each session and project, in COPY form: a row for each organisation."""
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
    columns = {
        "calls": traits.is_call[inside], "tool_calls": traits.is_tool[inside], "errors": traits.is_error[inside],
        "input_tokens": records["input"], "output_tokens": records["output"],
        "cache_read_tokens": records["cache_read"],
        "cache_write_tokens": records["write_5m"].astype(np.int64) + records["write_1h"], "cost_nano": records["cost"],
    }  # fmt: skip
    sums = {name: _sum(column, order, starts) for name, column in columns.items() if column.any()}
    sums["events"] = np.diff(np.append(starts, len(order)))
    orgs = org[first]
    runs = _runs(np.concatenate(([True], orgs[1:] != orgs[:-1])))
    rows = SESSION_DELTA.rows(len(runs))
    rows["org"], rows["sessions"] = orgs[[begin for begin, _ in runs]], [end - begin for begin, end in runs]
    names = [field(events.sessions.names[n].encode()) for n in place[first].tolist()]
    whos = _whos_of(who[order], starts)
    none = [NULL] * len(runs)
    fields = [
        arrays("i8", session[first], runs), _texts(names, runs), arrays("i4", who[first], runs),
        _texts(_models_of(traits.model[inside][order], starts, traits.models), runs),
        none if whos is None else _texts(whos, runs), arrays("ts", pg_micros(np.minimum.reduceat(ts, starts)), runs),
        arrays("ts", pg_micros(np.maximum.reduceat(ts, starts)), runs),
        *(arrays(kind, sums[name], runs) if name in sums else none for name, kind in _SESSION_SUMS),
    ]  # fmt: skip
    return SESSION_DELTA.joined(rows, [b"".join(row) for row in zip(*fields, strict=True)])


def _texts(elements: list[bytes], runs: list[tuple[int, int]]) -> list[bytes]:
    """Each run's elements, which have their lengths, as a ``text[]``."""
    return [array_field("text", end - start, b"".join(elements[start:end])) for start, end in runs]


def _sets(column: Ints, starts: Ints, count: int) -> tuple[Ints, list[tuple[int, int]]]:
    """The distinct numbers below ``count`` of each group, one group after the other, and where each one's lie."""
    group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(column))))
    pairs = distinct(group * count + column)
    ends = np.searchsorted(pairs, (np.arange(len(starts)) + 1) * count).tolist()
    return pairs % count, list(pairwise([0, *ends]))


def _whos_of(who: Ints, starts: Ints) -> list[bytes] | None:
    """The whos of each group as an element of a list of texts, as deltas have them; None where each has one."""
    if (np.minimum.reduceat(who, starts) == np.maximum.reduceat(who, starts)).all():
        return None
    used, place = _distinct(who)
    numbers, runs = _sets(place, starts, len(used))
    texts = [str(number) for number in used[numbers].tolist()]

    def listed(own: list[str]) -> str:
        return "" if len(own) == 1 else TOO_MANY if len(own) > MOST_WHOS else ",".join(own)

    return [field(listed(texts[start:end]).encode()) for start, end in runs]


def _models_of(model: Ints, starts: Ints, names: list[str]) -> list[bytes]:
    """The models that each group names, as an element of a list of texts; number 0 is none. Few groups differ in
    theirs."""
    found, runs = _sets(model, starts, len(names))
    numbers = found.tolist()
    fields: dict[tuple[int, ...], bytes] = {}
    out = []
    for start, end in runs:
        own = tuple(numbers[start:end])
        if (known := fields.get(own)) is None:
            known = fields[own] = field("\x1f".join(names[number] for number in own if number).encode())
        out.append(known)
    return out
