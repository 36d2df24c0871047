"""Single events out of chunks: of a chunk that has hardly any of those that are wanted, these are read alone."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from apps.usage.chunks import (
    CHUNK_FIELDS,
    FACTS,
    SCAN,
    SPARSE,
    Chunk,
    Texts,
    chunk_of,
    fetch,
    inflated_texts,
    texts_head,
    texts_ranges,
)

__all__ = ["Moved", "Places", "pick_events", "texts_of"]

Places = npt.NDArray[np.int64]
# A chunk is read whole where more of its events are wanted than this: each column of each event is a read of its own.
_FEW: Final = 4

# Of a chunk whose texts are in one piece: more than any has.
_ALL: Final = (1 << 31) - 1
_EVENT: Final = np.dtype([*SCAN, *FACTS, *SPARSE])


class Moved(Exception):
    """A chunk was merged into another between two reads that did not see one snapshot."""


@dataclass(slots=True)
class _Part(Chunk):
    """Some events of a chunk, as if they were all that it has."""

    picked: list[Texts]

    def texts_at(self, places: Iterable[int]) -> dict[int, Texts]:
        return {place: self.picked[place] for place in places}


def pick_events(
    org: int, wanted: Mapping[int, tuple[Any, Places]], known: Mapping[tuple[int, int], Texts] | None = None
) -> list[tuple[Chunk, Places]]:
    """What is wanted of chunks: of each, by id, the day of dropping and the places, in their order.

    ``known`` are texts by chunk and place that need not be read again.

    Returns chunks, each with the places in it; where few are wanted, these events are all that it has. Raises
    :class:`Moved` where a chunk is gone.
    """
    few = {number: found for number, found in wanted.items() if len(found[1]) <= _FEW}
    many = {number: found for number, found in wanted.items() if number not in few}
    found: list[tuple[Chunk, Places]] = [(chunk, many[chunk.id][1]) for chunk in _whole(org, many)]
    return found + [(part, np.arange(part.events)) for part in _parts(org, few, known or {})]


def _whole(org: int, wanted: Mapping[int, tuple[Any, Places]]) -> list[Chunk]:
    if not wanted:
        return []
    rows = fetch(
        f"SELECT {CHUNK_FIELDS} FROM usage_chunk WHERE org = %s AND id = ANY(%b) AND drop_on = ANY(%s)",  # noqa: S608
        (org, list(wanted), _days(wanted)),
    )
    if len(rows) != len(wanted):
        raise Moved
    return [chunk_of(row) for row in rows]


def _days(wanted: Mapping[int, tuple[Any, Places]]) -> list[Any]:
    return sorted({drop_on for drop_on, _ in wanted.values()})


def _event_bytes() -> str:
    """SQL for one event, ``a.place`` of ``c``, as :data:`_EVENT` has it; ``m.mask`` says which sparse columns are."""
    parts, before = [], 0
    for _name, kind in SCAN:
        size = np.dtype(kind).itemsize
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


def _pick_sql() -> str:
    return f"""
SELECT c.id, c.drop_on, c.first_at, c.last_at, c.events, a.place, {_event_bytes()},
    substring(c.texts FROM 1 FOR {texts_head("c.events")})
FROM unnest(%b::bigint[], %b::integer[]) WITH ORDINALITY AS a (id, place, n) JOIN usage_chunk c ON c.id = a.id
CROSS JOIN LATERAL (SELECT get_byte(substring(c.facts FROM 1 FOR 1), 0) AS mask) m
WHERE c.org = %s AND c.drop_on = ANY(%s) ORDER BY a.n
"""  # noqa: S608


_TEXTS: Final = """
SELECT a.n, substring(c.texts FROM a.start FOR a.size)
FROM unnest(%b::bigint[], %b::integer[], %b::integer[]) WITH ORDINALITY AS a (id, start, size, n)
JOIN usage_chunk c ON c.id = a.id WHERE c.org = %s AND c.drop_on = ANY(%s)
"""


def _parts(org: int, wanted: Mapping[int, tuple[Any, Places]], known: Mapping[tuple[int, int], Texts]) -> list[_Part]:
    if not wanted:
        return []
    asked = [(number, place) for number, (_, own) in wanted.items() for place in own.tolist()]
    numbers, places = zip(*asked, strict=True)
    rows = fetch(_pick_sql(), (list(numbers), list(places), org, _days(wanted)))
    if len(rows) != len(asked):
        raise Moved
    chunks = [
        (held[0][0], held[0][4], held[0][7], missing)
        for held in _by_chunk(rows)
        if (missing := [row[5] for row in held if (row[0], row[5]) not in known])
    ]
    texts = {**known, **_texts(org, _days(wanted), chunks)} if chunks else known
    return [_part(org, own, texts) for own in _by_chunk(rows)]


def _by_chunk(rows: list[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    for _, own in groupby(rows, key=lambda row: row[0]):
        yield list(own)


def _part(org: int, rows: list[tuple[Any, ...]], texts: Mapping[tuple[int, int], Texts]) -> _Part:
    number, drop_on, first_at, last_at, *_ = rows[0]
    events = np.frombuffer(b"".join(row[6] for row in rows), dtype=_EVENT)
    columns = {name: events[name] for name in _EVENT.names or ()}
    picked = [texts[number, row[5]] for row in rows]
    return _Part(number, org, drop_on, first_at, last_at, len(rows), columns, b"", picked)


def texts_of(
    org: int, wanted: Sequence[tuple[int, Any, int, bytes, list[int]]]
) -> dict[tuple[int, int], Texts]:  # fmt: skip
    """Texts of events by chunk and place: of chunks (id, day of dropping, events, head of the texts, places in order).

    Raises :class:`Moved` where a chunk is gone.
    """
    days = sorted({drop_on for _, drop_on, *_ in wanted})
    return _texts(org, days, [(number, events, head, own) for number, _, events, head, own in wanted]) if wanted else {}


def _texts(
    org: int, days: list[Any], chunks: Iterable[tuple[int, int, bytes, list[int]]]
) -> dict[tuple[int, int], Texts]:
    """Texts by chunk and place, of chunks (id, events, head of the texts, places): those parts that have one of them.

    Parts that lie side by side are one read.
    """
    asked: list[tuple[int, list[_Held]]] = []
    for number, events, head, places in chunks:
        for held in _held(events, head, places):
            if asked and asked[-1][0] == number and asked[-1][1][-1].end == held.start:
                asked[-1][1].append(held)
            else:
                asked.append((number, [held]))
    starts = [run[0].start for _, run in asked]
    sizes = [_ALL if run[-1].end is None else run[-1].end - run[0].start for _, run in asked]
    found = fetch(_TEXTS, ([number for number, _ in asked], [1 + start for start in starts], sizes, org, days))
    if len(found) != len(asked):
        raise Moved
    texts: dict[tuple[int, int], Texts] = {}
    for n, data in found:
        number, run = asked[n - 1]
        for held in run:
            own = data[held.start - run[0].start : None if held.end is None else held.end - run[0].start]
            places = [place - held.part.start for place in held.places]
            for place, one in zip(held.places, inflated_texts(own, len(held.part), places), strict=True):
                texts[number, place] = one
    return texts


@dataclass(frozen=True, slots=True)
class _Held:
    """A part of the texts of a chunk, from where to where it lies (None: all), and what is wanted of it."""

    part: range
    start: int
    end: int | None
    places: list[int]


def _held(events: int, head: bytes, places: list[int]) -> Iterator[_Held]:
    for part, start, end in texts_ranges(events, head):
        mine = [place for place in places if place in part]
        if mine:
            yield _Held(part, start, end, mine)
