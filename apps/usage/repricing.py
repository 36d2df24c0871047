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

from apps.audit.services import record
from apps.core import clock
from apps.core.errors import Conflict
from apps.core.money import nano_to_str
from apps.core.tenancy import system_scope
from apps.events.services import publish
from apps.scheduler.locks import HeldLocks
from apps.usage.chunks import fetch
from apps.usage.pricing.models_names import canonical_model
from apps.usage.repricing_events import reprice_chunk
from apps.usage.repricing_run import SELF_PRICED_SOURCES, Run, load_run, update_run, whats_of
from apps.usage.repricing_sums import history_days, reprice_day

__all__ = ["SELF_PRICED_SOURCES", "reprice", "reprice_resume", "reprice_start", "reprice_step"]

_CHUNKS_AT_ONCE = 20
_SETTLED = timedelta(seconds=2)
_WAIT_SECONDS = 10.0


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


@transaction.atomic
def reprice_resume(run_id: UUID) -> None:
    """Open a run that failed, so that it goes on where it was; :class:`Conflict` where it is completed."""
    run = load_run(run_id)
    if run.state == "completed":
        raise Conflict("The repricing is completed already", code="reprice_completed")
    if run.state == "failed":
        update_run(run, state="running", error="", finished_at=None)
        record(
            action="usage.reprice_resumed", org_id=run.org_id, target_type="reprice", target_id=run_id,
            target_label=run.model or "all models",
        )  # fmt: skip


def reprice_step(*, seconds: float = 20.0) -> dict[str, int]:
    """Work at the open runs for about so long (the job), oldest first; the rest is done at the next step.

    A run that has to wait does not hold up those behind it. ``done`` counts the runs that ended.
    """
    rows = fetch("SELECT id FROM usage_reprice WHERE state IN ('queued', 'running') ORDER BY created_at LIMIT 100", ())
    if not rows:
        return {}
    end = time.monotonic() + seconds
    done = 0
    for (run_id,) in rows:
        done += reprice(run_id, enough=lambda: time.monotonic() > end)
        if time.monotonic() > end:
            break
    return {"done": done}


def reprice(
    run_id: UUID, *, enough: Callable[[], bool] = lambda: False, say: Callable[[str], None] | None = None
) -> bool:
    """Go on with a run until it is done (True) or ``enough``, or it has to wait (False): for events of before that are
    not counted yet, or because another process is at it. An error is kept with the run and raised.
    """
    with HeldLocks() as locks:
        return locks.take(f"usage-reprice-{run_id}") and _go_on(run_id, enough, say or (lambda text: None))


def _go_on(run_id: UUID, enough: Callable[[], bool], say: Callable[[str], None]) -> bool:
    run = load_run(run_id)
    if run.state in ("completed", "failed"):
        return True
    if run.started_at is None:
        # Prices are read before, so whatever is taken in from now on has the new ones.
        run.started_at = clock.now()
        update_run(run, state="running", started_at=run.started_at)
    try:
        with system_scope("repricing goes through organisations"):
            return _work(run, enough, say)
    except Exception as error:
        update_run(run, state="failed", error=f"{type(error).__name__}: {error}"[:500], finished_at=clock.now())
        raise


def _work(run: Run, enough: Callable[[], bool], say: Callable[[str], None]) -> bool:
    while True:
        for org, org_id in list(_orgs(run)):
            if not _work_at(run, org, org_id, enough, say):
                return False
        # The first events of an organisation may have been accepted before, and it be known only now.
        if not _wait_for_inbox(run, run.org_id, say):
            return False
        if all(org == run.at_org for org, _ in _orgs(run)):
            break
    _finish(run)
    return True


def _work_at(run: Run, org: int, org_id: UUID, enough: Callable[[], bool], say: Callable[[str], None]) -> bool:
    """Price what one organisation has; whether all of it was."""
    if org != run.at_org:
        run.at_org, run.at_chunk, run.at_day = org, 0, None
    whats = whats_of(run)
    for day in history_days(run, org):
        if enough():
            return False
        reprice_day(run, org, org_id, whats, day)
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
            return True
        # What was accepted under the former prices may still wait in the inbox.
        settled = _wait_for_inbox(run, org_id, say)
        if not settled:
            return False


def _wait_for_inbox(run: Run, org_id: UUID | None, say: Callable[[str], None]) -> bool:
    """Whether what was accepted before is counted, of one organisation or all; waits for it for a while."""
    assert run.started_at is not None
    deadline = time.monotonic() + _WAIT_SECONDS
    where, params = ("WHERE org_id = %s", (org_id,)) if org_id else ("", ())
    while True:
        oldest = fetch(f"SELECT min(received_at) FROM usage_inbox {where}", params)[0][0]  # noqa: S608
        if oldest is None or oldest > run.started_at + _SETTLED:
            return True
        if time.monotonic() > deadline:
            say("events accepted before are not counted yet; is the drain running?")
            return False
        time.sleep(0.05)


# ---------------------------------------------------------------------------------------------- the run's own row
def _orgs(run: Run) -> Iterator[tuple[int, UUID]]:
    conditions = "id >= %(at)s" + (" AND org_id = %(org)s" if run.org_id else "")
    yield from fetch(
        f"SELECT id, org_id FROM usage_org WHERE {conditions} ORDER BY id",  # noqa: S608
        {"at": run.at_org, "org": run.org_id},
    )


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
