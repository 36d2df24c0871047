"""A flush, prepared: inbox rows become new keys, raw rows, rollup deltas, session deltas and summaries.

Everything here is computed before the transaction that writes it, by numpy over all events of the flush at once.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from apps.core import clock
from apps.usage.drain.copybuf import RowFormat, pg_micros
from apps.usage.drain.dedupe import DedupeIndex, NewKeys
from apps.usage.drain.dims import Dimensions, OrgEntry
from apps.usage.drain.filter import stripe_at
from apps.usage.drain.keys import id_halves, mix
from apps.usage.histogram import ENTRY, buckets_of
from apps.usage.ingest.frame import NO_SESSION, RECORD, Frame, unpack

__all__ = ["DELTA", "RAW", "SESSION_DELTA", "Flush", "InboxItem", "OrgSummary", "prepare"]

Ints = npt.NDArray[np.int64]
DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
_DAYS_TO_2000 = 10_957
UNPRICED = 8

_TOKENS = (
    ("input_tokens", "input"), ("output_tokens", "output"), ("cache_read_tokens", "cache_read"),
    ("cache_write_5m_tokens", "write_5m"), ("cache_write_1h_tokens", "write_1h"), ("web_searches", "web"),
)  # fmt: skip
RAW = RowFormat(
    "usage_event",
    [
        ("ts", "i8"), ("cost_nano", "i8"), ("reported_nano", "i8"), ("session", "i8"), ("event_id", "uuid"),
        ("drop_on", "i4"), ("org", "i4"), ("who", "i4"), ("what", "i4"), *((name, "i4") for name, _ in _TOKENS),
        ("latency_ms", "i4"), ("flags", "i2"), ("stop_reason", "i2"),
    ],
    ["request_id", "detail", "metadata"],
)  # fmt: skip
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
    ["session_id", "model"],
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class InboxItem:
    """An inbox row as taken."""

    id: int
    slot: int
    org_id: UUID
    received_at: datetime
    events: int
    frames: bytes


@dataclass(slots=True)
class OrgSummary:
    """What a flush counted for one organisation; the data of ``usage.batch_ingested``."""

    org_id: UUID
    data: dict[str, Any]


@dataclass(slots=True)
class Flush:
    """All that one transaction writes."""

    items: list[InboxItem]
    new_keys: NewKeys | None = None
    raw: bytes = b""
    raw_days: list[int] = field(default_factory=list)
    deltas: bytes = b""
    session_deltas: bytes = b""
    people: list[tuple[UUID, UUID, str, str]] = field(default_factory=list)
    summaries: list[OrgSummary] = field(default_factory=list)
    unpriced_models: dict[tuple[UUID, str], int] = field(default_factory=dict)
    events: int = 0
    duplicates: int = 0
    unpriced: int = 0
    oldest: datetime | None = None


@dataclass(slots=True)
class _Events:
    """The columns of all new events of a flush."""

    records: npt.NDArray[np.void]
    org: Ints
    who: Ints
    what: Ints
    session: Ints
    retention: Ints
    tails: list[memoryview]


def prepare(items: list[InboxItem], dims: Dimensions, index: DedupeIndex) -> Flush:
    """Decode, intern, dedupe and sum ``items``. Afterwards the new ids count as seen: write it or end the process."""
    flush = Flush(items, oldest=min(item.received_at for item in items))
    # Organisations side by side: their rows then lie together in the table and its index.
    frames = [
        (dims.org(item.org_id), frame)
        for item in sorted(items, key=lambda item: item.org_id.int)
        for frame in unpack(item.frames)
    ]
    events, names = _gather(frames, dims)
    fresh, flush.new_keys = _dedupe(frames, events, index)
    total = len(fresh)
    if not fresh.all():
        events = _kept(events, fresh)
    flush.events = len(events.records)
    flush.duplicates = total - flush.events
    flush.unpriced = int(((events.records["flags"] & UNPRICED) != 0).sum())
    flush.people = _people(frames)
    if flush.events:
        types = _WhatTraits(dims, events.what)
        _raw_rows(events, flush)
        flush.deltas = _delta_rows(events)
        flush.session_deltas = _session_rows(events, types, names, dims)
        flush.summaries = _summaries(frames, events, types, dims)
        if flush.unpriced:
            flush.unpriced_models = _unpriced_models(frames, events, types)
    return flush


def _gather(frames: list[tuple[OrgEntry, Frame]], dims: Dimensions) -> tuple[_Events, dict[tuple[int, int], str]]:
    """One set of columns out of all frames, in surrogates; and the names of sessions by (org, hash)."""
    whos = dims.whos([(org, frame.header.whos) for org, frame in frames])
    whats = dims.whats([frame.header.whats for _, frame in frames])
    sizes = [frame.header.events for _, frame in frames]
    names: dict[tuple[int, int], str] = {}
    who_parts, what_parts, session_parts, tails = [], [], [], []
    for (org, frame), frame_whos, frame_whats in zip(frames, whos, whats, strict=True):
        records = frame.records
        who_parts.append(np.array(frame_whos, dtype=np.int64)[records["who"]])
        what_parts.append(np.array(frame_whats, dtype=np.int64)[records["what"]])
        session_parts.append(_session_column(org, frame, names))
        ends = np.cumsum(records["tail"]).tolist()
        view = frame.tails
        start = 0
        for end in ends:
            tails.append(view[start:end])
            start = end
    events = _Events(
        records=np.concatenate([frame.records for _, frame in frames]),
        org=np.repeat([org.id for org, _ in frames], sizes),
        who=np.concatenate(who_parts),
        what=np.concatenate(what_parts),
        session=np.concatenate(session_parts),
        retention=np.repeat([org.retention_days for org, _ in frames], sizes),
        tails=tails,
    )
    return events, names


def _session_column(org: OrgEntry, frame: Frame, names: dict[tuple[int, int], str]) -> Ints:
    """Each event's session as a number, 0 for none."""
    if not frame.header.sessions:
        return np.zeros(frame.header.events, dtype=np.int64)
    numbers = []
    for name in frame.header.sessions:
        number = session_number(org.salt, name)
        names[(org.id, number)] = name
        numbers.append(number)
    places = frame.records["session"].astype(np.int64)
    places[places == NO_SESSION] = len(numbers)
    column: Ints = np.array([*numbers, 0], dtype=np.int64)[places]
    return column


