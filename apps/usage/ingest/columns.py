"""From typed events to one frame: checked, attributed and priced column by column.

A batch of a thousand events is some twenty lists and arrays; work per event happens in C wherever it can.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from apps.projects.contracts import KeyContext
from apps.usage.chunks import request_hash
from apps.usage.contracts import EventCore, Rejection
from apps.usage.ingest.attribution import Directory
from apps.usage.ingest.batch import Columns, Ints, Window
from apps.usage.ingest.checks import find_problems, rejections
from apps.usage.ingest.decode import check_strings
from apps.usage.ingest.frame import NO_SESSION, RECORD, VERSION, Header, WhatKey, WhoKey, pack
from apps.usage.ingest.parse import parse_timestamps, parse_uuids
from apps.usage.ingest.rules import Outside, find_outside, treated_metadata
from apps.usage.ingest.single import frame_of_one
from apps.usage.ingest.what import DETAIL, STOP_CODES, STOP_REASONS, UNPRICED, describe
from apps.usage.ingest.who import attribute
from apps.usage.pricing.models_names import canonical_model
from apps.usage.texts import TextColumns, joined

__all__ = [
    "STOP_REASONS",
    "Built",
    "Window",
    "begun_records",
    "build",
    "fill_sessions",
    "fill_texts",
    "framed",
    "repeats",
]


@dataclass(slots=True)
class Built:
    """A frame ready for the inbox; ``frame`` is empty where nothing was accepted.

    ``waste`` is what it was made of: thousands of objects, to be freed when nobody waits for it.
    """

    frame: bytes
    accepted: int
    duplicates: int
    rejected: list[Rejection]
    unpriced: int = 0
    outside: Outside | None = None
    waste: list[object] = field(default_factory=list)


def build(
    events: Sequence[EventCore],
    *,
    key: KeyContext,
    directory: Directory,
    window: Window,
    places: list[int] | None = None,
    check_nul: bool = True,
) -> Built:
    """Check, attribute, price and pack ``events``; what is refused says why, at its place in the batch."""
    rules = key.rules
    if len(events) == 1 and not check_nul and (rules is None or rules.only_tags):
        single = frame_of_one(events[0], key=key, directory=directory, window=window)
        if single is not None:
            return Built(single[0], 1, 0, [], single[1])
    columns = Columns(events)
    ids, bad_ids = parse_uuids(columns["event_id"])
    micros, bad_times = parse_timestamps(columns["timestamp"])
    problems = find_problems(columns, key, window, micros, directory.members)
    for position in bad_times:
        problems[position] = ("invalid_timestamp", "must be RFC 3339 with a time zone", "/timestamp")
    for position in bad_ids:
        problems[position] = ("invalid_id", "must be a UUID", "/event_id")
    if check_nul:
        for position, event in enumerate(events):
            if position not in problems and (found := check_strings(event)):
                problems[position] = found
    outside = find_outside(columns, rules, problems) if rules is not None else None
    kept = [i for i in range(len(events)) if i not in problems] if problems else None
    refused = rejections(events, problems, places)
    firsts = _firsts(ids, kept)
    duplicates = (len(events) if kept is None else len(kept)) - (len(firsts) if firsts is not None else len(events))
    if firsts is not None:
        if not firsts:
            return Built(b"", 0, duplicates, refused, outside=outside)
        columns = Columns([events[i] for i in firsts])
        ids, micros = np.frombuffer(ids, dtype="V16")[firsts].tobytes(), micros[firsts]
    if rules is not None and rules.touches_metadata:
        columns.keep_metadata(treated_metadata(columns.metadata_texts, rules, directory.tag_keys))
    records = begun_records(ids, micros)
    whos, people = attribute(columns, key, directory, records)
    whats = describe(columns, key.org_id, records)
    sessions = fill_sessions(columns, records)
    texts = fill_texts(columns, records)
    built = framed(records, whos, whats, sessions, people, texts)
    built.duplicates, built.rejected, built.outside = duplicates, refused, outside
    built.waste += [events, columns]
    return built


def begun_records(ids: bytes, micros: Ints) -> npt.NDArray[np.void]:
    """Records that have their ids (16 bytes each) and times, and zeroes."""
    records = np.zeros(len(micros), dtype=RECORD)
    records["id"] = np.frombuffer(ids, dtype="V16")
    records["ts"] = micros
    return records


def framed(
    records: npt.NDArray[np.void],
    whos: list[WhoKey],
    whats: list[WhatKey],
    sessions: list[str],
    people: list[tuple[bytes, str, str]],
    texts: TextColumns,
) -> Built:
    """The frame of these records, all of whose events are accepted."""
    header = Header(len(records), whos, whats, sessions, people, VERSION)
    unpriced = int(np.count_nonzero(records["flags"] & UNPRICED))
    return Built(pack(header, records, texts), len(records), 0, [], unpriced)


def repeats(ids: bytes) -> bool:
    """Whether an id may be among these twice; the random halves of two different ones are hardly ever equal."""
    low = np.sort(np.frombuffer(ids, dtype="<u8")[1::2])
    return bool((low[1:] == low[:-1]).any())


def _firsts(ids: bytes, kept: list[int] | None) -> list[int] | None:
    """Positions of the first of equal ids among those kept; None where that is all of them."""
    if kept is None:
        if not repeats(ids):
            return None
        kept = list(range(len(ids) // 16))
    first: dict[bytes, int] = {}
    for position in kept:
        first.setdefault(ids[16 * position : 16 * position + 16], position)
    positions = list(first.values())
    return None if len(positions) * 16 == len(ids) else positions


def fill_sessions(columns: Columns, records: npt.NDArray[np.void]) -> list[str]:
    """Fill ``session``; the batch's distinct session names."""
    if columns.all_none("session_id"):
        records["session"] = NO_SESSION
        return []
    places, index = columns.coded("session_id")
    if None not in places and "" not in places:
        records["session"] = index
        return list(places)
    names = [name for name in places if name]
    number = {name: place for place, name in enumerate(names)}
    records["session"] = np.array([number.get(name, NO_SESSION) for name in places])[index]
    return names


