"""Raw events as column chunks: what a flush counted of one organisation, turned on its side (decision 0010).

A chunk is a row of ``usage_chunk`` with three runs of bytes, little-endian, ``events`` values a column:

- ``scan``: the columns of :data:`SCAN` one after the other, so that one of them can be read by its place alone;
- ``facts``: a 2-byte mask, the columns of :data:`FACTS`, and those of :data:`SPARSE` whose bit is set (the others
  are all zero);
- ``texts``: zstd of the columns of request ids, details and metadata (:mod:`apps.usage.texts`). Of a chunk that will
  hardly be merged any more it is one for each :data:`TEXTS_TOGETHER` events, so that those of one event can be read
  alone: a byte that is :data:`IN_PARTS`, which begins no zstd, where each of them ends behind all that (4 bytes), and
  they themselves.

``first_at``, ``last_at``, ``whos``, ``whats`` and ``words`` (:mod:`apps.usage.words`) say what can be in it. Small
chunks are merged later (:mod:`apps.usage.drain.merge`), so a chunk may be gone when it is looked for again:
:class:`ChunkGone`.
"""

import struct
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import psycopg
import zstandard
from django.db import connection
from psycopg import adapters
from psycopg.adapt import Dumper
from psycopg.pq import Format

from apps.core import clock
from apps.usage.texts import TextColumns, at, concatenated, holding, pack, parts, unpack

__all__ = [
    "FACTS",
    "IN_PARTS",
    "MAX_EVENTS",
    "SCAN",
    "SPARSE",
    "Bigints",
    "Chunk",
    "ChunkGone",
    "chunks_of",
    "inflated_holding",
    "inflated_texts",
    "lock_costs",
    "newest_chunk",
    "packed",
    "read_chunks",
    "replace_costs",
    "request_hash",
    "scan_slice",
    "texts_events",
    "texts_head",
    "texts_held",
    "texts_part",
]

SCAN: Final = (
    ("ts", "<i8"), ("session", "<i8"), ("who", "<i4"), ("what", "<i4"), ("latency", "<i4"), ("request", "<u4"),
    ("flags", "u1"), ("stop", "u1"),
)  # fmt: skip
FACTS: Final = (("id", "V16"), ("cost", "<i8"))
SPARSE: Final = (
    ("reported", "<i8"), ("input", "<i4"), ("output", "<i4"), ("cache_read", "<i4"), ("write_5m", "<i4"),
    ("write_1h", "<i4"), ("web", "<i4"),
)  # fmt: skip
# More than this are not put together; a flush may bring more of one organisation in one piece.
MAX_EVENTS: Final = 4096
_ZSTD_LEVEL = 1
# Texts of so many events are packed together, in chunks of so many events and more.
TEXTS_TOGETHER: Final = 256
_PARTED: Final = 2048
IN_PARTS: Final = 1
_END: Final = np.dtype("<u4")
# Chunks that are read together where all of a time are gone through.
_AT_ONCE = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIELDS = "id, org, drop_on, first_at, last_at, events, scan, facts, texts"

Column = npt.NDArray[Any]
# Request id, detail and metadata of an event (both JSON); b"" is none.
Texts = tuple[bytes, bytes, bytes]


class ChunkGone(Exception):
    """The chunk was merged into another meanwhile; read the organisation's chunks again."""


@dataclass(slots=True)
class Chunk:
    """Events of one organisation that are let go on the same day.

    ``columns`` (``events`` values each): ``ts`` µs since 1970, ``who`` and ``what`` surrogates, ``session`` (0: none),
    ``latency`` ms (-1: unknown), ``request`` hash of the request id (0: none), ``flags`` and ``stop`` as in
    :mod:`apps.usage.ingest.what`, ``id`` 16 bytes, ``cost`` and ``reported`` nano-USD, ``input``, ``output``,
    ``cache_read``, ``write_5m``, ``write_1h`` tokens, ``web`` searches.
    """

    id: int
    org: int
    drop_on: date
    first_at: datetime
    last_at: datetime
    events: int
    columns: dict[str, Column]
    packed_texts: bytes

    def text_columns(self) -> TextColumns:
        """Request ids, details and metadata (both JSON)."""
        return concatenated(
            [(len(part), unpack(len(part), _tools.decompress(data))) for part, data in _text_parts(self)]
        )

    def texts(self) -> list[Texts]:
        """Request id, detail and metadata of each event."""
        return at(self.text_columns(), range(self.events))

    def texts_at(self, places: Iterable[int]) -> dict[int, Texts]:
        """Those of the events at these places; others are not inflated."""
        wanted = sorted(set(places))
        found: dict[int, Texts] = {}
        for part, data in _text_parts(self):
            own = [place for place in wanted if place in part]
            if own:
                found.update(
                    zip(own, inflated_texts(data, len(part), [place - part.start for place in own]), strict=True)
                )
        return found


