"""The pages whose address is their whole state, and the one form in which an address is kept and compared.

Periods stay as they are said (``28d``, ``month``), so that a kept view moves on with the days.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from django.http import QueryDict

from apps.analytics.explorer_query import query_of
from apps.analytics.period import DEFAULT, PERIODS
from apps.core.errors import ValidationFailed

__all__ = ["LONGEST", "PAGES", "StatePage", "normal", "normal_or_none", "page_of"]

LONGEST = 2000
# Where on a page somebody is, rather than what it shows.
_PASSING = {"page", "after", "add", "pick", "value", "id"}
_USAGE = {"metric", "by", "period", "grain", "view", "compare", "sort"}


@dataclass(frozen=True, slots=True)
class StatePage:
    """``clean`` puts the parameters that the page knows into their normal order and form."""

    key: str
    label: str
    clean: Callable[[QueryDict, Sequence[str] | None], str]


def _usage(params: QueryDict, tags: Sequence[str] | None) -> str:
    for name in params:
        dimension = name.removeprefix("filter[").removesuffix("]")
        if name not in _USAGE and name != f"filter[{dimension}]":
            raise _unknown(name)
    if tags is None:
        # What the address names is taken at its word: enough to compare two of them.
        said = [*(name.removeprefix("filter[").removesuffix("]") for name in params), params.get("by", "")]
        tags = [name.removeprefix("tag:") for name in said if name.startswith("tag:")]
    query = query_of(params, timezone="UTC", tags=tags)
    state = [pair for pair in parse_qsl(query.address(page=1)) if pair[0] != "period"]
    return urlencode([("period", query.period.key), *state], safe="[],:")


def _fields(**known: Callable[[str], str]) -> Callable[[QueryDict, Sequence[str] | None], str]:
    """A page of plain parameters, each with what makes its value valid (empty: not there)."""

    def clean(params: QueryDict, tags: Sequence[str] | None) -> str:
        for name in params:
            if name not in known:
                raise _unknown(name)
        said = [(name, valid(params.get(name, ""))) for name, valid in known.items()]
        return urlencode([(name, value) for name, value in said if value])

    return clean


def _period(default: str) -> Callable[[str], str]:
    return lambda value: value if value in PERIODS else default


def _one_of(*words: str) -> Callable[[str], str]:
    return lambda value: value if value in words else ""


def _text(value: str) -> str:
    return value.replace("\0", "").strip()[:256]


def _id(value: str) -> str:
    try:
        return str(UUID(value))
    except ValueError:
        return ""


PAGES = {
    page.key: page
    for page in (
        StatePage("usage", "Usage", _usage),
        StatePage("costs", "Costs", _fields(period=_period("month"))),
        StatePage(
            "sessions",
            "Sessions",
            _fields(period=_period(DEFAULT), user=_id, project=_id, state=_one_of("active", "ended")),
        ),
        StatePage(
            "events",
            "Events",
            _fields(
                period=_period(DEFAULT), type=_one_of("api_call", "mcp_tool", "session"), status=_one_of("ok", "error"),
                user=_id, project=_id, model=_text, tool=_text, session=_text, request=_text,
            ),
        ),
    )
}  # fmt: skip


def page_of(key: str) -> StatePage:
    """The page of a key; :class:`ValidationFailed` where views of it cannot be kept."""
    if key not in PAGES:
        raise ValidationFailed(
            "The view is not valid", errors=[{"pointer": "/page", "detail": f"one of {', '.join(PAGES)}"}]
        )
    return PAGES[key]


def normal(page: str, query: str, *, tags: Sequence[str] | None = None) -> str:
    """The normal form of a page's query string; :class:`ValidationFailed` for what the page does not know.

    ``tags`` are the organisation's tag keys; left out, any is taken for one of them.
    """
    if len(query) > LONGEST:
        raise _wrong(f"at most {LONGEST} characters")
    try:
        params = QueryDict(query.lstrip("?"), mutable=True)
    except Exception as error:  # too many fields, or not text
        raise _wrong("not a query string") from error
    for name in _PASSING & set(params):
        del params[name]
    found = page_of(page).clean(params, tags)
    if len(found) > LONGEST:
        raise _wrong(f"at most {LONGEST} characters")
    return found


def normal_or_none(page: str, query: str) -> str | None:
    """:func:`normal` for an address that somebody is at, which may hold anything."""
    try:
        return normal(page, query)
    except ValidationFailed:
        return None


def _unknown(name: str) -> ValidationFailed:
    return _wrong(f"the page has no parameter {name[:60]!r}")


def _wrong(detail: str) -> ValidationFailed:
    return ValidationFailed("The view is not valid", errors=[{"pointer": "/query", "detail": detail}])
