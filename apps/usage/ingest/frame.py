"""A frame: one accepted batch, packed for the inbox.

Layout: ``length u32 | header length u32 | header (msgpack) | records (n × 84 bytes) | tails``. The header holds the
batch's own small dictionaries (who, what, sessions, people); records point into them by position. A tail is the end
of the event's row in PostgreSQL's binary COPY form (request id, detail, metadata), so that the drain only appends it.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["NO_SESSION", "RECORD", "Frame", "Header", "WhatKey", "WhoKey", "pack", "unpack"]

RECORD = np.dtype(
    [
        ("id", "V16"), ("ts", "<i8"), ("cost", "<i8"), ("reported", "<i8"),
        ("who", "<u2"), ("what", "<u2"), ("session", "<u2"), ("flags", "u1"), ("stop", "u1"),
        ("input", "<i4"), ("output", "<i4"), ("cache_read", "<i4"), ("write_5m", "<i4"), ("write_1h", "<i4"),
        ("web", "<i4"), ("latency", "<i4"), ("tail", "<i4"), ("request", "<u4"),
    ]
)  # fmt: skip
# Frames that an earlier version left in the inbox lack the hash of the request id.
_RECORDS = {1: np.dtype([(name, RECORD[name]) for name in RECORD.names or () if name != "request"]), 2: RECORD}
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
    """A frame read back; ``tails`` is the run of all tails, record ``tail`` is each one's length."""

    header: Header
    records: npt.NDArray[np.void]
    tails: memoryview


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Header)


def pack(header: Header, records: npt.NDArray[np.void], tails: bytes) -> bytes:
    """The bytes of a frame."""
    head = _encoder.encode(header)
    body = records.tobytes()
    return b"".join((_LENGTHS.pack(8 + len(head) + len(body) + len(tails), len(head)), head, body, tails))


def unpack(frames: bytes | memoryview) -> Iterator[Frame]:
    """The frames of an inbox row, oldest first."""
    view = memoryview(frames)
    while view:
        total, head = _LENGTHS.unpack_from(view)
        header = _decoder.decode(view[8 : 8 + head])
        kind = _RECORDS[header.version]
        end = 8 + head + header.events * kind.itemsize
        records = np.frombuffer(view[8 + head : end], dtype=kind)
        yield Frame(header, records if kind is RECORD else _upgraded(records), view[end:total])
        view = view[total:]


def _upgraded(records: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Records of an earlier version as today's."""
    out = np.zeros(len(records), dtype=RECORD)
    for name in records.dtype.names or ():
        out[name] = records[name]
    return out