def fill_texts(columns: Columns, records: npt.NDArray[np.void]) -> TextColumns:
    """Request id, detail and metadata of all events; fills the hash of the first and the flag of the second."""
    requests = details = None
    if not columns.all_none("request_id"):
        values = [value.encode() if value else b"" for value in columns["request_id"]]
        records["request"] = [request_hash(value) if value else 0 for value in values]
        requests = joined(values)
    if (found := _details(columns)) is not None:
        details = joined(found)
        records["flags"] |= np.where(details.lengths > 0, DETAIL, 0).astype(np.uint8)
    return requests, details, columns.metadata if columns.metadata.data else None


def _details(columns: Columns) -> list[bytes] | None:
    """What few events have, as JSON: error type, unusual stop reason, web fetches, a name of the model that the
    price book spells otherwise; None where no event has any."""
    models = {m for m in columns.coded("model")[0] if m and canonical_model(m) != m}
    stops = set() if columns.all_none("stop_reason") else set(columns["stop_reason"]) - STOP_CODES.keys()
    if columns.all_none("error_type") and columns.all_none("server_tool_use") and not models and not stops:
        return None
    out: list[bytes] = []
    fields = (columns[name] for name in ("error_type", "stop_reason", "server_tool_use", "model"))
    for error, stop, tool, model in zip(*fields, strict=True):
        detail: dict[str, Any] = {}
        if error:
            detail["error_type"] = error
        if stop in stops:
            detail["stop_reason"] = stop
        if tool is not None and tool.web_fetch_requests:
            detail["web_fetch_requests"] = tool.web_fetch_requests
        if model in models:
            detail["model"] = model
        out.append(msgspec.json.encode(detail) if detail else b"")
    return out
