"""Which events of chunks a search matches: by their columns, then by their times and ids, then by their texts."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from apps.usage.chunks import Bigints, Texts, fetch, request_hash, scan_slice, texts_head
from apps.usage.hints import among, cost_source
from apps.usage.ingest.what import DETAIL, STOP_REASONS
from apps.usage.selectors.pick import (
    LEFT_OUT,
    OF_CHUNK,
    Moved,
    Picked,
    columns_of,
    days_of,
    pick,
    picked_texts,
    texts_of,
)
from apps.usage.selectors.plan import Plan

__all__ = ["FEW_EACH", "Match", "matches_at", "matches_in", "matches_of", "needed_columns", "read_columns"]

# Of so few events of a chunk the times are read alone.
FEW_EACH: Final = 3

# What JSON spells as it is.
_PLAIN: Final = re.compile(r"[\w.-]+", re.ASCII)

Mask = npt.NDArray[np.bool_]
_KINDS: Final = {
    "ts": "<i8", "session": "<i8", "who": "<i4", "what": "<i4", "request": "<u4", "flags": "u1", "stop": "u1",
}  # fmt: skip
# What later tests ask of the columns of what was found.
_KEPT: Final[tuple[str, ...]] = ("ts", "flags", "stop")
_Columns = dict[str, npt.NDArray[Any]]


@dataclass(slots=True)
class Match:
    """Events of one chunk that were found: places and times, and, by place, what was read of them beside.

    ``texts`` are those of their texts that were read, ``picked`` events that were read alone.
    """

    chunk_id: int
    drop_on: Any
    places: npt.NDArray[np.int64]
    ts: npt.NDArray[np.int64]
    texts: dict[int, Texts]
    picked: dict[int, Picked]


@dataclass(slots=True)
class _Looked:
    """A chunk that was looked at, and the places of what matches so far, and its times once they were read.

    ``columns`` have a value for each of the places.
    """

    chunk_id: int
    drop_on: Any
    events: int
    texts_head: bytes | None
    columns: _Columns
    places: npt.NDArray[np.int64]
    ts: npt.NDArray[np.int64]
    texts: dict[int, Texts] = field(default_factory=dict)
    picked: dict[int, Picked] = field(default_factory=dict)

    def keep(self, which: Mask | list[bool]) -> None:
        """Leave these of the places."""
        self.places, self.ts = self.places[which], self.ts[which]
        self.columns = {name: column[which] for name, column in self.columns.items()}


def needed_columns(plan: Plan) -> list[str]:
    """The columns that have to be looked at."""
    tests = {
        "who": plan.who, "what": plan.what, "session": plan.sessions, "request": plan.requests,
        "stop": plan.stops if plan.stops is not None else (plan.details or None),
        "flags": plan.costs if plan.costs is not None else (plan.details or None),
    }  # fmt: skip
    return ["ts", *(name for name, test in tests.items() if test is not None)]


def read_columns(plan: Plan, names: Sequence[str], source: str) -> str:
    """SQL for chunks as :func:`matches_of` takes them, with these columns."""
    columns = [scan_slice(name) for name in names]
    if "ts" in names and _asks_for_ids(plan):
        columns.append("substring(facts FROM 3 FOR 16 * events)")
    # Where the texts' parts lie, which is read along: it is not much, and another turn would be.
    columns.append(f"substring(texts FROM 1 FOR {texts_head('events')})" if _asks_for_texts(plan) else "NULL")
    return f"SELECT id, drop_on, events, last_at, {', '.join(columns)} FROM {source}"  # noqa: S608


def matches_of(plan: Plan, needed: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[Match]:
    """What of chunks (id, day of dropping, events, last moment, columns, ids where asked for, head of texts) matches.

    Only those that have something, in their order.
    """
    looked = []
    for row, one in _looked(plan, needed, rows):
        ids = [np.frombuffer(row[-2], dtype="V16")[one.places]] if _asks_for_ids(plan) else []
        _leave_timely(plan, one, one.columns["ts"], *ids)
        looked.append(one)
    return _matches_among(plan, looked)


def matches_in(plan: Plan, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[Match]:
    """As :func:`matches_of`, of rows that have no times yet: these are read of what the other columns leave."""
    return _matches_among(plan, _timed(plan, [one for _, one in _looked(plan, names, rows)]))


def _looked(plan: Plan, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[tuple[Sequence[Any], _Looked]]:
    """Chunks, by their rows, that have something by the columns other than time; these are gone through together."""
    columns = {
        name: np.frombuffer(b"".join([row[4 + i] for row in rows]), dtype=_KINDS[name]) for i, name in enumerate(names)
    }
    places = _places(plan, columns)
    ends = np.cumsum([row[2] for row in rows])
    borders = [0, *np.searchsorted(places, ends).tolist()]
    found = []
    for row, end, low, high in zip(rows, ends.tolist(), borders, borders[1:], strict=False):
        if low < high:
            start = end - row[2]
            own = {name: columns[name][places[low:high]] for name in _KEPT if name in columns}
            nothing = np.zeros(high - low, dtype=np.int64)
            found.append((row, _Looked(row[0], row[1], row[2], row[-1], own, places[low:high] - start, nothing)))
    return found


def matches_at(plan: Plan, told: Sequence[tuple[int, Any, Sequence[int]]]) -> list[Match]:
    """As :func:`matches_of`, of chunks (id, day of dropping, places) of which these events alone may match."""
    picked = pick(plan.org, [(number, day, place) for number, day, places in told for place in sorted(places)])
    if not picked:
        return []
    columns = columns_of(picked)
    left = _places(plan, columns, left_out=LEFT_OUT)
    ts = columns["ts"][left]
    left = left[_is_timely(plan, ts, columns["id"][left] if _asks_for_ids(plan) else None)]
    texts = picked_texts(picked)
    # Events of a chunk are side by side.
    numbers = np.array([one.chunk for one in picked], dtype=np.int64)[left]
    borders = np.flatnonzero(np.diff(numbers)) + 1
    kept = {name: columns[name][left] for name in _KEPT}
    found = []
    for low, high in pairwise([0, *borders.tolist(), len(left)] if len(left) else []):
        mine = [picked[n] for n in left[low:high].tolist()]
        own = {name: column[low:high] for name, column in kept.items()}
        places = np.array([one.place for one in mine], dtype=np.int64)
        one = _Looked(mine[0].chunk, mine[0].drop_on, mine[0].events, None, own, places, own["ts"])
        one.picked = {event.place: event for event in mine}
        one.texts = {event.place: texts[event.chunk, event.place] for event in mine}
        found.append(one)
    return _matches_among(plan, found)


def _timed(plan: Plan, looked: list[_Looked]) -> list[_Looked]:
    """Read the times, and ids where needed, of what was found so far, and leave what these agree with."""
    if not looked:
        return []
    if sum(len(one.places) for one in looked) > FEW_EACH * len(looked):
        rows = {row[0]: row[1:] for row in _read_times(plan, looked)}
        for one in looked:
            _leave_timely(plan, one, *(data[one.places] for data in _times_and_ids(rows[one.chunk_id])))
        return looked
    numbers = [one.chunk_id for one in looked for _ in one.places]
    places = [place for one in looked for place in one.places.tolist()]
    days = days_of(one.drop_on for one in looked for _ in one.places)
    found = fetch(
        _TIMES_AND_IDS if _asks_for_ids(plan) else _TIMES, (Bigints(numbers), days, Bigints(places), plan.org),
        prepare=True,
    )  # fmt: skip
    if len(found) != len(places):
        raise Moved
    data = _times_and_ids([b"".join(column) for column in zip(*found, strict=True)])
    at = 0
    for one in looked:
        count = len(one.places)
        _leave_timely(plan, one, *(column[at : at + count] for column in data))
        at += count
    return looked


_TIME: Final = "substring(c.scan FROM 1 + 8 * a.place::integer FOR 8)"
_ID: Final = "substring(c.facts FROM 3 + 16 * a.place::integer FOR 16)"
_EACH: Final = """
SELECT {columns} FROM unnest(%b, %b, %b) WITH ORDINALITY AS a (id, day, place, n)
{of_chunk} ORDER BY a.n
"""
_TIMES: Final = _EACH.format(columns=_TIME, of_chunk=OF_CHUNK.format(columns="scan"))
_TIMES_AND_IDS: Final = _EACH.format(columns=f"{_TIME}, {_ID}", of_chunk=OF_CHUNK.format(columns="scan, facts"))


def _times_and_ids(data: Sequence[bytes]) -> list[npt.NDArray[Any]]:
    return [np.frombuffer(column, dtype=kind) for column, kind in zip(data, ("<i8", "V16"), strict=False)]


def _asks_for_texts(plan: Plan) -> bool:
    return bool(plan.details) or plan.requests is not None


def _asks_for_ids(plan: Plan) -> bool:
    return plan.ids is not None or plan.after is not None


def _read_times(plan: Plan, looked: list[_Looked]) -> list[tuple[Any, ...]]:
    """Id, times and, where needed, ids of events, of these chunks."""
    ids = ", substring(facts FROM 3 FOR 16 * events)" if _asks_for_ids(plan) else ""
    rows = fetch(
        f"SELECT id, {scan_slice('ts')}{ids} FROM usage_chunk WHERE org = %s AND id = ANY(%s) AND drop_on = ANY(%s)",  # noqa: S608
        (plan.org, Bigints([one.chunk_id for one in looked]), sorted({one.drop_on for one in looked})),
    )
    if len(rows) != len(looked):
        raise Moved
    return rows


def _leave_timely(plan: Plan, one: _Looked, ts: npt.NDArray[np.int64], ids: npt.NDArray[np.void] | None = None) -> None:
    """Leave of the places, of which these are times and ids, what is of the search's time, and of its ids."""
    one.ts = ts
    one.keep(_is_timely(plan, ts, ids))


