"""From a body to typed events.

The whole batch is decoded in one call; only a batch in which something is wrong is looked at item by item, so that
one bad event never costs the others.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from apps.core.errors import BadRequest, PayloadTooLarge, ValidationFailed
from apps.usage.contracts import EventCore, EventIn, Rejection

__all__ = ["MAX_EVENTS", "Decoded", "decode_batch", "decode_items", "decode_one"]

MAX_EVENTS = 5000
MAX_METADATA_BYTES = 16 * 1024

_LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "text/x-ndjson")


class _Batch(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    events: list[EventIn]


class _CoreBatch(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    events: list[EventCore]


class _RawBatch(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    events: list[msgspec.Raw]


class _Peek(msgspec.Struct, gc=False):
    event_id: Any = None


_batch = msgspec.json.Decoder(_Batch)
_core_batch = msgspec.json.Decoder(_CoreBatch)
_core_event = msgspec.json.Decoder(EventCore)
_raw_batch = msgspec.json.Decoder(_RawBatch)
_event = msgspec.json.Decoder(EventIn)
_events = msgspec.json.Decoder(list[EventIn])
_peek = msgspec.json.Decoder(_Peek)
_PATH = re.compile(r" - at `(?:key in )?\$([^`]*)`$")
_FIELD = re.compile(r"field `([^`]*)`")


@dataclass(slots=True)
class Decoded:
    """Typed events with their places in the batch; ``places`` is None where none is missing.

    ``may_hold_nul`` says that the body spells a NUL character somewhere, which PostgreSQL cannot hold.
    """

    events: Sequence[EventCore]
    places: list[int] | None = None
    rejected: list[Rejection] = field(default_factory=list)
    may_hold_nul: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the batch is missing or suspect."""
        return self.places is None and not self.rejected and not self.may_hold_nul


def decode_batch(body: bytes, content_type: str = "") -> Decoded:
    """``{"events": […]}`` or one event a line; raises a problem where nothing can be read or the size is wrong."""
    _check_text(body)
    kind = content_type.partition(";")[0].strip().lower()
    decoded = _decode_lines(body) if kind in _LINES else _decode_json(body)
    count = len(decoded.events) + len(decoded.rejected)
    if count > MAX_EVENTS:
        raise PayloadTooLarge(
            f"A batch may have at most {MAX_EVENTS:,} events; this one has {count:,}",
            code="too_many_events",
            errors=[{"pointer": "/events", "detail": f"at most {MAX_EVENTS:,} items"}],
        )
    if count == 0:
        raise ValidationFailed(
            "The batch is empty", code="empty_batch", errors=[{"pointer": "/events", "detail": "at least one item"}]
        )
    decoded.may_hold_nul = may_hold_nul(body)
    return decoded


def decode_one(body: bytes) -> EventCore:
    """The single event of ``/v1/track``; raises :class:`ValidationFailed` with a pointer where it is wrong."""
    _check_text(body)
    try:
        event = _core_event.decode(body)
    except (msgspec.DecodeError, RecursionError):
        event = _decode_full(body)
    problem = check_strings(event) if may_hold_nul(body) else None
    if problem:
        raise ValidationFailed(problem[1], code=problem[0], errors=[{"pointer": problem[2], "detail": problem[1]}])
    return event


def _decode_full(body: bytes) -> EventIn:
    try:
        return _event.decode(body)
    except msgspec.ValidationError as error:
        code, detail, pointer = explain(error)
        raise ValidationFailed(detail, code=code, errors=[{"pointer": pointer, "detail": detail}]) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise _malformed(error) from error


def may_hold_nul(body: bytes) -> bool:
    """Whether the body spells a NUL character; a body without a backslash is known by one quick look."""
    return b"\\" in body and b"\\u0000" in body


def _check_text(body: bytes) -> None:
    if body.isascii():
        return
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not UTF-8 (byte {error.start})", code="malformed_json") from error


def _malformed(error: Exception) -> BadRequest:
    text = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    return BadRequest(f"The body cannot be read as JSON: {text}", code="malformed_json")


