"""Pricing again what was counted: raw events, and the sums of time whose raw events are gone.

A chunk is priced in one transaction: its new costs, the differences as rollup and session deltas, and how far the run
has come. So raw events equal the rollups at every moment, and a run that was broken off goes on where it was; since
the difference is taken from what is stored, looking at an event twice changes nothing.
"""

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from apps.accounts.selectors import org_find
from apps.audit.services import record
from apps.core import clock
from apps.core.money import nano_to_str
from apps.core.tenancy import system_scope
from apps.events.services import publish
from apps.projects.selectors import raw_retention_floor
from apps.usage.chunks import fetch
from apps.usage.drain.dims import DEFAULT_RETENTION_DAYS
from apps.usage.pricing.models_names import canonical_model
from apps.usage.repricing_events import reprice_chunk
from apps.usage.repricing_run import SELF_PRICED_SOURCES, Run, load_run, update_run, whats_of
from apps.usage.repricing_sums import history_days, reprice_day, whos_kept

__all__ = ["SELF_PRICED_SOURCES", "reprice", "reprice_start", "reprice_step"]

_CHUNKS_AT_ONCE = 20
_SETTLED = timedelta(seconds=2)
_WAIT_SECONDS = 60.0


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
    run = load_run(run_id)
    if run.state in ("completed", "failed"):
        return True
    if run.started_at is None:
        # Prices are read before, so whatever is taken in from now on has the new ones.
        run.started_at = clock.now()
        update_run(run, state="running", started_at=run.started_at)
    try:
        with system_scope("repricing goes through organisations"):
            return _work(run, enough, say or (lambda text: None))
    except Exception as error:
        update_run(run, state="failed", error=f"{type(error).__name__}: {error}"[:500], finished_at=clock.now())
        raise


def _work(run: Run, enough: Callable[[], bool], say: Callable[[str], None]) -> bool:
    for org, org_id in list(_orgs(run)):
        if org != run.at_org:
            run.at_org, run.at_chunk, run.at_day = org, 0, None
        whats = whats_of(run)
        retention = _retention(org_id)
        # Some projects keep raw events for less: of days in between, only what is kept of nobody is priced by sums.
        whole_since = clock.now().date() - timedelta(days=retention)
        for day in history_days(run, org, min(retention, raw_retention_floor(org_id) or retention)):
            if enough():
                return False
            reprice_day(run, org, org_id, whats, day, kept=whos_kept(org, day) if day >= whole_since else frozenset())
        settled = False
        while True:
            chunks = _chunks(run, org)
            for number in chunks:
                if enough():
                    return False
                reprice_chunk(run, org, org_id, whats, number)
            if chunks:
                say(f"organisation {org}: chunk {run.at_chunk}")
                continue
            if settled:
                break
            # What was accepted under the former prices may still wait in the inbox.
            settled = _wait_for_inbox(run, org_id)
    _finish(run)
    return True


def _wait_for_inbox(run: Run, org_id: UUID) -> bool:
    assert run.started_at is not None
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        oldest = fetch("SELECT min(received_at) FROM usage_inbox WHERE org_id = %s", (org_id,))[0][0]
        if oldest is None or oldest > run.started_at + _SETTLED:
            return True
        time.sleep(0.05)
    raise RuntimeError("events accepted before the repricing are still not counted; is the drain running?")


# ---------------------------------------------------------------------------------------------- the run's own row
def _orgs(run: Run) -> Iterator[tuple[int, UUID]]:
    conditions = "id >= %(at)s" + (" AND org_id = %(org)s" if run.org_id else "")
    yield from fetch(
        f"SELECT id, org_id FROM usage_org WHERE {conditions} ORDER BY id",  # noqa: S608
        {"at": run.at_org, "org": run.org_id},
    )


def _retention(org_id: UUID) -> int:
    info = org_find(org_id)
    return info.raw_retention_days if info else DEFAULT_RETENTION_DAYS


def _chunks(run: Run, org: int) -> list[int]:
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


@transaction.atomic
def _finish(run: Run) -> None:
    update_run(run, state="completed", finished_at=clock.now())
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
