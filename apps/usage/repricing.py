"""Pricing again what was counted: raw events, and the sums of time whose raw events are gone.

A chunk is priced in one transaction: its new costs, the differences as rollup and session deltas, and how far the run
has come. So raw events equal the rollups at every moment, and a run that was broken off goes on where it was; since
the difference is taken from what is stored, looking at an event twice changes nothing.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt
from django.db import connection, transaction

from apps.accounts.selectors import org_find
from apps.audit.services import record
from apps.core import clock
from apps.core.errors import NotFound
from apps.core.money import nano_to_str
from apps.core.tenancy import system_scope
from apps.events.services import publish
from apps.projects.selectors import raw_retention_floor
from apps.usage.chunks import (
    CHUNK_FIELDS,
    Chunk,
    at_micros,
    chunk_of,
    fetch,
    lock_costs,
    micros_of,
    read_chunks,
    replace_costs,
)
from apps.usage.drain.bounds import OTHER
from apps.usage.drain.dims import DEFAULT_RETENTION_DAYS
from apps.usage.ingest.what import COST_IS_REPORTED, PRICED, REPORTED, UNPRICED
from apps.usage.pricing.book import PriceClass, get_book
from apps.usage.pricing.models_names import canonical_model

__all__ = ["SELF_PRICED_SOURCES", "reprice", "reprice_start", "reprice_step"]

logger = logging.getLogger(__name__)

# Their own figure is kept where it knows what the event does not tell (decision 0006).
SELF_PRICED_SOURCES: Final = ("claude_code",)
_CHUNKS_AT_ONCE = 20
_SETTLED = timedelta(seconds=2)
_WAIT_SECONDS = 60.0
_MINUTE_US = 60_000_000
_BEGINNING = date(2000, 1, 1)

Ints = npt.NDArray[np.int64]


@dataclass(slots=True)
class _Run:
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
class _What:
    model: str
    price_class: PriceClass
    is_call: bool
    self_priced: bool


# ---------------------------------------------------------------------------------------------- starting
@transaction.atomic
def reprice_start(
    *,
    org_id: UUID | None = None,
    model: str = "",
    start: datetime | None = None,
    end: datetime | None = None,
    only_unpriced: bool = False,
    reason: str = "",
) -> UUID:
    """Queue a repricing of ``[start, end)``, of one organisation or all, of one model or all; returns its id.

    With ``only_unpriced`` what has a cost keeps it. The job ``usage.reprice`` works it off.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_reprice (org_id, model, start_at, end_at, only_unpriced, reason)"
            " VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
            [org_id, canonical_model(model) if model else "", start, end, only_unpriced, reason],
        )
        run_id: UUID = cursor.fetchone()[0]
    after = {"model": model, "start": start, "end": end, "only_unpriced": only_unpriced}
    record(
        action="usage.reprice_started", org_id=org_id, target_type="reprice", target_id=run_id,
        target_label=model or "all models", after=after, reason=reason,
    )  # fmt: skip
    return run_id


def reprice_step(*, seconds: float = 20.0) -> dict[str, int]:
    """Work at the oldest open run for about so long (the job); what is not done then is done at the next step."""
    rows = fetch("SELECT id FROM usage_reprice WHERE state IN ('queued', 'running') ORDER BY created_at LIMIT 1", ())
    if not rows:
        return {}
    end = time.monotonic() + seconds
    done = reprice(rows[0][0], enough=lambda: time.monotonic() > end)
    return {"done": int(done)}


def reprice(
    run_id: UUID, *, enough: Callable[[], bool] = lambda: False, say: Callable[[str], None] | None = None
) -> bool:
    """Go on with a run until it is done (True) or ``enough`` (False). An error is kept with the run and raised."""
    run = _load(run_id)
    if run.state in ("completed", "failed"):
        return True
    if run.started_at is None:
        # Prices are read before, so whatever is taken in from now on has the new ones.
        run.started_at = clock.now()
        _update(run, state="running", started_at=run.started_at)
    try:
        with system_scope("repricing goes through organisations"):
            return _work(run, enough, say or (lambda text: None))
    except Exception as error:
        _update(run, state="failed", error=f"{type(error).__name__}: {error}"[:500], finished_at=clock.now())
        raise