class _Tools(threading.local):
    """A compressor and a decompressor for each thread: neither may be shared."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_tools = _Tools()


def request_hash(request_id: bytes) -> int:
    """What the ``request`` column holds of a request id: 32 bits, never 0."""
    return zlib.crc32(request_id) or 1


def packed(columns: dict[str, Column], texts: TextColumns) -> tuple[bytes, bytes, bytes]:
    """``scan``, ``facts`` and ``texts`` of a chunk with these columns."""
    return (*packed_columns(columns), _packed_texts(len(columns["ts"]), texts))


def _packed_texts(events: int, texts: TextColumns) -> bytes:
    if events < _PARTED or all(column is None for column in texts):
        return _tools.compress(pack(texts))
    frames = [_tools.compress(pack(part)) for part in parts(texts, events, TEXTS_TOGETHER)]
    ends = np.cumsum([len(frame) for frame in frames]).astype(_END)
    return b"".join((bytes([IN_PARTS]), ends.tobytes(), *frames))


def texts_head(events: str) -> str:
    """SQL for how many bytes of ``texts`` :func:`texts_held` needs of a chunk of so many events (SQL)."""
    return f"1 + {_END.itemsize} * (({events} + {TEXTS_TOGETHER - 1}) / {TEXTS_TOGETHER})"


def texts_held(events: int, head: bytes, places: Sequence[int]) -> list[tuple[range, int, int | None, list[int]]]:
    """The parts of ``texts`` that have one of these places, which are in order, by its head.

    Of each the places of its events, from where to where it lies (None: all), and which of the places it has.
    """
    if head[0] != IN_PARTS:
        return [(range(events), 0, None, list(places))]
    size = 1 + _END.itemsize * -(-events // TEXTS_TOGETHER)
    found: list[tuple[range, int, int | None, list[int]]] = []
    last = -1
    for place in places:
        part = place // TEXTS_TOGETHER
        if part == last:
            found[-1][3].append(place)
            continue
        last, first = part, part * TEXTS_TOGETHER
        at = 1 + _END.itemsize * part
        start = int.from_bytes(head[at - _END.itemsize : at], "little") if part else 0
        end = int.from_bytes(head[at : at + _END.itemsize], "little")
        found.append((range(first, min(events, first + TEXTS_TOGETHER)), size + start, size + end, [place]))
    return found


def texts_events(events: int, place: int) -> range:
    """The places of the events of that part of ``texts`` that has the event at a place."""
    first = place - place % TEXTS_TOGETHER
    return range(first, min(events, first + TEXTS_TOGETHER))


def texts_part(events: str, texts: str, place: str, wanted: str) -> str:
    """SQL for the part of ``texts`` with the event at a place, or all where they are in one; null where not ``wanted``.

    All of them SQL; ``t.head`` is what :func:`texts_head` says, ``t.in_parts`` whether that has parts.
    """
    part, size = f"({place} / {TEXTS_TOGETHER})", texts_head(events)

    def end(before: str) -> str:
        at = f"1 + {_END.itemsize} * ({part} {before})"
        return " + ".join(f"(get_byte(t.head, {at} + {n}) << {8 * n})" for n in range(_END.itemsize - 1))

    start = f"CASE WHEN {part} = 0 THEN 0 ELSE {end('- 1')} END"
    own = f"substring({texts} FROM 1 + {size} + {start} FOR {end('')} - ({start}))"
    return f"CASE WHEN {wanted} = 0 THEN NULL WHEN t.in_parts THEN {own} ELSE {texts} END"


def inflated_texts(data: bytes, events: int, places: Sequence[int]) -> list[Texts]:
    """Texts of events of a part of ``texts`` that has so many."""
    return at(unpack(events, _tools.decompress(data)), places)


def inflated_holding(data: bytes, events: int, places: Sequence[int], words: Sequence[bytes]) -> dict[int, Texts]:
    """:func:`inflated_texts` of those of the events, by place, whose detail has one of these words."""
    columns = unpack(events, _tools.decompress(data))
    found = holding(columns, places, words)
    return dict(zip(found, at(columns, found), strict=True)) if found else {}


def _text_parts(chunk: Chunk) -> Iterator[tuple[range, bytes]]:
    """All parts of the texts."""
    firsts = range(0, chunk.events, TEXTS_TOGETHER)
    for part, start, end, _ in texts_held(chunk.events, chunk.packed_texts, firsts):
        yield part, chunk.packed_texts[start:end]


def packed_columns(columns: dict[str, Column]) -> tuple[bytes, bytes]:
    """``scan`` and ``facts``."""
    scan = b"".join(np.asarray(columns[name], dtype=kind).tobytes() for name, kind in SCAN)
    parts = [np.asarray(columns[name], dtype=kind).tobytes() for name, kind in FACTS]
    mask = 0
    for bit, (name, kind) in enumerate(SPARSE):
        if columns[name].any():
            mask |= 1 << bit
            parts.append(np.asarray(columns[name], dtype=kind).tobytes())
    return scan, b"".join((mask.to_bytes(2, "little"), *parts))


def scan_slice(name: str) -> str:
    """SQL for one column of ``scan``; its bytes alone are read from where the chunk lies."""
    before = 0
    for column, kind in SCAN:
        size = np.dtype(kind).itemsize
        if column == name:
            return f"substring(scan FROM 1 + {before} * events FOR {size} * events)"
        before += size
    raise KeyError(name)


def _unpacked(events: int, scan: bytes, facts: bytes) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    at = 0
    for name, kind in SCAN:
        columns[name] = np.frombuffer(scan, dtype=kind, count=events, offset=at)
        at += columns[name].nbytes
    mask, at = int.from_bytes(facts[:2], "little"), 2
    for name, kind in FACTS:
        columns[name] = np.frombuffer(facts, dtype=kind, count=events, offset=at)
        at += columns[name].nbytes
    for bit, (name, kind) in enumerate(SPARSE):
        if mask >> bit & 1:
            columns[name] = np.frombuffer(facts, dtype=kind, count=events, offset=at)
            at += columns[name].nbytes
        else:
            columns[name] = np.zeros(events, dtype=kind)
    return columns


def chunk_of(row: Sequence[Any]) -> Chunk:
    """A chunk out of a row of :data:`CHUNK_FIELDS`."""
    number, org, drop_on, first_at, last_at, events, scan, facts, texts = row
    columns = _unpacked(events, bytes(scan), bytes(facts))
    return Chunk(number, org, drop_on, first_at, last_at, events, columns, bytes(texts))


CHUNK_FIELDS: Final = _FIELDS


class Bigints:
    """Whole numbers as a ``bigint[]`` of a query: psycopg goes through a list one by one, which takes 0.5 µs each."""

    __slots__ = ("values",)

    def __init__(self, values: npt.ArrayLike) -> None:
        self.values = np.asarray(values, dtype=np.int64)


class _BigintsDumper(Dumper):
    format = Format.BINARY
    oid = adapters.types["int8"].array_oid
    # Dimensions, whether there are nulls, the type, how many, the number of the first.
    _HEAD = struct.Struct(">iiIii")
    _ITEM = np.dtype([("size", ">i4"), ("value", ">i8")])

    def dump(self, obj: Bigints) -> bytes:
        if not len(obj.values):
            return self._HEAD.pack(0, 0, adapters.types["int8"].oid, 0, 0)[:12]
        items = np.empty(len(obj.values), dtype=self._ITEM)
        items["size"], items["value"] = 8, obj.values
        return self._HEAD.pack(1, 0, adapters.types["int8"].oid, len(items), 1) + items.tobytes()


adapters.register_dumper(Bigints, _BigintsDumper)


def fetch(sql: str, params: Any, *, prepare: bool = False) -> list[tuple[Any, ...]]:
    """Rows with their bytes as they are: Django's cursors would have them sent as hexadecimal text.

    ``prepare``: planned once for each connection, for all values; for statements that are always the same words.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(sql, params, binary=True, prepare=prepare)
        return cursor.fetchall()


