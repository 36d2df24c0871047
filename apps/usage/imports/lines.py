"""From blocks of bytes to records: lines, or for CSV what belongs together by its quotes; and chunks of them."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = ["Chunk", "Record", "chunks", "csv_records", "lines"]

# Where chunks end must never change: a chunk that was imported is known again by its bytes.
CHUNK_RECORDS = 5_000
CHUNK_BYTES = 8 << 20
# More than any event can have: metadata is at most 16 KiB.
MAX_RECORD_BYTES = 256 << 10


class Record(NamedTuple):
    """A record from line ``line`` to line ``last`` (from 1); ``end`` is the byte behind it. ``data`` None: too long."""

    line: int
    last: int
    end: int
    data: bytes | None


class Chunk(NamedTuple):
    """Records that are counted together; ``end`` and ``last`` take in what is blank behind them."""

    records: list[Record]
    end: int
    last: int


def lines(blocks: Iterable[bytes], *, line: int = 0, offset: int = 0) -> Iterator[Record]:
    """Each line as a record, behind ``line`` lines and ``offset`` bytes; at most 256 KiB of a line are held."""
    rest, dropped = b"", 0
    for block in blocks:
        parts = (rest + block).split(b"\n")
        rest = parts.pop()
        for part in parts:
            line += 1
            offset += dropped + len(part) + 1
            yield Record(line, line, offset, part if dropped + len(part) <= MAX_RECORD_BYTES else None)
            dropped = 0
        if len(rest) > MAX_RECORD_BYTES:
            dropped, rest = dropped + len(rest), b""
    if rest or dropped:
        whole = dropped + len(rest)
        yield Record(line + 1, line + 1, offset + whole, rest if whole <= MAX_RECORD_BYTES else None)


def csv_records(source: Iterator[Record]) -> Iterator[Record]:
    """Lines joined where a quoted cell goes on in the next one.

    A quote that nothing closes within the size of a record costs its own line, never those behind it.
    """
    waiting: deque[Record] = deque()

    def following() -> Record | None:
        return waiting.popleft() if waiting else next(source, None)

    while (first := following()) is not None:
        if first.data is None or first.data.count(b'"') % 2 == 0:
            yield first
            continue
        held, size, closed = [first], len(first.data), False
        while not closed and size <= MAX_RECORD_BYTES and (more := following()) is not None:
            held.append(more)
            if more.data is None:
                break
            size += len(more.data) + 1
            closed = more.data.count(b'"') % 2 == 1
        if closed and size <= MAX_RECORD_BYTES:
            yield Record(first.line, held[-1].last, held[-1].end, b"\n".join(record.data or b"" for record in held))
        else:
            yield first
            waiting.extendleft(reversed(held[1:]))


def chunks(records: Iterable[Record]) -> Iterator[Chunk]:
    """Runs of at most 5,000 records and some 8 MiB; blank records are passed over."""
    held: list[Record] = []
    start = last = end = size = 0
    for record in records:
        last, end = record.last, record.end
        if record.data is None or record.data.strip():
            held.append(record)
            size += len(record.data or b"")
        if len(held) >= CHUNK_RECORDS or size >= CHUNK_BYTES:
            yield Chunk(held, end, last)
            held, size, start = [], 0, end
    if end > start:
        yield Chunk(held, end, last)
