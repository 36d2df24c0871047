"""Raw events priced again, a chunk in one transaction: new costs, and the differences as rollup and session deltas."""

from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
from django.db import connection, transaction

from apps.usage.chunks import CHUNK_FIELDS, Chunk, at_micros, chunk_of, fetch, lock_costs, micros_of, replace_costs
from apps.usage.drain.rows import MOST_NANO, exact_sum
from apps.usage.ingest.what import COST_IS_REPORTED, PRICED, REPORTED, UNPRICED
from apps.usage.repricing_run import Ints, Run, What, correct_sums, prices_of, update_run

__all__ = ["reprice_chunk"]

_MINUTE_US = 60_000_000


def reprice_chunk(run: Run, org: int, org_id: UUID, whats: dict[int, What], number: int) -> None:
    with transaction.atomic():
        # The difference is from what is stored.
        lock_costs(org)
        rows = fetch(f"SELECT {CHUNK_FIELDS} FROM usage_chunk WHERE org = %s AND id = %s", (org, number))  # noqa: S608
        looked = changed = before = after = 0
        if rows:
            chunk = chunk_of(rows[0])
            where = _eligible(run, chunk, whats)
            looked = int(where.sum())
            if looked:
                changed, before, after = _price_events(org, org_id, chunk, np.flatnonzero(where), whats)
        run.at_chunk = number
        update_run(
            run, at_org=org, at_chunk=number, add={"looked_at": looked, "changed": changed, "cost_before": before,
            "cost_after": after},
        )  # fmt: skip


def _eligible(run: Run, chunk: Chunk, whats: dict[int, What]) -> npt.NDArray[np.bool_]:
    """Events of the run's period and models that a price is to be found for."""
    c = chunk.columns
    known = np.isin(c["what"], list(whats))
    if run.start_at is not None:
        known &= c["ts"] >= micros_of(run.start_at)
    if run.end_at is not None:
        known &= c["ts"] < micros_of(run.end_at)
    if run.only_unpriced:
        known &= (c["flags"] & UNPRICED) != 0
    calls = np.isin(c["what"], [number for number, what in whats.items() if what.is_call])
    spent = np.zeros(chunk.events, dtype=bool)
    for name in ("input", "output", "cache_read", "write_5m", "write_1h", "web"):
        spent |= c[name] != 0
    own = np.isin(c["what"], [number for number, what in whats.items() if what.self_priced])
    kept = own & ((c["flags"] & COST_IS_REPORTED) != 0)
    eligible: npt.NDArray[np.bool_] = known & (calls | spent) & ~kept
    return eligible


def _price_events(org: int, org_id: UUID, chunk: Chunk, where: Ints, whats: dict[int, What]) -> tuple[int, int, int]:
    """Give the events at ``where`` their present price; how many changed, and what these cost before and now."""
    c = {name: column[where] for name, column in chunk.columns.items()}
    nano, priced = prices_of(org_id, c["what"], c["ts"].copy(), c, whats)
    reported = (c["flags"] & REPORTED) != 0
    cost = np.where(priced, nano, np.where(reported, c["reported"], 0))
    flags = (c["flags"] & ~np.uint8(PRICED | COST_IS_REPORTED | UNPRICED)).astype(np.uint8)
    flags |= (priced * PRICED + (~priced & reported) * COST_IS_REPORTED + (~priced & ~reported) * UNPRICED).astype(
        np.uint8
    )
    moved = (cost != c["cost"]) | (flags != c["flags"])
    if not moved.any():
        return 0, 0, 0
    new_cost, new_flags = chunk.columns["cost"].copy(), chunk.columns["flags"].copy()
    new_cost[where], new_flags[where] = cost, flags
    replace_costs(chunk, new_cost, new_flags)
    unpriced = ((flags & UNPRICED) != 0).astype(np.int64) - ((c["flags"] & UNPRICED) != 0)
    correct_sums(org, c["ts"] // _MINUTE_US, c["who"], c["what"], cost - c["cost"], unpriced)
    _correct_sessions(org, c, cost - c["cost"])
    return int(moved.sum()), exact_sum(c["cost"][moved]), exact_sum(cost[moved])


def _correct_sessions(org: int, c: dict[str, Any], cost: Ints) -> None:
    # By who, too: a session may have a part for each of several projects.
    alone = np.where(np.abs(cost) > MOST_NANO, np.arange(1, len(cost) + 1), 0)
    keys, first, place = np.unique(
        np.stack((c["session"], c["who"], alone)), axis=1, return_index=True, return_inverse=True
    )
    sessions, whos, _ = keys
    sums = np.zeros(len(sessions), dtype=np.int64)
    np.add.at(sums, place.reshape(-1), cost)
    with connection.cursor() as cursor:
        # Its name is known where the session is; an event lies within its session, so no bound moves.
        cursor.execute(
            "INSERT INTO usage_session_delta_pack (org, sessions, session, session_id, who, models, started_at,"
            " last_at, cost_nano)"
            " SELECT %(org)s, count(*), array_agg(d.session), array_agg(n.session_id), array_agg(d.who),"
            " array_agg(''::text), array_agg(d.at), array_agg(d.at), array_agg(d.cost)"
            " FROM unnest(%(sessions)s::bigint[], %(whos)s::integer[], %(ats)s::timestamptz[], %(costs)s::bigint[])"
            " AS d (session, who, at, cost) CROSS JOIN LATERAL (SELECT session_id FROM usage_session WHERE"
            " org = %(org)s AND id = d.session UNION ALL SELECT p.session_id[array_position(p.session, d.session)]"
            " FROM usage_session_delta_pack p WHERE p.org = %(org)s AND d.session = ANY(p.session) LIMIT 1) AS n"
            " WHERE d.session <> 0 AND d.cost <> 0 HAVING count(*) > 0",
            {
                "org": org, "sessions": sessions.tolist(), "whos": whos.tolist(), "costs": sums.tolist(),
                "ats": [at_micros(int(ts)) for ts in c["ts"][first]],
            },
        )  # fmt: skip
