"""From typed events to one frame: checked, attributed and priced column by column.

A batch of a thousand events is some twenty lists and arrays; work per event happens in C wherever it can.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import chain, repeat
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.structs import astuple

from apps.projects.contracts import KeyContext
from apps.usage.contracts import EventIn, PersonRef, Rejection, TelemetryEvent
from apps.usage.ingest.attribution import Directory
from apps.usage.ingest.decode import MAX_METADATA_BYTES, check_strings
from apps.usage.ingest.frame import NO_SESSION, RECORD, Header, WhatKey, WhoKey, pack
from apps.usage.ingest.parse import parse_timestamps, parse_uuid, parse_uuids
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
_LENGTH[0] = _NULL

# Total input above which a price may be another, largest last, and the name of what lies above.
CONTEXT_BANDS = ((100_000, ">100k"), (200_000, ">200k"))


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


class Columns:
    """The fields of a batch, each as one sequence; read by name."""

    __slots__ = ("_by_name", "count", "metadata", "objects_only", "telemetry")

    def __init__(self, events: Sequence[EventIn]) -> None:
        self.count = len(events)
        # One tuple an event and one transposition: cheaper than a loop for each of 27 fields.
        self._by_name = dict(zip(events[0].__struct_fields__, zip(*map(astuple, events), strict=True), strict=True))
        self.telemetry = isinstance(events[0], TelemetryEvent)
        # JSON holds no NUL byte, so one separates the values; b"" is no metadata.
        joined = b"\0".join((b"", *self._by_name["metadata"]))
        self.metadata = joined.split(b"\0")[1:]
        # The usual batches are known without a look at each value: objects everywhere, or none at all.
        self.objects_only = joined.count(b"\0{") == self.count or not joined.strip(b"\0")
        if not self.objects_only:
            self.metadata = [b"" if value == b"null" else value for value in self.metadata]

    def __getitem__(self, name: str) -> tuple[Any, ...]:
        return self._by_name[name]

    def all_none(self, name: str) -> bool:
        """Whether no event has the field."""
        return self._by_name[name].count(None) == self.count


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
    columns = Columns(events)
    ids, bad_ids = parse_uuids(columns["event_id"])
    micros, bad_times = parse_timestamps(columns["timestamp"])
    problems = _problems(columns, key, window, micros)
    for position in bad_times:
        problems[position] = ("invalid_timestamp", "must be RFC 3339 with a time zone", "/timestamp")
    for position in bad_ids:
        problems[position] = ("invalid_id", "must be a UUID", "/event_id")
    if check_nul:
        for position, event in enumerate(events):
            if position not in problems and (found := check_strings(event)):
                problems[position] = found
    kept = [i for i in range(len(events)) if i not in problems] if problems else None
    rejected = _rejections(events, problems, places)
    firsts = _firsts(ids, kept)
    duplicates = (len(events) if kept is None else len(kept)) - (len(firsts) if firsts is not None else len(events))
    if firsts is not None:
        if not firsts:
            return Built(b"", 0, duplicates, rejected)
        columns = Columns([events[i] for i in firsts])
        ids, micros = np.frombuffer(ids, dtype="V16")[firsts].tobytes(), micros[firsts]
    records = np.zeros(columns.count, dtype=RECORD)
    records["id"] = np.frombuffer(ids, dtype="V16")
    records["ts"] = micros
    whos, people = _attribute(columns, key, directory, records)
    whats = _describe(columns, key, records)
    sessions = _sessions(columns["session_id"], records)
    tails = _tails(columns, records)
    header = Header(columns.count, whos, whats, sessions, people)
    unpriced = int(((records["flags"] & UNPRICED) != 0).sum())
    return Built(pack(header, records, tails), columns.count, duplicates, rejected, unpriced)


# ---------------------------------------------------------------------------------------------- checks
Problems = dict[int, tuple[str, str, str]]


def _problems(columns: Columns, key: KeyContext, window: Window, micros: Ints) -> Problems:
    """Code, sentence and pointer of what may not be counted, by position."""
    problems: Problems = {}
    if micros.min() < window.received - window.past or micros.max() > window.received + window.future:
        _check_window(micros, window, problems)
    _check_owner(columns["org_id"], key.org_id, "org", problems)
    _check_owner(columns["project_id"], key.project_id, "project", problems)
    _check_users(columns["user_id"], problems)
    if not columns.all_none("cost_usd"):
        _check_costs(columns["cost_usd"], problems)
    _check_metadata(columns, problems)
    return problems


def _rejections(events: Sequence[EventIn], problems: Problems, places: list[int] | None) -> list[Rejection]:
    where = places if places is not None else range(len(events))
    return [
        Rejection(where[i], events[i].event_id[:100], code, detail, f"/events/{where[i]}{pointer}")
        for i, (code, detail, pointer) in sorted(problems.items())
    ]


def _firsts(ids: bytes, kept: list[int] | None) -> list[int] | None:
    """Positions of the first of equal ids among those kept; None where that is all of them."""
    if kept is None:
        low = np.sort(np.frombuffer(ids, dtype="<u8")[1::2])
        if not (low[1:] == low[:-1]).any():
            return None
        kept = list(range(len(ids) // 16))
    first: dict[bytes, int] = {}
    for position in kept:
        first.setdefault(ids[16 * position : 16 * position + 16], position)
    positions = list(first.values())
    return None if len(positions) * 16 == len(ids) else positions


def _check_window(micros: Ints, window: Window, problems: Problems) -> None:
    days = window.past // DAY_US
    for position in np.flatnonzero(micros < window.received - window.past).tolist():
        problems[position] = ("timestamp_too_old", f"must be at most {days} days old", "/timestamp")
    for position in np.flatnonzero(micros > window.received + window.future).tolist():
        problems[position] = ("timestamp_in_future", "must be at most 5 minutes ahead of our clock", "/timestamp")


def _check_owner(values: tuple[str | None, ...], owner: UUID, name: str, problems: Problems) -> None:
    """``org_id`` and ``project_id``, where given, must be the key's."""
    if values.count(str(owner)) + values.count(None) == len(values):
        return
    given = set(values)
    verdicts: dict[str | None, tuple[str, str, str] | None] = {None: None}
    for value in given - {None}:
        parsed = parse_uuid(value)
        if parsed is None:
            verdicts[value] = ("invalid_id", "must be a UUID", f"/{name}_id")
        elif parsed != owner:
            verdicts[value] = (f"foreign_{name}", f"the key belongs to another {name}", f"/{name}_id")
        else:
            verdicts[value] = None
    for position, value in enumerate(values):
        if verdict := verdicts[value]:
            problems[position] = verdict


