"""Single events out of chunks: of a chunk that has hardly any of those that are wanted, these are read alone."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from itertools import groupby
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from apps.usage import chunks
from apps.usage.chunks import (
    CHUNK_FIELDS,
    FACTS,
    IN_PARTS,
    SCAN,
    SPARSE,
    Bigints,
    Chunk,
    Texts,
    at_micros,
    chunk_of,
    fetch,
    inflated_holding,
    inflated_texts,
    texts_events,
    texts_head,
    texts_held,
    texts_part,
)

__all__ = [
    "FEW",
    "LEFT_OUT",
    "OF_CHUNK",
    "Moved",
    "Picked",
    "Places",
    "columns_of",
    "days_of",
    "pick",
    "pick_events",
    "picked_texts",
    "texts_of",
]

Places = npt.NDArray[np.int64]
# A chunk is read whole where more of its events are wanted than this: each column of each event is a read of its own.
FEW: Final = 8
# The same where their texts are known already: these are half of what a chunk is, and the longest to be read.
_FEW_KNOWN: Final = 32

# A part of a chunk's texts: its events, from where to where it lies (None: all), and what is wanted of it.
_Held = tuple[range, int, int | None, list[int]]
# Of a chunk whose texts are in one piece: more than any has.
_ALL: Final = (1 << 31) - 1
_EVENT: Final = np.dtype([*SCAN, *FACTS, *SPARSE])
# What is not read of single events, and reads as 0: a hash of what their texts have.
LEFT_OUT: Final = "request"
_FIRST_DAY: Final = date(1970, 1, 1)


class Moved(Exception):
    """A chunk was merged into another between two reads that did not see one snapshot."""


class Picked(NamedTuple):
    """An event that was read alone: its chunk, its place there, and its columns.

    ``texts`` is that part of the chunk's texts that has it, or all where they are in one; None where that was not asked
    for, or came with an event before it.
    """

    chunk: int
    drop_on: Any
    events: int
    place: int
    data: bytes
    in_parts: bool
    texts: bytes | None


@dataclass(slots=True)
class _Part(Chunk):
    """Some events of a chunk, as if they were all that it has."""

    picked: list[Texts]

    def texts_at(self, places: Iterable[int]) -> dict[int, Texts]:
        return {place: self.picked[place] for place in places}


def pick_events(
    org: int,
    wanted: Mapping[int, tuple[Any, Places]],
    known: Mapping[tuple[int, int], Texts] | None = None,
    picked: Mapping[tuple[int, int], Picked] | None = None,
    *,
    together: bool = False,
) -> list[tuple[Chunk, Places]]:
    """What is wanted of chunks: of each, by id, the day of dropping and the places, in their order.

    ``known`` are texts, and ``picked`` events without their texts, by chunk and place, that need not be read again.

    Returns chunks, each with the places in it; where few are wanted, these events are all that it has: those of all
    such chunks in one, ``together``, where it does not matter whose they are. Raises :class:`Moved` where a chunk is
    gone.
    """
    picked, known = picked or {}, known or {}
    few = {number: found for number, found in wanted.items() if _are_few(number, found[1].tolist(), known, picked)}
    many = {number: found for number, found in wanted.items() if number not in few}
    found: list[tuple[Chunk, Places]] = [(chunk, many[chunk.id][1]) for chunk in _whole(org, many)]
    return found + [(part, np.arange(part.events)) for part in _parts(org, few, known, picked, together=together)]


def _are_few(
    number: int,
    places: list[int],
    known: Mapping[tuple[int, int], Texts],
    picked: Mapping[tuple[int, int], Picked],
) -> bool:
    """Whether events of a chunk are better read one by one than the chunk."""
    if len(places) <= FEW or all((number, place) in picked for place in places):
        return True
    return len(places) <= _FEW_KNOWN and all((number, place) in known for place in places)


def _whole(org: int, wanted: Mapping[int, tuple[Any, Places]]) -> list[Chunk]:
    if not wanted:
        return []
    rows = fetch(
        f"SELECT {CHUNK_FIELDS} FROM usage_chunk WHERE org = %s AND id = ANY(%b) AND drop_on = ANY(%s)",  # noqa: S608
        (org, Bigints(list(wanted)), sorted({drop_on for drop_on, _ in wanted.values()})),
    )
    if len(rows) != len(wanted):
        raise Moved
    return [chunk_of(row) for row in rows]


def days_of(moments: Iterable[Any]) -> Bigints:
    """Days of dropping as statements here take them: how many after 1970."""
    return Bigints([(day - _FIRST_DAY).days for day in moments])


# Each chunk is looked up by itself, in the partition of its day: a join would go through all chunks of these days.
OF_CHUNK: Final = (
    "CROSS JOIN LATERAL (SELECT {columns} FROM usage_chunk WHERE org = %s AND drop_on = DATE '1970-01-01'"
    " + a.day::integer AND id = a.id OFFSET 0) c"
)


def _event_bytes() -> str:
    """SQL for one event, ``a.place`` of ``c``, as :data:`_EVENT` has it; ``m.mask`` says which sparse columns are."""
    parts, before = [], 0
    for name, kind in SCAN:
        size = np.dtype(kind).itemsize
        if name == LEFT_OUT:
            parts.append(f"'\\x{'00' * size}'::bytea")
        else:
            parts.append(f"substring(c.scan FROM 1 + {before} * c.events + {size} * a.place FOR {size})")
        before += size
    before = 0
    for _name, kind in FACTS:
        size = np.dtype(kind).itemsize
        parts.append(f"substring(c.facts FROM 3 + {before} * c.events + {size} * a.place FOR {size})")
        before += size
    at = str(before)
    for bit, (_name, kind) in enumerate(SPARSE):
        size = np.dtype(kind).itemsize
        parts.append(
            f"CASE WHEN m.mask & {1 << bit} = 0 THEN '\\x{'00' * size}'::bytea"
            f" ELSE substring(c.facts FROM 3 + ({at}) * c.events + {size} * a.place FOR {size}) END"
        )
        at += f" + {size} * (m.mask >> {bit} & 1)"
    return " || ".join(parts)


@cache
def _pick_sql(part: str) -> str:
    return f"""