def _decode_json(body: bytes) -> Decoded:
    # The narrow type first: where it does not do, that mostly shows in the first event.
    for decoder in (_core_batch, _batch):
        try:
            return Decoded(decoder.decode(body).events)
        except (msgspec.DecodeError, RecursionError):
            continue
    try:
        items = _raw_batch.decode(body).events
    except msgspec.ValidationError as error:
        if _looks_like_lines(body):
            return _decode_lines(body)
        code, detail, pointer = explain(error)
        raise ValidationFailed(
            'The body must be {"events": […]} or one event a line',
            code=code,
            errors=[{"pointer": pointer, "detail": detail}],
        ) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise _malformed(error) from error
    return decode_items([bytes(item) for item in items])


def _looks_like_lines(body: bytes) -> bool:
    """Whether the first line is a whole value and something follows: lines that were sent without saying so."""
    first, _, rest = body.strip().partition(b"\n")
    if not rest:
        return False
    try:
        msgspec.json.decode(first, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _decode_lines(body: bytes) -> Decoded:
    for decoder in (_core_event, _event):
        try:
            return Decoded(decoder.decode_lines(body))
        except (msgspec.DecodeError, RecursionError):
            continue
    lines = [line for line in body.split(b"\n") if line.strip()]
    decoded = decode_items(lines)
    if not decoded.events and all(r.code == "malformed_json" for r in decoded.rejected) and lines:
        raise BadRequest(f"No line can be read as JSON: {decoded.rejected[0].detail}", code="malformed_json")
    return decoded


def decode_items(items: list[bytes]) -> Decoded:
    """Each item for itself; a batch that is too long is only counted."""
    events: list[EventIn] = []
    places: list[int] = []
    rejected: list[Rejection] = []
    if len(items) > MAX_EVENTS:
        return Decoded([], rejected=[Rejection(i, None, "", "", "") for i in range(len(items))])
    for index, item in enumerate(items):
        try:
            events.append(_event.decode(item))
            places.append(index)
        except msgspec.ValidationError as error:
            code, detail, pointer = explain(error)
            rejected.append(Rejection(index, _peek_id(item), code, detail, f"/events/{index}{pointer}"))
        except (msgspec.DecodeError, RecursionError) as error:
            detail = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            rejected.append(Rejection(index, None, "malformed_json", detail, f"/events/{index}"))
    return Decoded(events, places, rejected)


def _peek_id(item: bytes) -> str | None:
    try:
        found = _peek.decode(item).event_id
    except (msgspec.DecodeError, RecursionError):
        return None
    return found[:100] if isinstance(found, str) else None


def explain(error: msgspec.ValidationError) -> tuple[str, str, str]:
    """(code, sentence, pointer relative to the decoded value) of what msgspec says."""
    message = str(error)
    pointer = ""
    if found := _PATH.search(message):
        pointer = re.sub(r"\[(\d+)\]", r"/\1", found[1]).replace(".", "/")
        message = message[: found.start()]
    named = _FIELD.search(message)
    if "unknown field" in message and named:
        name = named[1].replace("~", "~0").replace("/", "~1")
        return "unknown_field", f"{named[1]!r} is not a field of an event", f"{pointer}/{name}"
    if "missing required field" in message and named:
        return "missing_field", f"{named[1]!r} is required", f"{pointer}/{named[1]}"
    if ">= 0" in message:
        return "negative_number", "must not be negative", pointer
    if "<=" in message and "length" not in message:
        return "out_of_range", "must be at most 2,000,000,000", pointer
    if "length" in message:
        return "too_long", message, pointer
    if "Invalid enum value" in message:
        return "invalid_choice", message, pointer
    return "invalid_type", message, pointer


_STRINGS = (
    "model", "session_id", "request_id", "error_type", "stop_reason", "service_tier", "inference_geo", "speed",
    "mcp_server", "mcp_tool", "source",
)  # fmt: skip


def check_strings(event: EventCore) -> tuple[str, str, str] | None:
    """(code, sentence, pointer) where a string holds a NUL character."""
    for name in (*_STRINGS, *(("user_email", "user_name") if hasattr(event, "user_email") else ())):
        if "\0" in (getattr(event, name, None) or ""):
            return "invalid_character", "must not hold NUL characters", f"/{name}"
    return None
