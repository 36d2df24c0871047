"""The parameters of lists of events and sessions: filters, a period, a page. Shared with the live socket."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import QueryDict
from django.utils.dateparse import parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.response import Response

from apps.core.errors import FieldError, ValidationFailed
from apps.core.pagination import decode_cursor, read_limit
from apps.core.tenancy import require_org_id
from apps.usage.selectors.aggregate import tag_keys
from apps.usage.selectors.dimensions import DIMENSIONS
from apps.usage.selectors.plan import EVENT_FIELDS

__all__ = ["EVENT_FILTERS", "Search", "after", "page", "page_parameters", "parameters", "read_filters", "read_search"]

EVENT_FILTERS = (*DIMENSIONS, *EVENT_FIELDS)
_FILTER = re.compile(r"^filter\[([^\]]+)\]$")
_PAGE = frozenset({"start", "end", "limit", "cursor"})


def parameters(what: str, names: Sequence[str]) -> list[OpenApiParameter]:
    """How a list's parameters stand in the OpenAPI document."""
    return [
        OpenApiParameter("start", OpenApiTypes.DATETIME, description=f"{what} at this moment or later."),
        OpenApiParameter("end", OpenApiTypes.DATETIME, description=f"{what} before this moment."),
        OpenApiParameter(
            "filter", OpenApiTypes.OBJECT, style="deepObject", explode=True,
            description=f"`filter[{names[0]}]=a,b`: one of these values, an empty one meaning not known. By"
            f" {', '.join(names)}.",
        ),
        *page_parameters(),
    ]  # fmt: skip


def page_parameters() -> list[OpenApiParameter]:
    """How ``limit`` and ``cursor`` do."""
    return [
        OpenApiParameter("limit", OpenApiTypes.INT, description="1 to 200, default 50."),
        OpenApiParameter("cursor", OpenApiTypes.STR, description="Of the page before."),
    ]


@dataclass(frozen=True, slots=True)
class Search:
    """What a list was asked for."""

    filters: dict[str, list[str]]
    limit: int
    start: datetime | None
    end: datetime | None


def read_search(params: QueryDict, names: Sequence[str], *, tags: bool) -> Search:
    """The parameters of a list; :class:`ValidationFailed` that names every wrong one."""
    problems: list[FieldError] = []
    filters = _filters(params, names, tags=tags, others=_PAGE, problems=problems)
    start, end = _moment(params, "start", problems), _moment(params, "end", problems)
    if start is not None and end is not None and start >= end:
        problems.append({"pointer": "end", "detail": "after start"})
    if problems:
        raise ValidationFailed("Some parameters are not valid", errors=problems)
    return Search(filters, read_limit(params), start, end)


def read_filters(params: QueryDict, *, others: Collection[str]) -> dict[str, list[str]]:
    """The filters of events alone, beside parameters of the names ``others``; refuses as :func:`read_search` does."""
    problems: list[FieldError] = []
    filters = _filters(params, EVENT_FILTERS, tags=True, others=others, problems=problems)
    if problems:
        raise ValidationFailed("Some parameters are not valid", errors=problems)
    return filters


def _filters(
    params: QueryDict, names: Sequence[str], *, tags: bool, others: Collection[str], problems: list[FieldError]
) -> dict[str, list[str]]:
    filters: dict[str, list[str]] = {}
    # Asked only of who filters by one, or is told what there is.
    known_tags: list[str] | None = None if tags else []
    for name in params:
        if match := _FILTER.match(name):
            filters[match[1]] = [value for raw in params.getlist(name) for value in raw.split(",")]
            if match[1] not in names and known_tags is None:
                known_tags = [f"tag:{key}" for key in tag_keys(require_org_id())]
            if match[1] not in names and match[1] not in (known_tags or []):
                problems.append({"pointer": name, "detail": f"not one of {', '.join([*names, *(known_tags or [])])}"})
            elif any("\0" in value or len(value) > 256 for value in filters[match[1]]):
                problems.append({"pointer": name, "detail": "values of at most 256 characters"})
        elif name not in others:
            problems.append({"pointer": name, "detail": "this parameter is not known here"})
    return filters


def _moment(params: QueryDict, name: str, problems: list[FieldError]) -> datetime | None:
    raw = params.get(name)
    if not raw:
        return None
    try:
        # A plus sign of an offset arrives as a space where it was not escaped.
        moment = parse_datetime(raw.replace(" ", "+"))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not 2000 <= moment.year <= 2100:
        problems.append({"pointer": name, "detail": "an RFC 3339 moment with its offset, from 2000 to 2100"})
        return None
    return moment


def after(params: QueryDict, order: Sequence[str], read: Callable[[str], Any]) -> tuple[datetime, Any] | None:
    """The moment and the id that a cursor stands for."""
    raw = params.get("cursor")
    if not raw:
        return None
    at, ident = decode_cursor(raw, order=order)
    return datetime.fromisoformat(at or ""), read(ident or "")


def page(bodies: Sequence[Mapping[str, Any]], limit: int, cursor: Callable[[int], str]) -> Response:
    """The answer of a list that was asked for one row more than its page holds."""
    more = len(bodies) > limit
    return Response({"data": bodies[:limit], "next_cursor": cursor(limit - 1) if more else None})