SELECT c.id, c.drop_on, c.events, a.place, {_event_bytes()}, t.in_parts, {part}
FROM (
    SELECT id, day, place::integer AS place, wants_texts, n
    FROM unnest(%b, %b, %b, %b) WITH ORDINALITY AS u (id, day, place, wants_texts, n)
) AS a
{OF_CHUNK.format(columns="id, drop_on, events, scan, facts, texts")}
CROSS JOIN LATERAL (SELECT get_byte(substring(c.facts FROM 1 FOR 1), 0) AS mask OFFSET 0) m
CROSS JOIN LATERAL (
    SELECT head, get_byte(head, 0) = {IN_PARTS} AS in_parts
    FROM (SELECT substring(c.texts FROM 1 FOR {texts_head("c.events")}) AS head OFFSET 0) h OFFSET 0
) t ORDER BY a.n
"""  # noqa: S608


_TEXTS: Final = f"""
SELECT a.n, substring(c.texts FROM a.start::integer FOR a.size::integer)
FROM unnest(%b, %b, %b, %b) WITH ORDINALITY AS a (id, day, start, size, n) {OF_CHUNK.format(columns="texts")}
"""  # noqa: S608


def pick(
    org: int, asked: Sequence[tuple[int, Any, int]], known: Mapping[tuple[int, int], Texts] | None = None
) -> list[Picked]:
    """Events by chunk, day of dropping and place, in this order, those of a chunk one after the other and in order.

    With each part of their texts, but for those that are ``known``. :class:`Moved` where a chunk is gone.
    """
    if not asked:
        return []
    numbers, days, places = zip(*asked, strict=True)
    wants, last = [], (0, -1)
    for number, place in zip(numbers, places, strict=True):
        part = (number, place // chunks.TEXTS_TOGETHER)
        is_known = known is not None and (number, place) in known
        wants.append(int(part != last and not is_known))
        if not is_known:
            last = part
    params = (Bigints(numbers), days_of(days), Bigints(places), Bigints(wants), org)
    rows = fetch(_pick_sql(texts_part("c.events", "c.texts", "a.place", "a.wants_texts")), params, prepare=True)
    if len(rows) != len(asked):
        raise Moved
    return [Picked(*row) for row in rows]


def picked_texts(picked: Sequence[Picked]) -> dict[tuple[int, int], Texts]:
    """The texts of events that were read with theirs, by chunk and place."""
    texts: dict[tuple[int, int], Texts] = {}
    runs: list[tuple[range, bytes, list[Picked]]] = []
    for one in picked:
        if one.texts is not None and (one.in_parts or not runs or runs[-1][2][0].chunk != one.chunk):
            runs.append((texts_events(one.events, one.place) if one.in_parts else range(one.events), one.texts, []))
        runs[-1][2].append(one)
    for events, data, mine in runs:
        inflated = inflated_texts(data, len(events), [one.place - events.start for one in mine])
        texts.update(zip(((one.chunk, one.place) for one in mine), inflated, strict=True))
    return texts


def columns_of(picked: Sequence[Picked]) -> dict[str, npt.NDArray[Any]]:
    """The columns of events that were read alone."""
    events = np.frombuffer(b"".join([one.data for one in picked]), dtype=_EVENT)
    return {name: events[name] for name in _EVENT.names or ()}


def _parts(
    org: int,
    wanted: Mapping[int, tuple[Any, Places]],
    known: Mapping[tuple[int, int], Texts],
    picked: Mapping[tuple[int, int], Picked],
    *,
    together: bool,
) -> list[_Part]:
    if not wanted:
        return []
    asked = [(number, day, place) for number, (day, own) in wanted.items() for place in own.tolist()]
    read = pick(org, [one for one in asked if (one[0], one[2]) not in picked], known)
    texts = {**known, **picked_texts([one for one in read if (one.chunk, one.place) not in known])}
    picked = {**picked, **{(one.chunk, one.place): one for one in read}}
    rows = [picked[number, place] for number, _, place in asked]
    return [_part(org, rows, texts)] if together else [_part(org, own, texts) for own in _by_chunk(rows)]


def _by_chunk(rows: list[Picked]) -> Iterator[list[Picked]]:
    for _, own in groupby(rows, key=lambda row: row.chunk):
        yield list(own)


def _part(org: int, rows: list[Picked], texts: Mapping[tuple[int, int], Texts]) -> _Part:
    columns = columns_of(rows)
    first_at, last_at = at_micros(int(columns["ts"].min())), at_micros(int(columns["ts"].max()))
    texts_here = [texts[row.chunk, row.place] for row in rows]
    return _Part(rows[0].chunk, org, rows[0].drop_on, first_at, last_at, len(rows), columns, b"", texts_here)


def texts_of(
    org: int, wanted: Sequence[tuple[int, Any, int, bytes, list[int]]], words: Sequence[bytes] = ()
) -> dict[tuple[int, int], Texts]:
    """Texts of events by chunk and place: of chunks (id, day of dropping, events, head of the texts, places in order).

    Where there are ``words``, of those events alone whose detail has one of them.

    Those parts are read that have one of them; parts that lie side by side are one read. Raises :class:`Moved` where a
    chunk is gone.
    """
    asked: list[tuple[int, Any, list[_Held]]] = []
    for number, day, events, head, places in wanted:
        for held in texts_held(events, head, places):
            if asked and asked[-1][0] == number and asked[-1][2][-1][2] == held[1]:
                asked[-1][2].append(held)
            else:
                asked.append((number, day, [held]))
    if not asked:
        return {}
    starts = [run[0][1] for _, _, run in asked]
    sizes = [_ALL if (end := run[-1][2]) is None else end - run[0][1] for _, _, run in asked]
    numbers, days = [number for number, _, _ in asked], days_of(day for _, day, _ in asked)
    found = fetch(
        _TEXTS, (Bigints(numbers), days, Bigints([1 + start for start in starts]), Bigints(sizes), org), prepare=True
    )
    if len(found) != len(asked):
        raise Moved
    texts: dict[tuple[int, int], Texts] = {}
    for n, data in found:
        number, _, run = asked[n - 1]
        for part, start, end, mine in run:
            own = data[start - run[0][1] : None if end is None else end - run[0][1]]
            places = [place - part.start for place in mine]
            if words:
                inflated = inflated_holding(own, len(part), places, words)
            else:
                inflated = dict(zip(places, inflated_texts(own, len(part), places), strict=True))
            texts.update(((number, part.start + place), one) for place, one in inflated.items())
    return texts
