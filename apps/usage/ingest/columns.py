"""From typed events to one frame: checked, attributed and priced column by column.

A batch of a thousand events is some twenty lists and arrays; work per event happens in C wherever it can.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import repeat
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import numpy.typing as npt

from apps.projects.contracts import KeyContext
from apps.usage.contracts import EventIn, PersonRef, Rejection, TelemetryEvent
from apps.usage.ingest.attribution import Directory
from apps.usage.ingest.decode import MAX_METADATA_BYTES, check_strings
from apps.usage.ingest.frame import NO_SESSION, RECORD, Header, WhatKey, WhoKey, pack
from apps.usage.ingest.parse import parse_timestamps, parse_uuids
from apps.usage.pricing.book import PriceClass, get_book
from apps.usage.pricing.models_names import canonical_model

__all__ = ["Built", "Window", "build"]

Ints = npt.NDArray[np.int64]

DAY_US = 86_400_000_000
STOP_REASONS = (
    "", "end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "model_context_window_exceeded",
)  # fmt: skip
_STOP_CODES: dict[str | None, int] = {reason: code for code, reason in enumerate(STOP_REASONS)} | {None: 0}
PRICED, REPORTED, COST_IS_REPORTED, UNPRICED = 1, 2, 4, 8
_MAX_COST_NANO = 10**18

# Lengths as PostgreSQL's wire wants them, ready made for the usual sizes.
_LENGTH = [n.to_bytes(4, "big") for n in range(MAX_METADATA_BYTES + 1)]
_NULL = b"\xff\xff\xff\xff"


@dataclass(frozen=True, slots=True)
class Window:
    """The accepted timestamps, in microseconds: ``past`` back from and ``future`` ahead of ``received``."""

    received: int
    past: int
    future: int = 300_000_000

    @classmethod
    def of(cls, key: KeyContext, received_at: datetime) -> "Window":
        """7 days back to 5 minutes ahead; 400 days back for a key with the ``backfill`` scope."""
        days = 400 if "backfill" in key.scopes else 7
        return cls(int(received_at.timestamp() * 1_000_000), days * DAY_US)


@dataclass(slots=True)
class Built:
    """A frame ready for the inbox; ``frame`` is empty where nothing was accepted."""

    frame: bytes
    accepted: int
    duplicates: int
    rejected: list[Rejection]
    unpriced: int = 0


def build(
    events: Sequence[EventIn],
    *,
    key: KeyContext,
    directory: Directory,
    window: Window,
    places: list[int] | None = None,
    check_nul: bool = True,
) -> Built:
    """Check, attribute, price and pack ``events``; what is refused says why, at its place in the batch."""
    events, places, ids, micros, rejected = _checked(events, key, window, places, check_nul)
    if not events:
        return Built(b"", 0, 0, rejected)
    events, places, ids, micros, duplicates = _without_repeats(events, places, ids, micros)
    records = np.zeros(len(events), dtype=RECORD)
    records["id"] = np.frombuffer(ids, dtype="V16")
    records["ts"] = micros
    whos, people = _attribute(events, key, directory, records)
    whats = _describe(events, key, records)
    sessions = _sessions(events, records)
    tails = _tails(events, records)
    header = Header(len(events), whos, whats, sessions, people)
    unpriced = int(((records["flags"] & UNPRICED) != 0).sum())
    return Built(pack(header, records, tails), len(events), duplicates, rejected, unpriced)


# ---------------------------------------------------------------------------------------------- checks
def _checked(
    events: Sequence[EventIn], key: KeyContext, window: Window, places: list[int] | None, check_nul: bool
) -> tuple[Sequence[EventIn], list[int] | None, bytes, Ints, list[Rejection]]:
    """The events that may be counted, with their ids and times; the others as rejections."""
    ids, bad_ids = parse_uuids(list(map(_event_id, events)))
    micros, bad_times = parse_timestamps(list(map(_timestamp, events)))
    problems: dict[int, tuple[str, str, str]] = {}
    if micros.min() < window.received - window.past or micros.max() > window.received + window.future:
        _check_window(micros, window, problems)
    for position in bad_times:
        problems[position] = ("invalid_timestamp", "must be RFC 3339 with a time zone", "/timestamp")
    for position in bad_ids:
        problems[position] = ("invalid_id", "must be a UUID", "/event_id")
    _check_owner(list(map(_org_id, events)), key.org_id, "org", problems)
    _check_owner(list(map(_project_id, events)), key.project_id, "project", problems)
    _check_users(list(map(_user_id, events)), problems)
    _check_costs(list(map(_cost, events)), problems)
    _check_metadata(list(map(_metadata, events)), problems)
    if check_nul:
        for position, event in enumerate(events):
            if position not in problems and (found := check_strings(event)):
                problems[position] = found
    if not problems:
        return events, places, ids, micros, []
    where = places if places is not None else range(len(events))
    rejected = [
        Rejection(where[i], events[i].event_id[:100], code, detail, f"/events/{where[i]}{pointer}")
        for i, (code, detail, pointer) in sorted(problems.items())
    ]
    kept = [i for i in range(len(events)) if i not in problems]
    good = [events[i] for i in kept]
    if good:
        ids = np.frombuffer(ids, dtype="V16")[kept].tobytes()
    return good, [where[i] for i in kept], ids, micros[kept], rejected


_event_id = attrgetter("event_id")
_timestamp = attrgetter("timestamp")
_org_id = attrgetter("org_id")
_project_id = attrgetter("project_id")
_user_id = attrgetter("user_id")
_cost = attrgetter("cost_usd")
_metadata = attrgetter("metadata")


def _check_window(micros: Ints, window: Window, problems: dict[int, tuple[str, str, str]]) -> None:
    days = window.past // DAY_US
    for position in np.flatnonzero(micros < window.received - window.past).tolist():
        problems[position] = ("timestamp_too_old", f"must be at most {days} days old", "/timestamp")
    for position in np.flatnonzero(micros > window.received + window.future).tolist():
        problems[position] = ("timestamp_in_future", "must be at most 5 minutes ahead of our clock", "/timestamp")


def _check_owner(values: list[str | None], owner: UUID, name: str, problems: dict[int, tuple[str, str, str]]) -> None:
    """``org_id`` and ``project_id``, where given, must be the key's."""
    given = set(values)
    if given <= {None, str(owner)}:
        return
    verdicts: dict[str | None, tuple[str, str, str] | None] = {None: None}
    for value in given - {None}:
        parsed = _uuid(value)
        if parsed is None:
            verdicts[value] = ("invalid_id", "must be a UUID", f"/{name}_id")
        elif parsed != owner:
            verdicts[value] = (f"foreign_{name}", f"the key belongs to another {name}", f"/{name}_id")
        else:
            verdicts[value] = None
    for position, value in enumerate(values):
        if verdict := verdicts[value]:
            problems[position] = verdict


