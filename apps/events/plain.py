"""Saying soon of most data that they fit their schema: jsonschema takes a third of a millisecond for some fifty names.

Only the plainest of JSON Schema is known here: objects that name all their properties, arrays and values of one type,
a minimum, ids and times as we write them, null beside one of these. What is not found to fit by that, or has a schema
with more in it, is for jsonschema to judge.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

__all__ = ["Check", "check_of"]

# True: it fits. False: it may or may not.
Check = Callable[[Any], bool]

_TYPES: Final[Mapping[str, type]] = {"string": str, "integer": int, "boolean": bool}
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII).fullmatch
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?Z", re.ASCII).fullmatch


def _is_id(value: Any) -> bool:
    return type(value) is str and _ID(value) is not None


def _is_time(value: Any) -> bool:
    if type(value) is not str or _TIME(value) is None:
        return False
    try:
        datetime.fromisoformat(value)
        return True
    except ValueError:
        return False


_FORMATS: Final[Mapping[str, Check]] = {"uuid": _is_id, "date-time": _is_time}


def check_of(schema: Mapping[str, Any]) -> Check | None:
    """A quick check of values as JSON has them; None where the schema is not one of the plain ones."""
    match schema:
        case {"type": "object", "properties": properties, "additionalProperties": False, **more} if not (
            more.keys() - {"required"}
        ):
            return _object(properties, frozenset(more.get("required", ())))
        case {"type": "array", "items": {"type": str(kind), **beside}, **more} if kind in _TYPES and not beside | more:
            return _array(_TYPES[kind])
        case {"type": "integer", "minimum": least, **more} if not more:
            return lambda value: type(value) is int and value >= least
        case {"type": "string", "format": str(kind), **more} if kind in _FORMATS and not more:
            return _FORMATS[kind]
        case {"type": [str(kind), "null"], **more}:
            check = check_of({"type": kind, **more})
            return None if check is None else lambda value: value is None or check(value)
        case {"type": str(kind), **more} if kind in _TYPES and not more:
            wanted = _TYPES[kind]
            return lambda value: type(value) is wanted
    return None


def _array(wanted: type) -> Check:
    types = {wanted}
    return lambda value: type(value) is list and types.issuperset(map(type, value))


def _object(properties: Mapping[str, Any], required: frozenset[str]) -> Check | None:
    checks: dict[str, Check] = {}
    for name, schema in properties.items():
        check = check_of(schema)
        if check is None:
            return None
        checks[name] = check

    def fits(value: Any) -> bool:
        if type(value) is not dict or not (required <= value.keys() <= checks.keys()):
            return False
        return all(checks[name](each) for name, each in value.items())

    return fits
