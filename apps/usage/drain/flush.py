"""A flush, prepared: inbox rows become new keys, chunks of raw events, rollup deltas, session deltas and summaries.

Everything here is computed before the transaction that writes it, by numpy over all events of the flush at once.
"""

from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from apps.core import clock
from apps.usage.drain.dedupe import DedupeIndex, NewKeys
from apps.usage.drain.dims import Dimensions, OrgEntry
from apps.usage.drain.filter import stripe_at
from apps.usage.drain.keys import id_halves, mix, session_number
from apps.usage.drain.rows import (
    MINUTE_US,
    UNPRICED,
    Events,
    Ints,
    Sessions,
    WhatTraits,
    copied_chunks,
    delta_packs,
    new_chunks,
    session_packs,
)
from apps.usage.drain.summaries import OrgSummary, summaries, unpriced_models
from apps.usage.ingest.frame import NO_SESSION, Frame, unpack
from apps.usage.texts import kept as kept_texts

__all__ = ["Flush", "InboxItem", "prepare", "session_number"]

# Yesterday began 23 hours ago or earlier, even where a day lost an hour; another one is for a flush over midnight.
LATE_US = 22 * 3600 * 1_000_000
# What of a record the rows are made of.
_COLUMNS = (
    "id", "ts", "cost", "reported", "flags", "stop", "input", "output", "cache_read", "write_5m", "write_1h", "web",
    "latency", "request",
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
class Flush:
    """All that one transaction writes."""

    items: list[InboxItem]
    new_keys: NewKeys | None = None
    chunks: bytes = b""
    drop_days: list[int] = field(default_factory=list)
    late_orgs: list[int] = field(default_factory=list)
    deltas: bytes = b""
    session_deltas: bytes = b""
    people: list[tuple[UUID, UUID, str, str]] = field(default_factory=list)
    summaries: list[OrgSummary] = field(default_factory=list)
    unpriced_models: dict[tuple[UUID, str], int] = field(default_factory=dict)
    events: int = 0
    duplicates: int = 0
    unpriced: int = 0
    oldest: datetime | None = None


def prepare(items: list[InboxItem], dims: Dimensions, index: DedupeIndex) -> Flush:
    """Decode, intern, dedupe and sum ``items``. Afterwards the new ids count as seen: write it or end the process."""
    flush = Flush(items, oldest=min(item.received_at for item in items))
    # Organisations side by side: each one's events then are a slice of every column.
    known = dims.orgs({item.org_id for item in items})
    frames = [
        (known[org_id], frame)
        for org_id, own in groupby(sorted(items, key=lambda item: item.org_id.int), key=lambda item: item.org_id)
        for frame in unpack(*(item.frames for item in own))
    ]
    dims.bounds.bound(frames)
    orgs = [org for org, _ in frames]
    records = np.concatenate([frame.records for _, frame in frames])
    fresh, flush.new_keys = _dedupe(frames, records, index)
    events = _gather(frames, records, fresh, dims)
    flush.events = len(events)
    flush.duplicates = len(records) - flush.events
    flush.people = _people(frames)
    if flush.events:
        flush.unpriced = int(((events.columns["flags"] & UNPRICED) != 0).sum())
        types = WhatTraits(dims, events.what)
        if kept := new_chunks(events):
            flush.chunks = copied_chunks(kept)
            flush.drop_days = sorted({chunk.drop_day for chunk in kept})
        flush.deltas = delta_packs(events)
        flush.late_orgs = _late(events)
        flush.session_deltas = session_packs(events, types, dims)
        flush.summaries = summaries(orgs, events, types, dims)
        if flush.unpriced:
            flush.unpriced_models = unpriced_models(orgs, events, types)
    return flush


def _late(events: Events) -> list[int]:
    """The organisations of which an event may lie before their yesterday, in whatever time zone."""
    late = events.columns["ts"] < round(clock.now().timestamp() * 1_000_000) - LATE_US
    return np.unique(events.org[late]).tolist() if late.any() else []


def _dedupe(
    frames: list[tuple[OrgEntry, Frame]], records: npt.NDArray[np.void], index: DedupeIndex
) -> tuple[npt.NDArray[np.bool_], NewKeys]:
    sizes = [frame.header.events for _, frame in frames]
    k1 = np.repeat(np.array([org.k1 for org, _ in frames], dtype=np.uint64), sizes)
    k2 = np.repeat(np.array([org.k2 for org, _ in frames], dtype=np.uint64), sizes)
    hi, lo = mix(*id_halves(records["id"]), k1, k2)
    minute = (records["ts"] // MINUTE_US).astype(np.uint32)
    return index.take(hi, lo, minute, stripe_at(clock.now().timestamp()))


def _gather(
    frames: list[tuple[OrgEntry, Frame]],
    records: npt.NDArray[np.void],
    fresh: npt.NDArray[np.bool_],
    dims: Dimensions,
) -> Events:
    """The columns of what is new, in surrogates."""
    whos = dims.whos([(org, frame.header.whos) for org, frame in frames])
    whats = dims.whats([frame.header.whats for _, frame in frames])
    sessions = Sessions()
    who_parts, what_parts, session_parts, retention_parts, parts = [], [], [], [], []
    start = 0
    for (org, frame), frame_whos, frame_whats in zip(frames, whos, whats, strict=True):
        end = start + frame.header.events
        kept, part = frame.records, fresh[start:end]
        texts = frame.texts
        if not part.all():
            texts, kept = kept_texts(texts, part), kept[part]
        who_parts.append(np.array(frame_whos, dtype=np.int64)[kept["who"]])
        what_parts.append(np.array(frame_whats, dtype=np.int64)[kept["what"]])
        session_parts.append(_session_column(org, frame, kept, sessions))
        retention_parts.append(_retention_column(org, frame, kept))
        parts.append((len(kept), texts))
        start = end
    sizes = [size for size, _ in parts]
    every = bool(fresh.all())
    columns: dict[str, npt.NDArray[Any]] = {
        name: np.ascontiguousarray(records[name]) if every else records[name][fresh] for name in _COLUMNS
    }
    places = np.concatenate(session_parts)
    return Events(
        columns=columns,
        org=np.repeat([org.id for org, _ in frames], sizes),
        who=np.concatenate(who_parts),
        what=np.concatenate(what_parts),
        session=np.array(sessions.numbers, dtype=np.int64)[places],
        session_place=places,
        sessions=sessions,
        retention=np.concatenate(retention_parts),
        parts=parts,
    )


def _retention_column(org: OrgEntry, frame: Frame, records: npt.NDArray[np.void]) -> Ints:
    """For how many days each event is kept raw: as the organisation says, or less where its project does."""
    if not org.project_days:
        return np.full(len(records), org.retention_days, dtype=np.int64)
    days = [org.project_days.get(who[0], org.retention_days) for who in frame.header.whos]
    column: Ints = np.array(days, dtype=np.int64)[records["who"]]
    return column


def _session_column(org: OrgEntry, frame: Frame, records: npt.NDArray[np.void], sessions: Sessions) -> Ints:
    """Each event's session as its place in ``sessions``, 0 for none."""
    if not frame.header.sessions:
        return np.zeros(len(records), dtype=np.int64)
    own = [sessions.place(org.id, session_number(org.salt, name), name) for name in frame.header.sessions]
    places = records["session"].astype(np.int64)
    places[places == NO_SESSION] = len(own)
    column: Ints = np.array([*own, 0], dtype=np.int64)[places]
    return column


def _people(frames: list[tuple[OrgEntry, Frame]]) -> list[tuple[UUID, UUID, str, str]]:
    people = {}
    for org, frame in frames:
        for raw, email, name in frame.header.people:
            people[raw] = (UUID(bytes=raw), org.org_id, email, name)
    return list(people.values())
