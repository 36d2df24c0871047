"""Keyset pages with an opaque, signed cursor: ``?limit=`` (1–200, default 50) and ``?cursor=``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from django.core import signing
from django.core.exceptions import ValidationError
from django.db.models import Field, Model, Q, QuerySet

from apps.core.errors import ValidationFailed

__all__ = ["DEFAULT_LIMIT", "MAX_LIMIT", "Page", "decode_cursor", "encode_cursor", "paginate", "read_limit"]

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
_SALT = "mindweave.cursor"

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """The rows of one page and the cursor of the next, or None at the end."""

    rows: list[M]
    next_cursor: str | None

    def body(self, render: Callable[[M], Any]) -> dict[str, Any]:
        """The answer of every list: ``{"data": [...], "next_cursor": ...}``."""
        return {"data": [render(row) for row in self.rows], "next_cursor": self.next_cursor}


def read_limit(query: Mapping[str, str]) -> int:
    """``limit`` of a query string; :class:`ValidationFailed` outside 1–200."""
    raw = query.get("limit")
    if raw is None:
        return DEFAULT_LIMIT
    # isdecimal() admits other scripts' digits and int() any length: bound both.
    if not (raw.isascii() and raw.isdecimal() and len(raw) <= 4 and 1 <= int(raw) <= MAX_LIMIT):
        raise ValidationFailed(
            "limit is not valid", errors=[{"pointer": "limit", "detail": f"a whole number from 1 to {MAX_LIMIT}"}]
        )
    return int(raw)


def encode_cursor(values: Sequence[Any], *, order: Sequence[str]) -> str:
    """An opaque cursor after the row with these key values; it fits only the same order."""
    return signing.dumps([str(v) if v is not None else None for v in values], salt=f"{_SALT}:{','.join(order)}")


def decode_cursor(raw: str, *, order: Sequence[str]) -> list[str | None]:
    """What :func:`encode_cursor` was given, as strings; :class:`ValidationFailed` for any other cursor."""
    try:
        values = signing.loads(raw, salt=f"{_SALT}:{','.join(order)}")
    except (signing.BadSignature, ValueError, TypeError):
        values = None
    if not isinstance(values, list) or len(values) != len(order):
        raise ValidationFailed(
            "cursor is not valid", errors=[{"pointer": "cursor", "detail": "not a cursor of this list"}]
        )
    return values


def paginate(
    queryset: QuerySet[M], query: Mapping[str, str], *, order: Sequence[str] = ("-created_at", "-id")
) -> Page[M]:
    """One page of ``queryset`` in a stable ``order`` whose last field is unique; columns must not be null."""
    limit = read_limit(query)
    if raw := query.get("cursor"):
        values = decode_cursor(raw, order=order)
        queryset = queryset.filter(_after(queryset.model, order, values))
    rows = list(queryset.order_by(*order)[: limit + 1])
    if len(rows) <= limit:
        return Page(rows, None)
    rows = rows[:limit]
    last = rows[-1]
    return Page(rows, encode_cursor([getattr(last, name.lstrip("-")) for name in order], order=order))


def _after(model: type[Model], order: Sequence[str], values: Sequence[str | None]) -> Q:
    condition = Q()
    equal: dict[str, Any] = {}
    for name, raw in zip(order, values, strict=True):
        field = name.lstrip("-")
        try:
            value = cast("Field[Any, Any]", model._meta.get_field(field)).to_python(raw)
        except ValidationError as error:
            raise ValidationFailed("cursor is not valid") from error
        condition |= Q(**equal, **{f"{field}__{'lt' if name.startswith('-') else 'gt'}": value})
        equal[field] = value
    # Said once more for the first field alone: an index begins there only for what holds whatever else does.
    first, name = next(iter(equal.items())), order[0]
    return Q(**{f"{first[0]}__{'lte' if name.startswith('-') else 'gte'}": first[1]}) & condition
