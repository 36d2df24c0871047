"""From a chunk's records to events: typed, with ids, and each that is none with its line and the reason."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

import msgspec

from apps.usage.contracts import EventCore, EventIn, Rejection
from apps.usage.imports.csv_rows import Header, RowError
from apps.usage.imports.lines import MAX_RECORD_BYTES, Chunk
from apps.usage.ingest.decode import explain, may_hold_nul

__all__ = ["Parsed", "parse_chunk"]

_IDS = UUID("5f0d7b6e-3c55-5f0a-8d53-0c8a7c1c7b11")


class _Event(EventIn, forbid_unknown_fields=True, kw_only=True, gc=False):
    """An event whose id may be missing."""

    event_id: str | None = None  # type: ignore[assignment]


class _Peek(msgspec.Struct, gc=False):
    event_id: Any = None


_core = msgspec.json.Decoder(EventCore)
_event = msgspec.json.Decoder(_Event)
_peek = msgspec.json.Decoder(_Peek)


@dataclass(slots=True)
class Parsed:
    """Events with the lines they came from, what was refused (``index`` is its line), and the chunk's digest."""

    digest: bytes
    events: Sequence[EventCore] = ()
    places: list[int] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    check_nul: bool = False


def parse_chunk(chunk: Chunk, *, header: Header | None, content: bytes) -> Parsed:
    """Read a chunk of a file whose content has the SHA-256 ``content``.

    An event without an id gets one that follows from the content and its line, so it is the same whenever the file is
    read again. Such a chunk belongs to its file: the same lines elsewhere are other events. Chunks whose events all
    bring their ids are the same chunk in every file.
    """
    parsed = Parsed(b"")
    lines, places = _texts(chunk, header, parsed)
    anonymous = _decode(lines, places, content, parsed)
    parsed.check_nul = any(map(may_hold_nul, lines))
    context = [",".join(header.names).encode()] if header else [b""]
    if anonymous:
        context.append(content + str(chunk.records[0].line).encode())
    digest = hashlib.sha256(b"\n".join(context) + b"\0")
    for record in chunk.records:
        digest.update(b"\0long" if record.data is None else record.data)
        digest.update(b"\n")
    parsed.digest = digest.digest()
    return parsed


def _texts(chunk: Chunk, header: Header | None, parsed: Parsed) -> tuple[list[bytes], list[int]]:
    """The records as JSON, and their lines; what cannot be is refused."""
    texts, places = [], []
    for record in chunk.records:
        try:
            texts.append(_text(record.data, header))
            places.append(record.line)
        except RowError as error:
            code = "too_long" if record.data is None else "malformed_csv" if header else "malformed_json"
            parsed.rejected.append(Rejection(record.line, None, code, error.detail, error.pointer))
    return texts, places


def _text(data: bytes | None, header: Header | None) -> bytes:
    if data is None:
        raise RowError(f"The line has more than {MAX_RECORD_BYTES:,} bytes")
    if header is not None:
        return header.event(data)
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise RowError(f"The line is not UTF-8 (byte {error.start})") from error
        return data.removeprefix(b"\xef\xbb\xbf")
    return data


def _decode(lines: list[bytes], places: list[int], content: bytes, parsed: Parsed) -> bool:
    """Fill events and places; whether an event came without an id."""
    if not lines:
        return False
    body = b"\n".join(lines)
    for decoder in (_core, _event):
        try:
            events: list[Any] = decoder.decode_lines(body)
        except (msgspec.DecodeError, RecursionError):
            continue
        if len(events) == len(lines):
            break
    else:
        events, places = _one_by_one(lines, places, parsed)
    parsed.events, parsed.places = events, places
    anonymous = False
    for place, event in zip(places, events, strict=True):
        if event.event_id is None:
            event.event_id = str(uuid5(_IDS, f"{content.hex()}:{place}"))
            anonymous = True
    return anonymous


def _one_by_one(lines: list[bytes], places: list[int], parsed: Parsed) -> tuple[list[Any], list[int]]:
    events, kept = [], []
    for line, place in zip(lines, places, strict=True):
        try:
            events.append(_event.decode(line))
            kept.append(place)
        except msgspec.ValidationError as error:
            code, detail, pointer = explain(error)
            parsed.rejected.append(Rejection(place, _id_in(line), code, detail, pointer))
        except (msgspec.DecodeError, RecursionError) as error:
            detail = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            parsed.rejected.append(Rejection(place, None, "malformed_json", detail, ""))
    return events, kept


def _id_in(line: bytes) -> str | None:
    try:
        found = _peek.decode(line).event_id
    except (msgspec.DecodeError, RecursionError):
        return None
    return found[:100] if isinstance(found, str) else None