def read_chunks(
    org: int, *, start: datetime | None = None, end: datetime | None = None, after_id: int = 0, limit: int = 100
) -> list[Chunk]:
    """Chunks of an organisation (its surrogate) that may hold events of ``[start, end)``, by id, beyond ``after_id``.

    They hold other events as well: look at ``ts``. A chunk that was merged since an earlier call comes again under a
    new, larger id.
    """
    conditions, params = ["org = %(org)s", "id > %(after)s"], {"org": org, "after": after_id, "limit": limit}
    if start is not None:
        conditions.append("last_at >= %(start)s")
        params["start"] = start  # type: ignore[assignment]
    if end is not None:
        conditions.append("first_at < %(end)s")
        params["end"] = end  # type: ignore[assignment]
    rows = fetch(
        f"SELECT {_FIELDS} FROM usage_chunk WHERE {' AND '.join(conditions)} ORDER BY id LIMIT %(limit)s",  # noqa: S608
        params,
    )
    return [chunk_of(row) for row in rows]


def newest_chunk() -> int:
    """The id of the youngest chunk, or one that was given away since."""
    return int(fetch("SELECT last_value FROM usage_chunk_id_seq", None)[0][0])


def chunks_of(org: int, start: datetime, end: datetime) -> Iterator[Chunk]:
    """All chunks of an organisation that may hold events of ``[start, end)``, by id, in the caller's transaction.

    They are as they were at the first: one that is merged into another meanwhile does not come twice. Their texts are
    not read.
    """
    with connection.wrap_database_errors, psycopg.ServerCursor(connection.connection, "usage_chunks_of") as cursor:
        cursor.itersize = _AT_ONCE
        cursor.execute(
            f"SELECT {_FIELDS.removesuffix('texts')} ''::bytea FROM usage_chunk"  # noqa: S608
            " WHERE org = %s AND last_at >= %s AND first_at < %s ORDER BY id",
            (org, start, end),
            binary=True,
        )
        yield from map(chunk_of, cursor)