def _is_timely(plan: Plan, ts: npt.NDArray[np.int64], ids: npt.NDArray[np.void] | None) -> Mask:
    mask: Mask = (ts >= plan.start) & (ts < plan.end)
    if ids is not None:
        mask &= _ids_match(plan, ts, ids)
    return mask


def _matches_among(plan: Plan, looked: list[_Looked]) -> list[Match]:
    looked = [one for one in looked if len(one.places)]
    if _asks_for_texts(plan):
        _check_texts(plan, looked)
    return [
        Match(one.chunk_id, one.drop_on, one.places, one.ts, one.texts, one.picked) for one in looked if len(one.places)
    ]


def _places(plan: Plan, columns: _Columns, *, left_out: str = "") -> npt.NDArray[np.int64]:
    """What the columns other than time, and one that is ``left_out``, leave; texts may still say no."""
    places: npt.NDArray[np.int64] | None = None
    for name, test in _tests(plan):
        if name == left_out:
            continue
        of = columns[name] if places is None else columns[name][places]
        places = np.flatnonzero(test(of)) if places is None else places[test(of)]
    return np.arange(len(next(iter(columns.values())))) if places is None else places


def _tests(plan: Plan) -> list[tuple[str, Callable[[npt.NDArray[Any]], Mask]]]:
    """Columns and what is asked of them, the cheap ones first: each is asked of what those before it leave."""
    tests: list[tuple[int, str, Callable[[npt.NDArray[Any]], Mask]]] = []
    lists: list[tuple[str, Sequence[int] | npt.NDArray[np.int64] | None]] = [
        ("who", plan.who), ("what", plan.what), ("session", plan.sessions), ("stop", plan.stops),
    ]  # fmt: skip
    if plan.requests is not None:
        lists.append(("request", [request_hash(value) if value else 0 for value in plan.requests]))
    for name, values in lists:
        if values is not None:
            size = np.dtype(_KINDS[name]).itemsize
            tests.append((size * len(values), name, partial(among, values=values)))
    if plan.costs is not None:
        costs = plan.costs
        tests.append((10, "flags", lambda flags: among(cost_source(flags), costs)))
    if any(name == "error_type" and "" not in words for name, words in plan.details):
        tests.append((0, "flags", lambda flags: (flags & DETAIL) != 0))
    return [(name, test) for _, name, test in sorted(tests, key=lambda test: test[0])]


