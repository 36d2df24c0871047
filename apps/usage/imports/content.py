"""What a file holds, block by block: plain, gzip or zstd, told by its first bytes; a block in memory at a time."""

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

__all__ = ["MalformedFile", "blocks", "compression_of"]

BLOCK = 1 << 18
# A frame of zstd makes up to 128 KiB of four bytes: with so little at a time, a bomb makes 32 MiB at most.
_ZSTD_SLICE = 1 << 10
_ZSTD_WINDOW = 1 << 27


class MalformedFile(Exception):
    """The file cannot be read as what it is; the message is a sentence for people."""

    is_final = True


def compression_of(path: Path) -> str:
    """``gzip``, ``zstd`` or ``""`` (plain), by the first bytes."""
    with path.open("rb") as file:
        head = file.read(4)
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    # A frame, or one that is to be skipped, which some packers write first.
    skippable = len(head) == 4 and head[0] & 0xF0 == 0x50 and head[1:] == b"\x2a\x4d\x18"
    return "zstd" if head == b"\x28\xb5\x2f\xfd" or skippable else ""


def blocks(path: Path, *, limit: int, start: int = 0) -> Iterator[bytes]:
    """The content from byte ``start`` on, inflated; :class:`MalformedFile` where it is broken, ends early, or is more
    than ``limit`` bytes.
    """
    compression = compression_of(path)
    with path.open("rb") as file:
        if not compression:
            file.seek(start)
            yield from _bounded(_plain(file), limit - start, limit)
            return
        inflated = _gzip(file) if compression == "gzip" else _zstd(file)
        yield from _from(start, _bounded(_gathered(inflated), limit, limit))


def _plain(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        yield block


def _bounded(source: Iterable[bytes], left: int, limit: int) -> Iterator[bytes]:
    for block in source:
        left -= len(block)
        if left < 0:
            raise MalformedFile(f"The content is larger than {limit:,} bytes; split the file")
        yield block


def _from(start: int, source: Iterable[bytes]) -> Iterator[bytes]:
    for block in source:
        if start >= len(block):
            start -= len(block)
            continue
        yield block[start:]
        start = 0


def _gathered(source: Iterable[bytes]) -> Iterator[bytes]:
    """Small pieces joined, so that whoever looks for lines does not copy the same bytes again and again."""
    held: list[bytes] = []
    size = 0
    for piece in source:
        held.append(piece)
        size += len(piece)
        if size >= BLOCK:
            yield b"".join(held)
            held, size = [], 0
    if size:
        yield b"".join(held)


def _gzip(file: BinaryIO) -> Iterator[bytes]:
    """Members one after the other, as ``cat a.gz b.gz`` makes them; zero bytes between and behind are padding."""
    inflater = None
    raw = b""
    try:
        while raw or (raw := file.read(BLOCK)):
            if inflater is None:
                raw = raw.lstrip(b"\0")
                if not raw:
                    continue
                inflater = zlib.decompressobj(31)
            yield inflater.decompress(raw, BLOCK)
            raw = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            if inflater.eof:
                inflater = None
        if inflater is not None:
            yield inflater.flush()
            if not inflater.eof:
                raise MalformedFile(f"The gzip stream ends early, at byte {file.tell():,} of the file")
    except zlib.error as error:
        raise MalformedFile(f"The gzip stream is broken before byte {file.tell():,} of the file: {error}") from error


def _zstd(file: BinaryIO) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    frame = None
    try:
        while block := file.read(BLOCK):
            for at in range(0, len(block), _ZSTD_SLICE):
                data = block[at : at + _ZSTD_SLICE]
                while data:
                    frame = frame or decompressor.decompressobj()
                    yield frame.decompress(data)
                    data = frame.unused_data if frame.eof else b""
                    if frame.eof:
                        frame = None
    except zstandard.ZstdError as error:
        raise MalformedFile(f"The zstd stream is broken before byte {file.tell():,} of the file: {error}") from error
    if frame is not None:
        raise MalformedFile(f"The zstd stream ends early, at byte {file.tell():,} of the file")
