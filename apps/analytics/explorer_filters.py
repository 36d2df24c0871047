"""What the usage explorer can group and filter by: dimensions and their values, in words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from apps.analytics.explorer_query import GROUPS, IDS, MOST_VALUES, Query, amount_of, group_words
from apps.analytics.people import person_names
from apps.analytics.reads import read
from apps.projects.selectors import key_names, project_names
from apps.teams.selectors import team_names
from apps.usage.selectors import tag_keys

__all__ = ["Value", "dimensions_of", "filter_words", "value_names", "values_of"]


def value_names(org_id: UUID, by: str, keys: Iterable[str]) -> dict[str, str]:
    """What people call the values of a dimension; at most one query."""
    wanted = list(keys)
    if by.startswith("tag:"):
        return {key: key or f"No {by.removeprefix('tag:')}" for key in wanted}
    missing = GROUPS[by][1]
    if by not in IDS:
        return {key: key or missing for key in wanted}
    ids = [UUID(key) for key in wanted if key]
    known: Mapping[UUID, str]
    if by == "user":
        known = person_names(org_id, ids)
    else:
        known = {"project": project_names, "team": team_names, "key": key_names}[by](org_id)
    gone = f"{GROUPS[by][0]} {{}} (gone)"
    return {key: known.get(UUID(key), gone.format(key[:8])) if key else missing for key in wanted}


@dataclass(frozen=True, slots=True)
class Value:
    """A value that a filter may take."""

    key: str
    name: str
    amount: Decimal | int
    chosen: bool


def values_of(*, org_id: UUID, query: Query, name: str) -> list[Value]:
    """The values of a dimension in the view's period, largest first, and those chosen already."""
    others = {key: values for key, values in query.filters.items() if key != name}
    rows, _ = read(
        org_id, start=query.period.start, end=query.period.end, timezone=query.period.zone.key, by=name, filters=others
    )
    chosen = query.filters.get(name, ())
    amounts = {row.group or "": amount_of(row.figures, query.metric) for row in rows}
    ranked = sorted(amounts, key=lambda key: (-Decimal(amounts[key]), key))[:MOST_VALUES]
    keys = [*chosen, *(key for key in ranked if key not in chosen)]
    names = value_names(org_id, name, keys)
    return [Value(key, names[key], amounts.get(key, 0), key in chosen) for key in keys]


def filter_words(org_id: UUID, query: Query) -> list[dict[str, Any]]:
    """The filters as words, each with the address without it; one query for each kind of name at most."""
    chips = []
    for name, values in query.filters.items():
        names = value_names(org_id, name, values)
        chips.append(
            {
                "name": name,
                "label": group_words(name),
                "values": [names[value] for value in values],
                "without": query.address(filters=query.with_filter(name, ())),
            }
        )
    return chips


def dimensions_of(org_id: UUID) -> dict[str, str]:
    """What usage can be grouped and filtered by here: dimension → words."""
    return {name: words for name, (words, _) in GROUPS.items()} | {f"tag:{key}": key for key in tag_keys(org_id)}