def _ids_match(plan: Plan, ts: npt.NDArray[np.int64], ids: npt.NDArray[np.void]) -> Mask:
    mask = np.ones(len(ts), dtype=bool)
    if plan.ids is not None:
        mask = np.isin(_halves(ids), _halves(np.frombuffer(b"".join(plan.ids), dtype="V16")))
        exact = set(plan.ids)
        for place in np.flatnonzero(mask).tolist():
            mask[place] = ids[place].tobytes() in exact
    if plan.after is not None:
        at, last = plan.after
        for place in np.flatnonzero(ts == at).tolist():
            mask[place] &= ids[place].tobytes() < last
    return mask


def _halves(ids: npt.NDArray[np.void]) -> npt.NDArray[np.uint64]:
    """The second halves of ids, the random ones of those that begin with a time."""
    return np.ascontiguousarray(ids).view("<u8").reshape(-1, 2)[:, 1]


def _check_texts(plan: Plan, looked: list[_Looked]) -> None:
    """Leave of the places what the texts agree with; they are read of all chunks together."""
    wanted: list[tuple[int, Any, int, bytes, list[int]]] = []
    for one in looked:
        if one.picked:
            continue
        places = one.places
        if plan.requests is None:
            places = places[(one.columns["flags"] & DETAIL) != 0]
        if len(places):
            wanted.append((one.chunk_id, one.drop_on, one.events, one.texts_head or b"", places.tolist()))
    texts = texts_of(plan.org, wanted, _spelt(plan))
    for one in looked:
        if not one.picked:
            one.texts = {
                place: texts[one.chunk_id, place] for place in one.places.tolist() if (one.chunk_id, place) in texts
            }
        one.keep([_texts_match(plan, one, n) for n in range(len(one.places))])


def _spelt(plan: Plan) -> list[bytes]:
    """One of which is in the detail of whatever agrees; none where that cannot be said of the bytes."""
    for name, values in plan.details:
        if name == "error_type" and all(_PLAIN.fullmatch(value) for value in values):
            return [value.encode() for value in values]
    return []


def _texts_match(plan: Plan, one: _Looked, n: int) -> bool:
    """Whether the texts of the ``n``-th of the places agree."""
    request, detail, _ = one.texts.get(int(one.places[n]), (b"", b"", b""))
    if plan.requests is not None and request not in plan.requests:
        return False
    read = orjson.loads(detail) if plan.details and detail else {}
    for name, values in plan.details:
        known = read.get(name) or ""
        if name == "stop_reason" and not known:
            known = STOP_REASONS[int(one.columns["stop"][n])]
        if known not in values:
            return False
    return True