def _check_users(values: tuple[str | None, ...], problems: Problems) -> None:
    bad = {value for value in set(values) if value is not None and parse_uuid(value) is None}
    if bad:
        for position, value in enumerate(values):
            if value in bad:
                problems[position] = ("invalid_id", "must be a UUID or null", "/user_id")


def _check_costs(values: tuple[Any, ...], problems: Problems) -> None:
    for position, value in enumerate(values):
        if value is None or (type(value) is float and 0 <= value < 1e9):
            continue
        if _nano(value) is None:
            problems[position] = ("invalid_cost", "must be an amount in USD from 0 to 1,000,000,000", "/cost_usd")


def _nano(value: float | int | str) -> int | None:
    """The amount in nano-USD, half-even, or None where it is none."""
    try:
        amount = (
            Decimal(value if isinstance(value, str) else repr(value))
            if isinstance(value, str | float)
            else Decimal(value)
        )
        if not amount.is_finite() or not 0 <= amount <= 10**9:
            return None
        return round(amount * 10**9)
    except (InvalidOperation, ValueError):
        return None


def _check_metadata(columns: Columns, problems: Problems) -> None:
    """Objects of a bounded size; ``123`` is an opening brace."""
    if columns.objects_only and max(map(len, columns.metadata)) <= MAX_METADATA_BYTES:
        return
    for position, value in enumerate(columns.metadata):
        if value and value[0] != 123:
            problems[position] = ("invalid_type", "must be an object", "/metadata")
        elif len(value) > MAX_METADATA_BYTES:
            problems[position] = ("too_long", f"must have at most {MAX_METADATA_BYTES:,} bytes", "/metadata")


# ---------------------------------------------------------------------------------------------- who
def _attribute(
    columns: Columns, key: KeyContext, directory: Directory, records: npt.NDArray[np.void]
) -> tuple[list[WhoKey], list[tuple[bytes, str, str]]]:
    """Fill ``who``; the batch's distinct (project, team, person, key, tags) and the unclaimed people among them."""
    people: dict[UUID, PersonRef] = {}
    named: Sequence[Any] = columns["user_id"]
    if columns.telemetry:
        named = list(zip(named, columns["user_email"], columns["user_name"], strict=True))
    persons = {name: _person(name, key, directory, people) for name in set(named)}
    tags = _tags(columns.metadata, directory.tag_keys) if directory.tag_keys else None
    whos: dict[tuple[UUID | None, Tags], int] = {}
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
        return directory.person_of_user(parse_uuid(name), key)
    user_id, email, label = name
    if user_id is not None and (member := parse_uuid(user_id)) in directory.members:
        return member
    person, ref = directory.person_of_telemetry(email, label, key)
    if ref is not None:
        people[ref.id] = ref
    return person


MAX_TAG_VALUE = 200
Tags = tuple[tuple[str, str], ...] | None