def _uuid(value: str | None) -> UUID | None:
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError):
        return None


def _check_users(values: list[str | None], problems: dict[int, tuple[str, str, str]]) -> None:
    bad = {value for value in set(values) if value is not None and _uuid(value) is None}
    if bad:
        for position, value in enumerate(values):
            if value in bad:
                problems[position] = ("invalid_id", "must be a UUID or null", "/user_id")


def _check_costs(values: list[Any], problems: dict[int, tuple[str, str, str]]) -> None:
    if values.count(None) == len(values):
        return
    for position, value in enumerate(values):
        if value is None or (type(value) is float and 0 <= value < 1e9):
            continue
        if _nano(value) is None:
            problems[position] = ("invalid_cost", "must be an amount in USD from 0 to 1,000,000,000", "/cost_usd")


def _nano(value: float | int | str) -> int | None:
    """The amount in nano-USD, half-even, or None where it is none."""
    try:
        amount = Decimal(value if isinstance(value, str) else repr(value)) if isinstance(value, str | float) else Decimal(value)
        if not amount.is_finite() or not 0 <= amount <= 10**9:
            return None
        return round(amount * 10**9)
    except (InvalidOperation, ValueError):
        return None


def _check_metadata(values: list[msgspec.Raw], problems: dict[int, tuple[str, str, str]]) -> None:
    for position, value in enumerate(values):
        raw = bytes(value)
        if not raw or (raw[0] == 123 and len(raw) <= MAX_METADATA_BYTES) or raw == b"null":
            continue
        if raw[0] != 123:
            problems[position] = ("invalid_type", "must be an object", "/metadata")
        else:
            problems[position] = ("too_long", f"must have at most {MAX_METADATA_BYTES:,} bytes", "/metadata")