def session_number(salt: bytes, name: str) -> int:
    """The 63-bit number of a session's name within its organisation; never 0."""
    digest = hashlib.blake2b(name.encode(), digest_size=8, key=salt).digest()
    return int.from_bytes(digest, "big") >> 1 or 1


def _dedupe(
    frames: list[tuple[OrgEntry, Frame]], events: _Events, index: DedupeIndex
) -> tuple[npt.NDArray[np.bool_], NewKeys]:
    sizes = [frame.header.events for _, frame in frames]
    k1 = np.repeat(np.array([org.k1 for org, _ in frames], dtype=np.uint64), sizes)
    k2 = np.repeat(np.array([org.k2 for org, _ in frames], dtype=np.uint64), sizes)
    hi, lo = mix(*id_halves(events.records["id"]), k1, k2)
    minute = (events.records["ts"] // MINUTE_US).astype(np.uint32)
    return index.take(hi, lo, minute, stripe_at(clock.now().timestamp()))


def _kept(events: _Events, fresh: npt.NDArray[np.bool_]) -> _Events:
    where = np.flatnonzero(fresh).tolist()
    return _Events(
        events.records[fresh], events.org[fresh], events.who[fresh], events.what[fresh], events.session[fresh],
        events.retention[fresh], [events.tails[i] for i in where],
    )  # fmt: skip


def _people(frames: list[tuple[OrgEntry, Frame]]) -> list[tuple[UUID, UUID, str, str]]:
    people = {}
    for org, frame in frames:
        for raw, email, name in frame.header.people:
            people[raw] = (UUID(bytes=raw), org.org_id, email, name)
    return list(people.values())


class _WhatTraits:
    """What the sums need to know of each event's ``what``: its type, status and model."""

    def __init__(self, dims: Dimensions, what: Ints) -> None:
        self.used, self.place = np.unique(what, return_inverse=True)
        self.keys = [dims.what_keys[number] for number in self.used.tolist()]
        self.is_call = np.array([key[0] == "api_call" for key in self.keys])[self.place]
        self.is_tool = np.array([key[0] == "mcp_tool" for key in self.keys])[self.place]
        self.is_error = np.array([key[10] == "error" for key in self.keys])[self.place]
        self.models = sorted({key[1] for key in self.keys if key[0] == "api_call"} | {""})
        numbers = {model: number for number, model in enumerate(self.models)}
        self.model = np.array([numbers[key[1] if key[0] == "api_call" else ""] for key in self.keys])[self.place]


# ---------------------------------------------------------------------------------------------- raw rows
def _raw_rows(events: _Events, flush: Flush) -> None:
    """The rows that the organisation's retention keeps; older ones are counted in the rollups alone."""
    records = events.records
    days = records["ts"] // DAY_US + events.retention + 1
    today = int(clock.now().timestamp()) // 86_400
    keep = days > today
    tails: Sequence[memoryview] = events.tails
    if not keep.all():
        where = np.flatnonzero(keep)
        events = _kept(events, keep)
        records, days, tails = events.records, days[where], events.tails
    if not len(records):
        return
    rows = RAW.rows(len(records))
    rows["ts"] = pg_micros(records["ts"])
    rows["cost_nano"], rows["reported_nano"] = records["cost"], records["reported"]
    rows["session"], rows["event_id"] = events.session, records["id"]
    rows["drop_on"] = days - _DAYS_TO_2000
    rows["org"], rows["who"], rows["what"] = events.org, events.who, events.what
    for column, source in _TOKENS:
        rows[column] = records[source]
    rows["latency_ms"], rows["flags"], rows["stop_reason"] = records["latency"], records["flags"], records["stop"]
    flush.raw = RAW.joined(rows, tails)
    flush.raw_days = np.unique(days).tolist()


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
    order = np.argsort(code, kind="stable")
    ordered = code[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return order, starts


def _sum(column: npt.NDArray[Any], order: Ints, starts: Ints) -> Ints:
    result: Ints = np.add.reduceat(column[order].astype(np.int64), starts)
    return result


def _delta_rows(events: _Events) -> bytes:
    records = events.records
    minute = records["ts"] // MINUTE_US
    order, starts = _grouped(minute, events.who, events.what)
    first = order[starts]
    rows = DELTA.rows(len(starts))
    rows["minute"] = pg_micros(minute[first] * MINUTE_US)
    rows["org"], rows["who"], rows["what"] = events.org[first], events.who[first], events.what[first]
    rows["events"] = np.diff(np.append(starts, len(order)))
    for column, source in _TOKENS:
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


def _histograms(latency: Ints, known: npt.NDArray[np.bool_], order: Ints, starts: Ints) -> list[bytes]:
    """Each group's histogram as a COPY field."""
    group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(order))))
    ordered_known = known[order]
    codes = np.sort(group[ordered_known] * 4096 + buckets_of(latency[order][ordered_known]).astype(np.int64))
    begins = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1]))) if len(codes) else np.zeros(0, np.int64)
    distinct = codes[begins]
    entries = np.zeros(len(distinct), dtype=ENTRY)
    entries["bucket"] = distinct & 4095
    entries["count"] = np.diff(np.append(begins, len(codes)))
    data = entries.tobytes()
    ends = np.searchsorted(distinct, (np.arange(len(starts)) + 1) * 4096) * ENTRY.itemsize
    out, start = [], 0
    for end in ends.tolist():
        out.append((end - start).to_bytes(4, "big") + data[start:end])
        start = end
    return out


