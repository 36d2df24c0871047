"""Rows of CSV as the JSON that an event is sent as: the header names the fields, an empty cell is an absent one."""

import csv
import re
from typing import Any, get_args, get_type_hints

import orjson
from msgspec.structs import fields

from apps.usage.contracts import CacheCreation, EventIn, ServerToolUse
from apps.usage.imports.content import MalformedFile

__all__ = ["Header", "RowError"]

_NESTED = {"cache_creation": CacheCreation, "server_tool_use": ServerToolUse}
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_INTEGER = re.compile(r"-?\d{1,18}\Z")


class RowError(Exception):
    """Why a row is no event: sentence and pointer."""

    def __init__(self, detail: str, pointer: str = "") -> None:
        super().__init__(detail)
        self.detail, self.pointer = detail, pointer


def _counts() -> frozenset[str]:
    """Columns that hold whole numbers."""
    types = get_type_hints(EventIn)
    plain = {name for name, kind in types.items() if int in (kind, *get_args(kind)) and name != "cost_usd"}
    return frozenset(plain | {f"{name}.{f.name}" for name, kind in _NESTED.items() for f in fields(kind)})


_COUNTS = _counts()
_PLAIN = frozenset(f.name for f in fields(EventIn)) - _NESTED.keys()


class Header:
    """The columns of a file. Raises :class:`MalformedFile` with a sentence about the first that cannot be."""

    def __init__(self, line: bytes) -> None:
        if b"\r" in line.rstrip(b"\r"):
            raise MalformedFile("Its lines end with CR alone; save it with LF or CRLF as the ends of lines")
        try:
            names = [name.strip() for name in _cells(line.removeprefix(b"\xef\xbb\xbf"))]
        except RowError as error:
            raise MalformedFile(f"The header row cannot be read: {error.detail}") from error
        for number, name in enumerate(names, start=1):
            if not _is_column(name):
                separator = next((word for sign, word in _SEPARATORS.items() if len(names) == 1 and sign in name), "")
                raise MalformedFile(
                    f"The cells are separated by {separator}; commas are needed"
                    if separator
                    else f"Column {number} of the header row, {name[:100]!r}, is not a field of an event"
                    " (docs: Imports); the first row must name the columns"
                )
            if name in names[: number - 1]:
                raise MalformedFile(f"The header row names {name[:100]!r} twice")
        for name in ("timestamp", "event_type"):
            if name not in names:
                raise MalformedFile(f"The header row does not name {name!r}, which every event needs")
        self.names = names

    def event(self, row: bytes) -> bytes:
        """The row as JSON of one event, on one line; :class:`RowError` where it cannot be."""
        cells = _cells(row)
        if len(cells) != len(self.names):
            raise RowError(f"The row has {len(cells)} cells, the header {len(self.names)}")
        event: dict[str, Any] = {}
        metadata: dict[str, Any] = {}
        for name, cell in zip(self.names, cells, strict=True):
            if cell == "":
                continue
            first, _, key = name.partition(".")
            if first == "metadata":
                metadata = {**metadata, key: cell} if key else {**_object(cell), **metadata}
            elif key:
                event.setdefault(first, {})[key] = _number(cell)
            else:
                event[name] = _number(cell) if name in _COUNTS else cell
        if metadata:
            event["metadata"] = metadata
        try:
            return orjson.dumps(event)
        except orjson.JSONEncodeError as error:
            # It writes a fourth of the depth that it reads.
            raise RowError("nested too deeply", "/metadata") from error


def _cells(row: bytes) -> list[str]:
    try:
        return next(csv.reader([row.decode()], strict=True), [])
    except UnicodeDecodeError as error:
        raise RowError(f"The row is not UTF-8 (byte {error.start})") from error
    except csv.Error as error:
        raise RowError(f"The row cannot be read as CSV: {error}") from error


def _is_column(name: str) -> bool:
    first, dot, key = name.partition(".")
    if first == "metadata":
        return not dot or bool(key)
    return name in _COUNTS if dot else name in _PLAIN


def _number(cell: str) -> int | str:
    """A whole number, or the text as it is, which then is refused as no number."""
    text = cell.strip()
    return int(text) if _INTEGER.match(text) and text.isascii() else cell


def _object(cell: str) -> dict[str, Any]:
    try:
        value = orjson.loads(cell)
    except orjson.JSONDecodeError as error:
        raise RowError(f"This is not JSON: {error}", "/metadata") from error
    if not isinstance(value, dict):
        raise RowError("must be an object", "/metadata")
    return value