def _work(run: _Run, enough: Callable[[], bool], say: Callable[[str], None]) -> bool:
    for org, org_id in list(_orgs(run)):
        if org != run.at_org:
            run.at_org, run.at_chunk, run.at_day = org, 0, None
        whats = _whats(run)
        retention = _retention(org_id)
        # Some projects keep raw events for less: of days in between, only what is kept of nobody is priced by sums.
        whole_since = clock.now().date() - timedelta(days=retention)
        for day in _history_days(run, org, min(retention, raw_retention_floor(org_id) or retention)):
            if enough():
                return False
            _reprice_day(run, org, org_id, whats, day, kept=_whos_kept(org, day) if day >= whole_since else frozenset())
        settled = False
        while True:
            chunks = _chunks(run, org)
            for number in chunks:
                if enough():
                    return False
                _reprice_chunk(run, org, org_id, whats, number)
            if chunks:
                say(f"organisation {org}: chunk {run.at_chunk}")
                continue
            if settled:
                break
            # What was accepted under the former prices may still wait in the inbox.
            settled = _wait_for_inbox(run, org_id)
    _finish(run)
    return True


def _wait_for_inbox(run: _Run, org_id: UUID) -> bool:
    assert run.started_at is not None
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        oldest = fetch("SELECT min(received_at) FROM usage_inbox WHERE org_id = %s", (org_id,))[0][0]
        if oldest is None or oldest > run.started_at + _SETTLED:
            return True
        time.sleep(0.05)
    raise RuntimeError("events accepted before the repricing are still not counted; is the drain running?")


# ---------------------------------------------------------------------------------------------- raw events
def _reprice_chunk(run: _Run, org: int, org_id: UUID, whats: dict[int, _What], number: int) -> None:
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
        _update(
            run, at_org=org, at_chunk=number, add={"looked_at": looked, "changed": changed, "cost_before": before,
            "cost_after": after},
        )  # fmt: skip


def _eligible(run: _Run, chunk: Chunk, whats: dict[int, _What]) -> npt.NDArray[np.bool_]:
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