def _without_repeats(
    events: Sequence[EventIn], places: list[int] | None, ids: bytes, micros: Ints
) -> tuple[Sequence[EventIn], list[int] | None, bytes, Ints, int]:
    """Only the first of events that bear the same id."""
    halves = np.frombuffer(ids, dtype=">u8").reshape(-1, 2)
    low = np.sort(halves[:, 1].astype(np.uint64))
    if not (low[1:] == low[:-1]).any():
        return events, places, ids, micros, 0
    whole = [ids[i : i + 16] for i in range(0, len(ids), 16)]
    first: dict[bytes, int] = {}
    for position, event_id in enumerate(whole):
        first.setdefault(event_id, position)
    kept = sorted(first.values())
    if len(kept) == len(events):
        return events, places, ids, micros, 0
    return (
        [events[i] for i in kept],
        None if places is None else [places[i] for i in kept],
        b"".join(whole[i] for i in kept),
        micros[kept],
        len(events) - len(kept),
    )


# ---------------------------------------------------------------------------------------------- who
def _attribute(
    events: Sequence[EventIn], key: KeyContext, directory: Directory, records: npt.NDArray[np.void]
) -> tuple[list[WhoKey], list[tuple[bytes, str, str]]]:
    """Fill ``who``; the batch's distinct (project, team, person, key, tags) and the unclaimed people among them."""
    people: dict[UUID, PersonRef] = {}
    named: list[Any]
    if isinstance(events[0], TelemetryEvent):
        named = [(e.user_id, getattr(e, "user_email", None), getattr(e, "user_name", None)) for e in events]
    else:
        named = list(map(_user_id, events))
    persons: dict[Any, UUID | None] = {}
    for name in set(named):
        persons[name] = _person(name, key, directory, people)
    tags = _tags(events, directory.tag_keys) if directory.tag_keys else None
    whos: dict[tuple[UUID | None, tuple[tuple[str, str], ...] | None], int] = {}
    if tags is None:
        position = {name: whos.setdefault((person, None), len(whos)) for name, person in persons.items()}
        records["who"] = 0 if len(whos) == 1 else list(map(position.__getitem__, named))
    else:
        records["who"] = [
            whos.setdefault((persons[name], tag), len(whos)) for name, tag in zip(named, tags, strict=True)
        ]
    project, key_id = key.project_id.bytes, key.key_id.bytes
    rows: list[WhoKey] = []
    for person, tag in whos:
        team = directory.team_of(person, key)
        rows.append((project, team.bytes if team else None, person.bytes if person else None, key_id, tag))
    return rows, [(ref.id.bytes, ref.email, ref.name) for ref in people.values()]


def _person(name: Any, key: KeyContext, directory: Directory, people: dict[UUID, PersonRef]) -> UUID | None:
    if not isinstance(name, tuple):
        return directory.person_of_user(_uuid(name), key)
    user_id, email, label = name
    if user_id is not None and (member := _uuid(user_id)) in directory.members:
        return member
    person, ref = directory.person_of_telemetry(email, label, key)
    if ref is not None:
        people[ref.id] = ref
    return person


MAX_TAG_VALUE = 200


def _tags(events: Sequence[EventIn], keys: tuple[str, ...]) -> list[tuple[tuple[str, str], ...] | None]:
    """The registered tags in each event's metadata; the same metadata is read once."""
    seen: dict[bytes, tuple[tuple[str, str], ...] | None] = {}
    out = []
    for raw in map(bytes, map(_metadata, events)):
        if raw not in seen:
            data = msgspec.json.decode(raw) if raw else None
            pairs = tuple(
                (k, _tag_text(data[k])) for k in keys if isinstance(data, dict) and data.get(k) not in (None, "")
            )
            seen[raw] = pairs or None
        out.append(seen[raw])
    return out


