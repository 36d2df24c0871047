"""What usage is grouped and filtered by, as SQL over ``usage_who w``, ``usage_what t`` and what joins them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["DIMENSIONS", "WHAT_DIMENSIONS", "dimension_column", "dimension_conditions", "dimension_joins"]

# Ids are UUIDs and may be null; words are never null, empty stands for none.
# A person who was claimed for a member counts as that member, past and future.
_IDS = {
    "project": "w.project_id",
    "team": "w.team_id",
    "user": "coalesce(p.claimed_by, w.person_id)",
    "key": "w.key_id",
}
_WORDS = {
    "model": "t.model",
    "event_type": "t.event_type",
    "mcp_server": "t.mcp_server",
    "mcp_tool": "t.mcp_tool",
    "source": "t.source",
    "status": "t.status",
}
DIMENSIONS = (*_WORDS, *_IDS)
# Those of ``usage_what``; the others, and tags, are of ``usage_who``.
WHAT_DIMENSIONS = tuple(_WORDS)


def dimension_joins(names: Iterable[str]) -> str:
    """The joins that these dimensions need beyond ``w`` and ``t``."""
    wanted = list(names)
    tags = any(name.startswith("tag:") for name in wanted)
    return (
        ("LEFT JOIN usage_tagset g ON g.id = w.tagset " if tags else "")
        + ("LEFT JOIN usage_person p ON p.id = w.person_id " if "user" in wanted else "")
    )  # fmt: skip


def dimension_column(name: str, index: int, params: dict[str, Any]) -> str:
    """The expression of a dimension; null or empty where nothing is known. Adds what it needs to ``params``."""
    if name.startswith("tag:"):
        params[f"tag{index}"] = name.removeprefix("tag:")
        return f"g.tags->>%(tag{index})s"
    column = _WORDS.get(name)
    return column if column else f"({_IDS[name]})::text"


def dimension_conditions(
    filters: Mapping[str, Sequence[str]], params: dict[str, Any], *, first: int = 0
) -> list[str]:  # fmt: skip
    """One condition for each filter: one of its values, an empty one meaning "not known".

    ``first``: the number of the first one's parameters, where others of the same statement are in ``params`` already.
    """
    conditions = []
    for index, (name, values) in enumerate(filters.items(), first):
        params[f"f{index}"] = list(values)
        if name.startswith("tag:"):
            params[f"ftag{index}"] = name.removeprefix("tag:")
            column = f"coalesce(g.tags->>%(ftag{index})s, '')"
        else:
            column = _WORDS.get(name) or f"coalesce(({_IDS[name]})::text, '')"
        conditions.append(f"{column} = ANY(%(f{index})s)")
    return conditions
