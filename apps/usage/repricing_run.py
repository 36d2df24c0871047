"""What the parts of a repricing share: the run as it stands, what it may price, present prices, differences."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt
from django.db import connection

from apps.core.errors import NotFound
from apps.usage.chunks import fetch
from apps.usage.drain.bounds import OTHER
from apps.usage.drain.rows import MOST_NANO
from apps.usage.pricing.book import PriceClass, get_book

__all__ = [
    "SELF_PRICED_SOURCES",
    "Ints",
    "Run",
    "What",
    "correct_sums",
    "load_run",
    "prices_of",
    "update_run",
    "whats_of",
]

# Their own figure is kept where it knows what the event does not tell (decision 0006).
SELF_PRICED_SOURCES: Final = ("claude_code",)

Ints = npt.NDArray[np.int64]


@dataclass(slots=True)
class Run:
    """A run as it stands."""

    id: UUID
    org_id: UUID | None
    model: str
    start_at: datetime | None
    end_at: datetime | None
    only_unpriced: bool
    state: str
    at_org: int
    at_chunk: int
    at_day: date | None
    started_at: datetime | None


@dataclass(frozen=True, slots=True)
class What:
    model: str
    price_class: PriceClass
    is_call: bool
    self_priced: bool


def whats_of(run: Run) -> dict[int, What]:
    """What the run may price. Where a name was one too many (apps.usage.drain.bounds), the price it had stays."""
    rows = fetch(
        "SELECT id, model, service_tier, batch, geo, speed, context_band, event_type, source FROM usage_what"
        " WHERE model <> '' AND (%(model)s = '' OR model = %(model)s)"
        " AND %(other)s NOT IN (model, service_tier, geo, speed)",
        {"model": run.model, "other": OTHER},
    )
    return {
        row[0]: What(row[1], PriceClass(*row[2:7]), row[7] == "api_call", row[8] in SELF_PRICED_SOURCES) for row in rows
    }


def load_run(run_id: UUID) -> Run:
    rows = fetch(
        "SELECT id, org_id, model, start_at, end_at, only_unpriced, state, at_org, at_chunk, at_day, started_at"
        " FROM usage_reprice WHERE id = %s",
        (run_id,),
    )
    if not rows:
        raise NotFound("There is no such repricing")
    return Run(*rows[0])


def update_run(run: Run, *, add: dict[str, int] | None = None, **values: Any) -> None:
    sets = [f"{name} = %({name})s" for name in values] + [f"{name} = {name} + %({name})s" for name in add or {}]
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE usage_reprice SET {', '.join(sets)} WHERE id = %(run)s",  # noqa: S608
            {**values, **(add or {}), "run": run.id},
        )


def prices_of(
    org_id: UUID, what: Ints, ts: Ints, columns: dict[str, Any], whats: dict[int, What]
) -> tuple[Ints, npt.NDArray[np.bool_]]:
    used, place = np.unique(what, return_inverse=True)
    rows = [whats[int(number)] for number in used]
    tokens = {
        "input": columns["input"], "output": columns["output"], "cache_read": columns["cache_read"],
        "cache_write_5m": columns["write_5m"], "cache_write_1h": columns["write_1h"], "web_search": columns["web"],
    }  # fmt: skip
    return get_book().price_columns(
        org_id, [row.model for row in rows], place, [row.price_class for row in rows], place, ts,
        {kind: np.asarray(column, dtype=np.int64) for kind, column in tokens.items()},
    )  # fmt: skip


def correct_sums(org: int, minute: Ints, who: Ints, what: Ints, cost: Ints, unpriced: Ints) -> None:
    """The differences, as deltas of no events."""
    # A difference that no sum may hold has a row of its own.
    alone = np.where(np.abs(cost) > MOST_NANO, np.arange(1, len(cost) + 1), 0)
    keys, place = np.unique(np.stack((minute, who, what, alone)), axis=1, return_inverse=True)
    place = place.reshape(-1)
    costs, counts = np.zeros(keys.shape[1], dtype=np.int64), np.zeros(keys.shape[1], dtype=np.int64)
    np.add.at(costs, place, cost)
    np.add.at(counts, place, unpriced)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_delta_pack (minute, org, keys, who, what, cost_nano, unpriced)"
            " SELECT to_timestamp(m * 60), %s, count(*), array_agg(who), array_agg(what), array_agg(cost),"
            " array_agg(unpriced) FROM unnest(%s::bigint[], %s::integer[], %s::integer[], %s::bigint[], %s::integer[])"
            " AS d (m, who, what, cost, unpriced) WHERE cost <> 0 OR unpriced <> 0 GROUP BY m",
            [org, *(row.tolist() for row in keys[:3]), costs.tolist(), counts.tolist()],
        )
        cursor.execute("UPDATE usage_org SET past_version = past_version + 1 WHERE id = %s", [org])
