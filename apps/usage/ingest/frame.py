"""A frame: one accepted batch, packed for the inbox.

Layout: ``length u32 | header length u32 | header (msgpack) | records (n × 80 bytes) | texts``. The header holds the
batch's own small dictionaries (who, what, sessions, people); records point into them by position. The texts (request
id, detail, metadata) are columns of :mod:`apps.usage.texts`.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import msgspec
import numpy as np
import numpy.typing as npt

from apps.usage.chunks import request_hash
from apps.usage.texts import TextColumns, concatenated, joined
from apps.usage.texts import pack as pack_texts
from apps.usage.texts import unpack as unpack_texts

__all__ = ["NO_SESSION", "RECORD", "Frame", "Header", "WhatKey", "WhoKey", "pack", "unpack"]

RECORD = np.dtype(
    [
        ("id", "V16"), ("ts", "<i8"), ("cost", "<i8"), ("reported", "<i8"),
        ("who", "<u2"), ("what", "<u2"), ("session", "<u2"), ("flags", "u1"), ("stop", "u1"),
        ("input", "<i4"), ("output", "<i4"), ("cache_read", "<i4"), ("write_5m", "<i4"), ("write_1h", "<i4"),
        ("web", "<i4"), ("latency", "<i4"), ("request", "<u4"),
    ]
)  # fmt: skip
# Frames that version 1 left in the inbox have the length of an event's three texts in the place of ``request``, and
# the texts event by event: a 4-byte big-endian length (-1: none) and the bytes of each.
VERSION = 2
NO_SESSION = 0xFFFF
_LENGTHS = struct.Struct("<II")

# project, team, person, key as 16 bytes or None; tags as ((key, value), …) in the order of keys, or None
WhoKey = tuple[bytes | None, bytes | None, bytes | None, bytes | None, tuple[tuple[str, str], ...] | None]
# event type, model, service tier, batch, geo, speed, context band, MCP server, MCP tool, source, status
WhatKey = tuple[str, str, str, bool, str, str, str, str, str, str, str]


class Header(msgspec.Struct, array_like=True, gc=False):
    """The dictionaries of a frame. ``sessions`` are names; ``people`` (id, e-mail, name) are the unclaimed ones."""

    events: int
    whos: list[WhoKey]
    whats: list[WhatKey]
    sessions: list[str]
    people: list[tuple[bytes, str, str]]
    version: int = 1


@dataclass(slots=True)
class Frame:
    """A frame read back."""

    header: Header
    records: npt.NDArray[np.void]
    texts: TextColumns


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Header)


def pack(header: Header, records: npt.NDArray[np.void] | bytes, texts: TextColumns) -> bytes:
    """The bytes of a frame."""
    head = _encoder.encode(header)
    body, tail = bytes(records), pack_texts(texts)
    return b"".join((_LENGTHS.pack(8 + len(head) + len(body) + len(tail), len(head)), head, body, tail))


def unpack(*rows: bytes | memoryview) -> Iterator[Frame]:
    """The frames of inbox rows of one organisation, oldest first; small ones (single events) as one.

    A frame by itself costs the drain as much as the columns of a thousand events.
    """
    small: list[tuple[Header, memoryview, memoryview]] = []
    events = 0
    for header, records, texts in chain.from_iterable(_split(memoryview(row)) for row in rows):
        if header.version == VERSION and header.events <= _SMALL:
            if events + header.events > _MOST_JOINED:
                yield _together(small)
                small, events = [], 0
            small.append((header, records, texts))
            events += header.events
            continue
        if small:
            yield _together(small)
            small, events = [], 0
        columns = np.frombuffer(records, dtype=RECORD)
        if header.version == VERSION:
            yield Frame(header, columns, unpack_texts(header.events, texts))
        else:
            yield _upgraded(header, columns, texts)
    if small:
        yield _together(small)


def _split(view: memoryview) -> Iterator[tuple[Header, memoryview, memoryview]]:
    """Each frame's header, records and texts."""
    while view:
        total, head = _LENGTHS.unpack_from(view)
        header = _decoder.decode(view[8 : 8 + head])
        end = 8 + head + header.events * RECORD.itemsize
        yield header, view[8 + head : end], view[end:total]
        view = view[total:]


# Frames of up to so many events are joined, into one of up to so many: positions in its dictionaries are 16 bits.
_SMALL = 250
_MOST_JOINED = 20_000


def _together(small: list[tuple[Header, memoryview, memoryview]]) -> Frame:
    """Frames as one: their dictionaries one after the other, positions moved on by those before."""
    if len(small) == 1:
        header, records, texts = small[0]
        return Frame(header, np.frombuffer(records, dtype=RECORD), unpack_texts(header.events, texts))
    one = Header(0, [], [], [], [], VERSION)
    sizes, who_at, what_at, session_at = [], [], [], []
    for header, _, _ in small:
        sizes.append(header.events)
        who_at.append(len(one.whos))
        what_at.append(len(one.whats))
        session_at.append(len(one.sessions))
        one.events += header.events
        one.whos += header.whos
        one.whats += header.whats
        one.sessions += header.sessions
        one.people += header.people
    columns = np.frombuffer(b"".join(records for _, records, _ in small), dtype=RECORD).copy()
    columns["who"] += np.repeat(np.array(who_at, dtype=np.uint16), sizes)
    columns["what"] += np.repeat(np.array(what_at, dtype=np.uint16), sizes)
    inside = columns["session"] != NO_SESSION
    columns["session"][inside] += np.repeat(np.array(session_at, dtype=np.uint16), sizes)[inside]
    joined_texts = concatenated([(header.events, unpack_texts(header.events, texts)) for header, _, texts in small])
    return Frame(one, columns, joined_texts)


def _upgraded(header: Header, records: npt.NDArray[np.void], tails: memoryview) -> Frame:
    """A frame of version 1 as today's."""
    texts: tuple[list[bytes], list[bytes], list[bytes]] = ([], [], [])
    at = 0
    for _ in range(header.events):
        for column in texts:
            length = max(0, int.from_bytes(tails[at : at + 4], "big", signed=True))
            column.append(bytes(tails[at + 4 : at + 4 + length]))
            at += 4 + length
    records = records.copy()
    records["request"] = [request_hash(value) if value else 0 for value in texts[0]]
    records["flags"] |= np.array([16 if value else 0 for value in texts[1]], dtype=np.uint8)
    return Frame(header, records, tuple(joined(column) if any(column) else None for column in texts))  # type: ignore[arg-type]