def _tags(metadata: list[bytes], keys: tuple[str, ...]) -> list[Tags]:
    """The registered tags in each event's metadata; the same metadata is read once."""
    seen: dict[bytes, Tags] = {b"": None}
    for raw in metadata:
        if raw not in seen:
            data = msgspec.json.decode(raw)
            seen[raw] = tuple((k, _tag_text(data[k])) for k in keys if data.get(k) not in (None, "")) or None
    return [seen[raw] for raw in metadata]


def _tag_text(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text.replace("\0", "")[:MAX_TAG_VALUE]


# ---------------------------------------------------------------------------------------------- what and how much
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


def _ints(column: Sequence[int | None]) -> Ints:
    if not any(column):
        return np.zeros(len(column), dtype=np.int64)
    try:
        return np.fromiter(column, dtype=np.int64, count=len(column))
    except TypeError:
        return np.array([value or 0 for value in column], dtype=np.int64)


def _describe(columns: Columns, key: KeyContext, records: npt.NDArray[np.void]) -> list[WhatKey]:
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
        records["stop"] = [_STOP_CODES.get(value, 0) for value in columns["stop_reason"]]
    return whats


def _tokens(columns: Columns) -> dict[str, Ints]:
    """Token columns by kind. Cache writes beyond the 5-minute/1-hour split count as 5-minute ones."""
    write_5m = _ints(columns["cache_creation_input_tokens"])
    write_1h = web = np.zeros(columns.count, dtype=np.int64)
    if not columns.all_none("cache_creation"):
        splits = columns["cache_creation"]
        short = _ints([s.ephemeral_5m_input_tokens if s else 0 for s in splits])
        write_1h = _ints([s.ephemeral_1h_input_tokens if s else 0 for s in splits])
        write_5m = short + np.maximum(write_5m - short - write_1h, 0)
    if not columns.all_none("server_tool_use"):
        web = _ints([tool.web_search_requests if tool else 0 for tool in columns["server_tool_use"]])
    return {
        "input": _ints(columns["input_tokens"]),
        "output": _ints(columns["output_tokens"]),
        "cache_read": _ints(columns["cache_read_input_tokens"]),
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
    classes = [PriceClass(*row[2:7]) for row in whats]
    places = code.astype(np.int32)
    nano, priced = get_book().price_columns(
        key.org_id, [row[1] for row in whats], places, classes, places, records["ts"].copy(), tokens
    )
    is_call = np.array([row[0] == "api_call" for row in whats])[code]
    has_model = np.array([row[1] != "" for row in whats])[code]
    spent = np.zeros(len(code), dtype=bool)
    for column in tokens.values():
        spent |= column != 0
    wanted = is_call | (has_model & spent)
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
    values = [None if cost is None else _nano(cost) for cost in costs]
    return np.array([v or 0 for v in values], dtype=np.int64), np.array([v is not None for v in values])


# ---------------------------------------------------------------------------------------------- the rest
def _sessions(column: tuple[str | None, ...], records: npt.NDArray[np.void]) -> list[str]:
    """Fill ``session``; the batch's distinct session names."""
    names = [name for name in dict.fromkeys(column) if name]
    if not names:
        records["session"] = NO_SESSION
        return []
    places: dict[str | None, int] = {name: place for place, name in enumerate(names)}
    places[None] = places[""] = NO_SESSION
    records["session"] = np.fromiter(map(places.__getitem__, column), dtype=np.uint16, count=len(column))
    return names


def _tails(columns: Columns, records: npt.NDArray[np.void]) -> bytes:
    """Fill ``tail`` (lengths); request id, detail and metadata of all events in binary COPY form: length, bytes.

    Nothing is null there: a length of -1 and no bytes.
    """
    parts: list[Iterable[bytes]] = []
    lengths = np.full(columns.count, 12, dtype=np.int64)
    details = _details(columns)
    requests = None if columns.all_none("request_id") else [r.encode() if r else b"" for r in columns["request_id"]]
    for column in (requests, details, columns.metadata):
        if column is None:
            parts.append(repeat(_NULL, columns.count))
        else:
            sizes = list(map(len, column))
            lengths += np.fromiter(sizes, dtype=np.int64, count=columns.count)
            parts += (map(_LENGTH.__getitem__, sizes), column)
    records["tail"] = lengths
    return b"".join(chain.from_iterable(zip(*parts, strict=True)))


def _details(columns: Columns) -> list[bytes] | None:
    """What few events have, as JSON: error type, unusual stop reason, web fetches, a name of the model that the
    price book spells otherwise; None where no event has any."""
    models = {m for m in set(columns["model"]) if m and canonical_model(m) != m}
    stops = set(columns["stop_reason"]) - _STOP_CODES.keys()
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