def lock_costs(org: int) -> None:
    """Until the caller's transaction ends nobody else changes costs of the organisation's raw events."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('usage-reprice'), %s)", [org])


def replace_costs(chunk: Chunk, cost: Column, flags: Column) -> None:
    """Write other costs (nano-USD) and flags into a chunk, in the caller's transaction; raises :class:`ChunkGone`.

    The chunk is locked by it until the transaction ends: merging leaves it alone meanwhile. Hints of it are forgotten.
    """
    lock_costs(chunk.org)
    columns = {**chunk.columns, "cost": cost, "flags": flags}
    scan, facts = packed_columns(columns)
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(
            "UPDATE usage_chunk SET scan = %b, facts = %b WHERE drop_on = %s AND org = %s AND id = %s",
            (scan, facts, chunk.drop_on, chunk.org, chunk.id),
        )
        if cursor.rowcount != 1:
            raise ChunkGone(chunk.id)
        cursor.execute(
            "UPDATE usage_hint SET chunks = array_replace(chunks, %s::bigint, 0) WHERE org = %s AND drop_on = %s"
            " AND %s::bigint = ANY(chunks)",
            (chunk.id, chunk.org, chunk.drop_on, chunk.id),
        )
        if cursor.rowcount:
            cursor.execute(
                "INSERT INTO usage_unhinted (chunk, org, drop_on, events, since) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                (chunk.id, chunk.org, chunk.drop_on, chunk.events, clock.now()),
            )
    chunk.columns = columns


def at_micros(micros: int) -> datetime:
    """The moment so many µs after 1970."""
    return _EPOCH + timedelta(microseconds=micros)


def micros_of(moment: datetime) -> int:
    """The other way round."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