# ---------------------------------------------------------------------------------------------- sessions
def _session_rows(events: _Events, traits: _WhatTraits, names: dict[tuple[int, int], str], dims: Dimensions) -> bytes:
    inside = np.flatnonzero(events.session)
    if not len(inside):
        return b""
    records, org, session = events.records[inside], events.org[inside], events.session[inside]
    model = traits.model[inside]
    _, place = np.unique(session, return_inverse=True)
    order, starts = _grouped(org, place, model)
    first = order[starts]
    ts = records["ts"][order]
    rows = SESSION_DELTA.rows(len(starts))
    rows["session"], rows["org"], rows["who"] = session[first], org[first], events.who[inside][first]
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
    tails = []
    for number, owner, which in zip(session[first].tolist(), org[first].tolist(), model[first].tolist(), strict=True):
        name, model_name = names[(owner, number)].encode(), traits.models[which].encode()
        tails.append(len(name).to_bytes(4, "big") + name + len(model_name).to_bytes(4, "big") + model_name)
    return SESSION_DELTA.joined(rows, tails)


# ---------------------------------------------------------------------------------------------- summaries
MAX_NAMED = 100


def _summaries(
    frames: list[tuple[OrgEntry, Frame]], events: _Events, traits: _WhatTraits, dims: Dimensions
) -> list[OrgSummary]:
    """What each organisation's part of the flush adds up to. Frames lie by organisation, so its events are a slice."""
    out = []
    entries = {org.id: org for org, _ in frames}
    records = events.records
    borders = np.flatnonzero(np.concatenate(([True], events.org[1:] != events.org[:-1], [True])))
    for start, end in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        part = slice(start, end)
        minutes = np.unique(records["ts"][part] // MINUTE_US)
        whats = [traits.keys[i] for i in np.unique(traits.place[part]).tolist()]
        whos = [dims.who_keys[i] for i in np.unique(events.who[part]).tolist()]
        org = entries[int(events.org[start])]
        unpriced = (records["flags"][part] & UNPRICED) != 0
        cost = int(records["cost"][part].sum())
        data = {
            "events": end - start,
            "calls": int(traits.is_call[part].sum()),
            "tool_calls": int(traits.is_tool[part].sum()),
            "errors": int(traits.is_error[part].sum()),
            "input_tokens": int(records["input"][part].sum(dtype=np.int64)),
            "output_tokens": int(records["output"][part].sum(dtype=np.int64)),
            "cache_read_tokens": int(records["cache_read"][part].sum(dtype=np.int64)),
            "cache_creation_tokens": int(
                records["write_5m"][part].sum(dtype=np.int64) + records["write_1h"][part].sum(dtype=np.int64)
            ),
            "cost_usd": f"{cost // 10**9}.{cost % 10**9:09d}",
            "unpriced": int(unpriced.sum()),
            "minutes": [_iso_minute(minute) for minute in minutes[-MAX_NAMED:].tolist()],
            "models": _named(key[1] for key in whats),
            "event_types": _named(key[0] for key in whats),
            "mcp_servers": _named(key[7] for key in whats),
            "sources": _named(key[9] for key in whats),
            "projects": _ids(row[1] for row in whos),
            "teams": _ids(row[2] for row in whos),
            "people": _ids(row[3] for row in whos),
            "keys": _ids(row[4] for row in whos),
        }
        out.append(OrgSummary(org.org_id, data))
    return out


def _unpriced_models(
    frames: list[tuple[OrgEntry, Frame]], events: _Events, traits: _WhatTraits
) -> dict[tuple[UUID, str], int]:
    """How many events of which model had no price, by organisation."""
    owners = {org.id: org.org_id for org, _ in frames}
    where = np.flatnonzero((events.records["flags"] & UNPRICED) != 0)
    pairs, counts = np.unique(np.stack((events.org[where], traits.place[where]), axis=1), axis=0, return_counts=True)
    found: dict[tuple[UUID, str], int] = {}
    for (org, place), count in zip(pairs.tolist(), counts.tolist(), strict=True):
        key = (owners[org], traits.keys[place][1])
        found[key] = found.get(key, 0) + count
    return found


def _iso_minute(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, tz=clock.now().tzinfo).strftime("%Y-%m-%dT%H:%M:00Z")


def _named(values: Any) -> list[str]:
    return sorted({value for value in values if value})[:MAX_NAMED]


def _ids(values: Any) -> list[str]:
    return sorted(str(UUID(bytes=value)) for value in {value for value in values if value})[:MAX_NAMED]


assert RECORD.itemsize == 80
