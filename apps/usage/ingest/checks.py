"""What may not be counted, and why: code, sentence and pointer, by position in the batch."""

from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any
from uuid import UUID

import numpy as np

from apps.projects.contracts import KeyContext
from apps.usage.contracts import EventCore, Rejection
from apps.usage.ingest.batch import DAY_US, Columns, Ints, Window
from apps.usage.ingest.decode import MAX_METADATA_BYTES
from apps.usage.ingest.nesting import MAX_DEPTH, too_deep
from apps.usage.ingest.parse import is_uuid, parse_uuid

__all__ = ["Problems", "find_problems", "nano_of", "owner_problems", "rejections", "value_problems"]

Problems = dict[int, tuple[str, str, str]]


# People of an organisation by the ids that name them.
Members = dict[str, UUID]


def find_problems(columns: Columns, key: KeyContext, window: Window, micros: Ints, members: Members) -> Problems:
    """Code, sentence and pointer of what may not be counted, by position; ``members`` are the organisation's."""
    problems: Problems = {}
    if micros.min() < window.past_edge or micros.max() > window.future_edge:
        _check_window(micros, window, problems)
    problems |= owner_problems(columns, key)
    problems |= value_problems(columns, [members])
    return problems


def owner_problems(columns: Columns, key: KeyContext) -> Problems:
    """Events of another organisation or project than the key's."""
    problems: Problems = {}
    _check_owner(columns["org_id"], key.org_id, "org", problems)
    _check_owner(columns["project_id"], key.project_id, "project", problems)
    return problems


def value_problems(columns: Columns, known: Iterable[Members]) -> Problems:
    """What is wrong whoever sent it and whenever; ids of ``known`` people are right."""
    problems: Problems = {}
    if not columns.all_none("user_id"):
        _check_users(columns, known, problems)
    if not columns.all_none("cost_usd"):
        _check_costs(columns["cost_usd"], problems)
    _check_metadata(columns, problems)
    return problems


def rejections(events: Sequence[EventCore], problems: Problems, places: list[int] | None) -> list[Rejection]:
    """The problems at their places in what was sent."""
    where = places if places is not None else range(len(events))
    return [
        Rejection(where[i], events[i].event_id[:100], code, detail, f"/events/{where[i]}{pointer}")
        for i, (code, detail, pointer) in sorted(problems.items())
    ]


def _check_window(micros: Ints, window: Window, problems: Problems) -> None:
    days = window.past // DAY_US
    for position in np.flatnonzero(micros < window.past_edge).tolist():
        problems[position] = ("timestamp_too_old", f"must be at most {days} days old", "/timestamp")
    for position in np.flatnonzero(micros > window.future_edge).tolist():
        problems[position] = ("timestamp_in_future", "must be at most 5 minutes ahead of our clock", "/timestamp")


def _check_owner(values: tuple[str | None, ...], owner: UUID, name: str, problems: Problems) -> None:
    """``org_id`` and ``project_id``, where given, must be the key's."""
    same = values.count(str(owner)) if values[0] is not None else 0
    if same == len(values) or same + values.count(None) == len(values):
        return
    given = set(values)
    verdicts: dict[str | None, tuple[str, str, str] | None] = {None: None}
    for value in given - {None}:
        parsed = parse_uuid(value)
        if parsed is None:
            verdicts[value] = ("invalid_id", "must be a UUID", f"/{name}_id")
        elif parsed != owner:
            verdicts[value] = (f"foreign_{name}", f"the key belongs to another {name}", f"/{name}_id")
        else:
            verdicts[value] = None
    for position, value in enumerate(values):
        if verdict := verdicts[value]:
            problems[position] = verdict


def _check_users(columns: Columns, known: Iterable[Members], problems: Problems) -> None:
    unknown: set[str | None] = set(columns.coded("user_id")[0])
    for members in known:
        unknown = unknown.difference(members)
    bad = {value for value in unknown if value is not None and not (len(value) <= 36 and _is_uuid(value))}
    if bad:
        for position, value in enumerate(columns["user_id"]):
            if value in bad:
                problems[position] = ("invalid_id", "must be a UUID or null", "/user_id")


# The same people come again and again.
_is_uuid = lru_cache(maxsize=4096)(is_uuid)


def _check_costs(values: tuple[Any, ...], problems: Problems) -> None:
    for position, value in enumerate(values):
        if value is None or (type(value) is float and 0 <= value < 1e9):
            continue
        if nano_of(value) is None:
            problems[position] = ("invalid_cost", "must be an amount in USD from 0 to 1,000,000,000", "/cost_usd")


def nano_of(value: float | int | str) -> int | None:
    """The amount in nano-USD, half-even, or None where it is none."""
    try:
        amount = (
            Decimal(value if isinstance(value, str) else repr(value))
            if isinstance(value, str | float)
            else Decimal(value)
        )
        if not amount.is_finite() or not 0 <= amount <= 10**9:
            return None
        return round(amount * 10**9)
    except (InvalidOperation, ValueError):
        return None


def _check_metadata(columns: Columns, problems: Problems) -> None:
    """Objects of a bounded size and depth; ``123`` is an opening brace."""
    for position in too_deep(columns.metadata):
        problems[position] = ("too_deep", f"must be nested at most {MAX_DEPTH} levels deep", "/metadata")
    if columns.objects_only and columns.metadata.lengths.max() <= MAX_METADATA_BYTES:
        return
    for position, value in enumerate(columns.metadata_texts):
        if value and value[0] != 123:
            problems[position] = ("invalid_type", "must be an object", "/metadata")
        elif len(value) > MAX_METADATA_BYTES:
            problems[position] = ("too_long", f"must have at most {MAX_METADATA_BYTES:,} bytes", "/metadata")