def _price_events(org: int, org_id: UUID, chunk: Chunk, where: Ints, whats: dict[int, _What]) -> tuple[int, int, int]:
    """Give the events at ``where`` their present price; how many changed, and what these cost before and now."""
    c = {name: column[where] for name, column in chunk.columns.items()}
    nano, priced = _prices(org_id, c["what"], c["ts"].copy(), c, whats)
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
    _correct(org, c["ts"] // _MINUTE_US, c["who"], c["what"], cost - c["cost"], unpriced)
    _correct_sessions(org, c, cost - c["cost"])
    return int(moved.sum()), int(c["cost"][moved].sum()), int(cost[moved].sum())


def _prices(
    org_id: UUID, what: Ints, ts: Ints, columns: dict[str, Any], whats: dict[int, _What]
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


def _correct(org: int, minute: Ints, who: Ints, what: Ints, cost: Ints, unpriced: Ints) -> None:
    """The differences, as deltas of no events."""
    keys, place = np.unique(np.stack((minute, who, what)), axis=1, return_inverse=True)
    place = place.reshape(-1)
    costs, counts = np.zeros(keys.shape[1], dtype=np.int64), np.zeros(keys.shape[1], dtype=np.int64)
    np.add.at(costs, place, cost)
    np.add.at(counts, place, unpriced)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_delta (minute, org, who, what, events, input_tokens, output_tokens, cache_read_tokens,"
            " cache_write_5m_tokens, cache_write_1h_tokens, web_searches, cost_nano, reported_nano, unpriced,"
            " latency_count, latency_ms, latency_hist) SELECT to_timestamp(m * 60), %s, who, what, 0, 0, 0, 0, 0, 0, 0,"
            " cost, 0, unpriced, 0, 0, '' FROM unnest(%s::bigint[], %s::integer[], %s::integer[], %s::bigint[],"
            " %s::integer[]) AS d (m, who, what, cost, unpriced) WHERE cost <> 0 OR unpriced <> 0",
            [org, *(row.tolist() for row in keys), costs.tolist(), counts.tolist()],
        )
        cursor.execute("UPDATE usage_org SET past_version = past_version + 1 WHERE id = %s", [org])


def _correct_sessions(org: int, c: dict[str, Any], cost: Ints) -> None:
    # By who, too: a session may have a part for each of several projects.
    keys, first, place = np.unique(np.stack((c["session"], c["who"])), axis=1, return_index=True, return_inverse=True)
    sessions, whos = keys
    sums = np.zeros(len(sessions), dtype=np.int64)
    np.add.at(sums, place.reshape(-1), cost)
    with connection.cursor() as cursor:
        # Its name is known where the session is; an event lies within its session, so no bound moves.
        cursor.execute(
            "INSERT INTO usage_session_delta (session, org, session_id, who, model, started_at, last_at, events, calls,"
            " tool_calls, errors, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_nano)"
            " SELECT d.session, %(org)s, n.session_id, d.who, '', d.at, d.at, 0, 0, 0, 0, 0, 0, 0, 0, d.cost"
            " FROM unnest(%(sessions)s::bigint[], %(whos)s::integer[], %(ats)s::timestamptz[], %(costs)s::bigint[])"
            " AS d (session, who, at, cost) CROSS JOIN LATERAL (SELECT session_id FROM usage_session WHERE"
            " org = %(org)s AND id = d.session UNION ALL SELECT session_id FROM usage_session_delta"
            " WHERE org = %(org)s AND session = d.session LIMIT 1) AS n WHERE d.session <> 0 AND d.cost <> 0",
            {
                "org": org, "sessions": sessions.tolist(), "whos": whos.tolist(), "costs": sums.tolist(),
                "ats": [at_micros(int(ts)) for ts in c["ts"][first]],
            },
        )  # fmt: skip


# ---------------------------------------------------------------------------------------------- sums alone
_HISTORY: Final = """
SELECT bucket, who, what, sum(events)::bigint, sum(input_tokens)::bigint, sum(output_tokens)::bigint,
    sum(cache_read_tokens)::bigint, sum(cache_write_5m_tokens)::bigint, sum(cache_write_1h_tokens)::bigint,
    sum(web_searches)::bigint, sum(cost_nano)::bigint, sum(reported_nano)::bigint, sum(unpriced)::bigint
FROM (
    SELECT bucket, who, what, events, input_tokens, output_tokens, cache_read_tokens, cache_write_5m_tokens,
        cache_write_1h_tokens, web_searches, cost_nano, reported_nano, unpriced FROM usage_rollup_quarter
    WHERE org = %(org)s AND bucket >= %(start)s AND bucket < %(end)s
    UNION ALL
    SELECT date_bin('15 minutes', minute, '2000-01-01'), who, what, events, input_tokens, output_tokens,
        cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, web_searches, cost_nano, reported_nano,
        unpriced FROM usage_delta WHERE org = %(org)s AND minute >= %(start)s AND minute < %(end)s
) AS rows WHERE what = ANY(%(whats)s) GROUP BY bucket, who, what
"""


def _history_days(run: _Run, org: int, retention: int) -> Iterator[date]:
    """The days, in UTC, of the run's period of which no raw events are kept, from where it has come to."""
    edge = clock.now().date() - timedelta(days=retention)
    if run.end_at is not None:
        edge = min(edge, (run.end_at - timedelta(microseconds=1)).date() + timedelta(days=1))
    first = fetch("SELECT min(bucket) FROM usage_rollup_quarter WHERE org = %s", (org,))[0][0]
    oldest = fetch("SELECT min(minute) FROM usage_delta WHERE org = %s", (org,))[0][0]
    begins = [moment.date() for moment in (first, oldest) if moment is not None]
    if not begins:
        return
    day = max(min(begins), run.start_at.date() if run.start_at else _BEGINNING)
    if run.at_day is not None:
        day = max(day, run.at_day + timedelta(days=1))
    while day < edge:
        yield day
        day += timedelta(days=1)


def _whos_kept(org: int, day: date) -> frozenset[int]:
    """Whose raw events of a day, in UTC, are still kept."""
    start = datetime.combine(day, datetime.min.time(), tzinfo=clock.now().tzinfo)
    end, after, found = start + timedelta(days=1), 0, set[int]()
    while chunks := read_chunks(org, start=start, end=end, after_id=after, limit=_CHUNKS_AT_ONCE):
        for chunk in chunks:
            ts = chunk.columns["ts"]
            found |= set(chunk.columns["who"][(ts >= micros_of(start)) & (ts < micros_of(end))].tolist())
        after = chunks[-1].id
    return frozenset(found)


def _reprice_day(
    run: _Run, org: int, org_id: UUID, whats: dict[int, _What], day: date, *, kept: frozenset[int] = frozenset()
) -> None:
    """Price the quarter-hours of a day by their sums, rounded once for each row; of those in ``kept`` by their events.

    A row in which priced, unpriced and reported costs are mixed cannot be told apart any more and stays as it is.
    """
    start = datetime.combine(day, datetime.min.time(), tzinfo=clock.now().tzinfo)
    low = max(start, run.start_at) if run.start_at else start
    high = min(start + timedelta(days=1), run.end_at) if run.end_at else start + timedelta(days=1)
    with transaction.atomic():
        # The difference is from what is stored.
        lock_costs(org)
        rows = fetch(_HISTORY, {"org": org, "start": low, "end": high, "whats": list(whats)})
        rows = [row for row in rows if row[1] not in kept] if kept else rows
        totals = {"looked_at": 0, "changed": 0, "left_alone": 0, "cost_before": 0, "cost_after": 0}
        if rows:
            buckets, *numbers = zip(*rows, strict=True)
            names = ("who", "what", "events", "input", "output", "cache_read", "write_5m", "write_1h", "web", "cost",
                     "reported", "unpriced")  # fmt: skip
            c = {name: np.array(column, dtype=np.int64) for name, column in zip(names, numbers, strict=True)}
            ts = np.array([micros_of(bucket) for bucket in buckets], dtype=np.int64)
            totals = _price_sums(run, org, org_id, c, ts, whats)
        run.at_day = day
        _update(run, at_org=org, at_day=day, add=totals)


def _price_sums(
    run: _Run, org: int, org_id: UUID, c: dict[str, Ints], ts: Ints, whats: dict[int, _What]
) -> dict[str, int]:
    whole = (c["unpriced"] == c["events"]) | ((c["unpriced"] == 0) & (c["reported"] == 0))
    wanted = c["unpriced"] == c["events"] if run.only_unpriced else whole
    wanted &= c["events"] > 0
    nano, priced = _prices(org_id, c["what"], ts, c, whats)
    moved = wanted & priced & (nano != c["cost"]) | (wanted & priced & (c["unpriced"] > 0))
    if moved.any():
        minute = ts // _MINUTE_US
        _correct(
            org, minute[moved], c["who"][moved], c["what"][moved], (nano - c["cost"])[moved], -c["unpriced"][moved]
        )
    return {
        "looked_at": int(c["events"].sum()),
        "changed": int(c["events"][moved].sum()),
        "left_alone": int(c["events"][~whole].sum()),
        "cost_before": int(c["cost"][moved].sum()),
        "cost_after": int(nano[moved].sum()),
    }


# ---------------------------------------------------------------------------------------------- the run's own row
def _orgs(run: _Run) -> Iterator[tuple[int, UUID]]:
    conditions = "id >= %(at)s" + (" AND org_id = %(org)s" if run.org_id else "")
    yield from fetch(
        f"SELECT id, org_id FROM usage_org WHERE {conditions} ORDER BY id",  # noqa: S608
        {"at": run.at_org, "org": run.org_id},
    )


def _whats(run: _Run) -> dict[int, _What]:
    """What the run may price. Where a name was one too many (apps.usage.drain.bounds), the price it had stays."""
    rows = fetch(
        "SELECT id, model, service_tier, batch, geo, speed, context_band, event_type, source FROM usage_what"
        " WHERE model <> '' AND (%(model)s = '' OR model = %(model)s)"
        " AND %(other)s NOT IN (model, service_tier, geo, speed)",
        {"model": run.model, "other": OTHER},
    )
    return {
        row[0]: _What(row[1], PriceClass(*row[2:7]), row[7] == "api_call", row[8] in SELF_PRICED_SOURCES)
        for row in rows
    }


def _retention(org_id: UUID) -> int:
    info = org_find(org_id)
    return info.raw_retention_days if info else DEFAULT_RETENTION_DAYS


def _chunks(run: _Run, org: int) -> list[int]:
    conditions, params = ["org = %(org)s", "id > %(after)s"], dict[str, Any](org=org, after=run.at_chunk)
    if run.start_at is not None:
        conditions.append("last_at >= %(start)s")
        params["start"] = run.start_at
    if run.end_at is not None:
        conditions.append("first_at < %(end)s")
        params["end"] = run.end_at
    rows = fetch(
        f"SELECT id FROM usage_chunk WHERE {' AND '.join(conditions)} ORDER BY id LIMIT {_CHUNKS_AT_ONCE}",  # noqa: S608
        params,
    )
    return [row[0] for row in rows]


def _load(run_id: UUID) -> _Run:
    rows = fetch(
        "SELECT id, org_id, model, start_at, end_at, only_unpriced, state, at_org, at_chunk, at_day, started_at"
        " FROM usage_reprice WHERE id = %s",
        (run_id,),
    )
    if not rows:
        raise NotFound("There is no such repricing")
    return _Run(*rows[0])


def _update(run: _Run, *, add: dict[str, int] | None = None, **values: Any) -> None:
    sets = [f"{name} = %({name})s" for name in values] + [f"{name} = {name} + %({name})s" for name in add or {}]
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE usage_reprice SET {', '.join(sets)} WHERE id = %(run)s",  # noqa: S608
            {**values, **(add or {}), "run": run.id},
        )


@transaction.atomic
def _finish(run: _Run) -> None:
    _update(run, state="completed", finished_at=clock.now())
    row = fetch("SELECT looked_at, changed, cost_before, cost_after FROM usage_reprice WHERE id = %s", (run.id,))[0]
    data = {
        "reprice_id": str(run.id), "model": run.model, "looked_at": int(row[0]), "changed": int(row[1]),
        "cost_before_usd": nano_to_str(int(row[2])), "cost_after_usd": nano_to_str(int(row[3])),
    }  # fmt: skip
    record(
        action="usage.repriced", org_id=run.org_id, target_type="reprice", target_id=run.id,
        target_label=run.model or "all models", after=data,
    )  # fmt: skip
    publish(type="usage.repriced", org_id=run.org_id, key=None if run.org_id else "prices", data=data)