def _tag_text(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text.replace("\0", "")[:MAX_TAG_VALUE]


# ---------------------------------------------------------------------------------------------- what and how much
_WHAT_FIELDS = (
    "event_type", "model", "service_tier", "inference_geo", "speed", "mcp_server", "mcp_tool", "source", "status",
)  # fmt: skip
_WHAT_GETTERS = [attrgetter(name) for name in _WHAT_FIELDS]


def _codes(columns: list[list[Any]]) -> tuple[list[tuple[Any, ...]], npt.NDArray[np.int64]]:
    """The distinct rows of ``columns`` and each row's place among them; constant columns cost next to nothing."""
    count = len(columns[0])
    varying = [i for i, column in enumerate(columns) if column.count(column[0]) != count]
    constant = [column[0] for column in columns]
    if not varying:
        return [tuple(constant)], np.zeros(count, dtype=np.int64)
    rows: Iterable[Any] = zip(*(columns[i] for i in varying), strict=True)
    places: dict[Any, int] = {}
    index = np.fromiter((places.setdefault(row, len(places)) for row in rows), dtype=np.int64, count=count)
    distinct = []
    for row in places:
        values = list(constant)
        for i, value in zip(varying, row, strict=True):
            values[i] = value
        distinct.append(tuple(values))
    return distinct, index


def _ints(column: list[int | None]) -> Ints:
    if not any(column):
        return np.zeros(len(column), dtype=np.int64)
    try:
        return np.array(column, dtype=np.int64)
    except TypeError:
        return np.array([value or 0 for value in column], dtype=np.int64)


_input = attrgetter("input_tokens")
_output = attrgetter("output_tokens")
_cache_read = attrgetter("cache_read_input_tokens")
_cache_write = attrgetter("cache_creation_input_tokens")
_split = attrgetter("cache_creation")
_server_tools = attrgetter("server_tool_use")
_latency = attrgetter("latency_ms")
_stop = attrgetter("stop_reason")


def _describe(events: Sequence[EventIn], key: KeyContext, records: npt.NDArray[np.void]) -> list[WhatKey]:
    """Fill tokens, cost and ``what``; the batch's distinct :data:`WhatKey` rows."""
    tokens = _tokens(events)
    combos, combo = _codes([list(map(getter, events)) for getter in _WHAT_GETTERS])
    book = get_book()
    models = [canonical_model(row[1]) if row[1] else "" for row in combos]
    total_input = tokens["input"] + tokens["cache_read"] + tokens["cache_write_5m"] + tokens["cache_write_1h"]
    bands, band = _bands(book, models, combo, total_input)
    code = combo * len(bands) + band if len(bands) > 1 else combo
    if len(bands) > 1:
        used, code = np.unique(code, return_inverse=True)
        pairs = [divmod(int(u), len(bands)) for u in used]
    else:
        pairs = [(i, 0) for i in range(len(combos))]
    whats: list[WhatKey] = []
    for row_index, band_index in pairs:
        event_type, _, tier, geo, speed, server, tool, source, status = combos[row_index]
        price_class = PriceClass.of(tier, geo, speed, bands[band_index])
        whats.append(
            (event_type, models[row_index], price_class.service_tier, price_class.batch, price_class.geo,
             price_class.speed, price_class.context_band, server or "", tool or "", source or "", status or "ok")
        )  # fmt: skip
    records["what"] = code
    _price(events, key, records, tokens, whats, code)
    for name, field in (
        ("input", "input"), ("output", "output"), ("cache_read", "cache_read"), ("cache_write_5m", "write_5m"),
        ("cache_write_1h", "write_1h"), ("web_search", "web"),
    ):  # fmt: skip
        records[field] = tokens[name]
    latencies = list(map(_latency, events))
    try:
        records["latency"] = latencies
    except TypeError:
        records["latency"] = [-1 if value is None else value for value in latencies]
    stops = list(map(_stop, events))
    if stops.count(None) != len(stops):
        records["stop"] = [_STOP_CODES.get(value, 0) for value in stops]
    return whats


def _tokens(events: Sequence[EventIn]) -> dict[str, Ints]:
    """Token columns by kind. Cache writes beyond the 5-minute/1-hour split count as 5-minute ones."""
    write_5m = _ints(list(map(_cache_write, events)))
    write_1h = np.zeros(len(events), dtype=np.int64)
    splits = list(map(_split, events))
    if splits.count(None) != len(splits):
        total = write_5m
        short = np.array([s.ephemeral_5m_input_tokens if s else 0 for s in splits], dtype=np.int64)
        write_1h = np.array([s.ephemeral_1h_input_tokens if s else 0 for s in splits], dtype=np.int64)
        write_5m = short + np.maximum(total - short - write_1h, 0)
    tools = list(map(_server_tools, events))
    web = _ints([t.web_search_requests if t else 0 for t in tools]) if tools.count(None) != len(tools) else write_1h * 0
    return {
        "input": _ints(list(map(_input, events))),
        "output": _ints(list(map(_output, events))),
        "cache_read": _ints(list(map(_cache_read, events))),
        "cache_write_5m": write_5m,
        "cache_write_1h": write_1h,
        "web_search": web,
    }


def _price(
    events: Sequence[EventIn],
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
    classes = [PriceClass(*row[2:7]) for row in whats]
    places = code.astype(np.int32)
    nano, priced = get_book().price_columns(
        key.org_id, [row[1] for row in whats], places, classes, places, records["ts"].copy(), tokens
    )
    is_call = np.array([row[0] == "api_call" for row in whats])[code]
    has_model = np.array([row[1] != "" for row in whats])[code]
    spent = np.zeros(len(events), dtype=bool)
    for column in tokens.values():
        spent |= column != 0
    wanted = is_call | (has_model & spent)
    priced = priced & wanted
    costs = list(map(_cost, events))
    reported, has_reported = _reported(costs)
    takes_reported = ~priced & has_reported
    records["cost"] = np.where(priced, nano, np.where(takes_reported, reported, 0))
    records["reported"] = reported
    records["flags"] = (
        priced * PRICED
        + has_reported * REPORTED
        + takes_reported * COST_IS_REPORTED
        + (wanted & ~priced & ~has_reported) * UNPRICED
    )


def _reported(costs: list[Any]) -> tuple[Ints, npt.NDArray[np.bool_]]:
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
    values = [None if cost is None else _nano(cost) for cost in costs]
    return np.array([v or 0 for v in values], dtype=np.int64), np.array([v is not None for v in values])


# ---------------------------------------------------------------------------------------------- the rest
_session_id = attrgetter("session_id")
_request_id = attrgetter("request_id")
_error_type = attrgetter("error_type")


def _sessions(events: Sequence[EventIn], records: npt.NDArray[np.void]) -> list[str]:
    """Fill ``session``; the batch's distinct session names."""
    column = list(map(_session_id, events))
    if column.count(None) == len(column):
        records["session"] = NO_SESSION
        return []
    places: dict[str | None, int] = {}
    for name in column:
        if name and name not in places:
            places[name] = len(places)
    names = [name for name in places if name]
    places[None] = places[""] = NO_SESSION
    records["session"] = list(map(places.__getitem__, column))
    return names


def _tails(events: Sequence[EventIn], records: npt.NDArray[np.void]) -> bytes:
    """Fill ``tail`` (lengths); request id, detail and metadata of all events in binary COPY form."""
    requests = [r.encode() if r else None for r in map(_request_id, events)]
    details = _details(events)
    metadata = [bytes(raw) for raw in map(_metadata, events)]
    parts: list[bytes] = []
    add = parts.append
    for request, detail, meta in zip(requests, details, metadata, strict=True):
        head = _LENGTH[len(request)] + request if request is not None else _NULL
        middle = _LENGTH[len(detail)] + detail if detail is not None else _NULL
        if len(meta) > 4 or (meta and meta != b"null"):
            add(head + middle + _LENGTH[len(meta)] + meta)
        else:
            add(head + middle + _NULL)
    records["tail"] = list(map(len, parts))
    return b"".join(parts)


def _details(events: Sequence[EventIn]) -> Iterable[bytes | None]:
    """What few events have, as JSON: error type, unusual stop reason, web fetches, a name of the model that the
    price book spells otherwise."""
    count = len(events)
    errors = list(map(_error_type, events))
    stops = list(map(_stop, events))
    tools = list(map(_server_tools, events))
    models = list(map(_WHAT_GETTERS[1], events))
    aliased = {m for m in set(models) if m and canonical_model(m) != m}
    odd_stops = {s for s in set(stops) if s not in _STOP_CODES}
    if errors.count(None) == count and tools.count(None) == count and not aliased and not odd_stops:
        return repeat(None, count)
    out: list[bytes | None] = []
    for error, stop, tool, model in zip(errors, stops, tools, models, strict=True):
        detail: dict[str, Any] = {}
        if error:
            detail["error_type"] = error
        if stop in odd_stops:
            detail["stop_reason"] = stop
        if tool is not None and tool.web_fetch_requests:
            detail["web_fetch_requests"] = tool.web_fetch_requests
        if model in aliased:
            detail["model"] = model
        out.append(msgspec.json.encode(detail) if detail else None)
    return out


def _bands(
    book: Any, models: list[str], combo: Ints, total_input: Ints
) -> tuple[list[str], Ints]:
    """The context bands that occur and each event's place among them."""
    return [""], combo
