"""Writes of the scheduler: runs, their retries and recovery, and what staff do with jobs."""

import logging
import os
import socket
import traceback
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from django.db import connection, transaction

from apps.audit.services import record
from apps.core.backoff import backoff
from apps.core.clock import now
from apps.core.context import bind, current
from apps.core.contracts import system_actor
from apps.core.errors import Conflict, NotFound
from apps.core.ids import uuid7
from apps.core.telemetry import span
from apps.core.tenancy import system_scope
from apps.scheduler.background import enqueue
from apps.scheduler.locks import HeldLocks, is_held
from apps.scheduler.models import JobRun, JobState
from apps.scheduler.registry import Job, get_job, jobs

__all__ = [
    "disable_job",
    "enable_job",
    "perform_job",
    "prune_runs",
    "recover_runs",
    "request_run",
]

logger = logging.getLogger(__name__)

KEPT_SUCCEEDED = timedelta(days=2)
KEPT_OTHERS = timedelta(days=30)
# A queued run this late has lost its message (the broker was away, or forgot): it is sent again.
OVERDUE = timedelta(seconds=60)
WAIT_FOR_LOCK = timedelta(seconds=15)
FIRST_BACKOFF, LONGEST_BACKOFF = timedelta(seconds=10), timedelta(minutes=15)
_ERROR_LIMIT = 8000


# ---------------------------------------------------------------- running
def perform_job(*, name: str, run_id: UUID | None = None) -> None:
    """Run a declared job now, in this process: by the clock (no ``run_id``), or a queued run.

    A run that comes while another of a locking job is going on is skipped, a queued one put off. Never raises what the
    job raises: that is kept with the run, and a retry is queued.
    """
    try:
        job = get_job(name)
    except KeyError:
        logger.warning("the job %s is no longer declared", name)
        return
    with HeldLocks() as locks:
        run_id_ = run_id or uuid7()
        if not locks.take(_run_lock(run_id_)):
            return  # the message came twice, and its first copy is being worked on
        if job.lock and not locks.take(_job_lock(name)):
            _skip(job, run_id)
            return
        run = _begin(job, run_id, run_id_)
        if run is not None:
            _execute(job, run)


def _begin(job: Job, queued: UUID | None, run_id: UUID) -> JobRun | None:
    """Mark the run as running; None where a queued one has been dealt with already."""
    worker = f"{socket.gethostname()}:{os.getpid()}"
    if queued is None:
        correlation_id = current().correlation_id
        return JobRun.objects.create(
            pk=run_id,
            job=job.name,
            status=JobRun.Status.RUNNING,
            trigger=JobRun.Trigger.CLOCK,
            started_at=now(),
            worker=worker,
            correlation_id=correlation_id,
        )
    claimed = JobRun.objects.filter(pk=queued, job=job.name, status=JobRun.Status.QUEUED)
    if claimed.update(status=JobRun.Status.RUNNING, started_at=now(), worker=worker) != 1:
        return None
    return JobRun.objects.get(pk=queued)


def _execute(job: Job, run: JobRun) -> None:
    actor = system_actor(f"job:{job.name}")
    with bind(correlation_id=run.correlation_id, actor=actor), system_scope(f"job {job.name}"):
        try:
            with span(f"job {job.name}", attempt=run.attempt):
                result = job.function()
        except Exception as error:
            logger.exception("job %s failed (attempt %d)", job.name, run.attempt)
            _fail(job, run, JobRun.Status.FAILED, "".join(traceback.format_exception(error)))
        else:
            run.status, run.finished_at, run.result = JobRun.Status.SUCCEEDED, now(), _plain(result)
            run.save(update_fields=["status", "finished_at", "result"])


def _fail(job: Job | None, run: JobRun, status: JobRun.Status, error: str) -> None:
    """End the run without success and queue the next attempt, in one transaction."""
    with transaction.atomic():
        run.status, run.finished_at, run.error = status, now(), error[-_ERROR_LIMIT:]
        run.save(update_fields=["status", "finished_at", "error"])
        if job is not None and run.attempt <= job.retries:
            wait = backoff(run.attempt, first=FIRST_BACKOFF, longest=LONGEST_BACKOFF)
            retry = JobRun.objects.create(
                job=run.job,
                status=JobRun.Status.QUEUED,
                trigger=JobRun.Trigger.RETRY,
                attempt=run.attempt + 1,
                due_at=now() + wait,
                requested_by=run.requested_by,
                correlation_id=run.correlation_id,
            )
            _send(job, retry, wait)


def _skip(job: Job, queued: UUID | None) -> None:
    if queued is not None:
        JobRun.objects.filter(pk=queued, status=JobRun.Status.QUEUED).update(due_at=now() + WAIT_FOR_LOCK)
        return
    moment = now()
    JobRun.objects.create(
        job=job.name,
        status=JobRun.Status.SKIPPED,
        trigger=JobRun.Trigger.CLOCK,
        finished_at=moment,
        correlation_id=current().correlation_id,
    )


def _send(job: Job, run: JobRun, wait: timedelta = timedelta()) -> None:
    from apps.scheduler.tasks import run_job

    enqueue(run_job, countdown=wait.total_seconds(), queue=job.queue, name=run.job, run_id=str(run.pk))


def _plain(result: Any) -> Any:
    return orjson.loads(orjson.dumps(result, default=str, option=orjson.OPT_NON_STR_KEYS))


def _run_lock(run_id: UUID) -> str:
    return f"scheduler:run:{run_id}"


def _job_lock(name: str) -> str:
    return f"scheduler:job:{name}"


# ---------------------------------------------------------------- recovery and housekeeping
def recover_runs() -> dict[str, int]:
    """Find the runs whose worker died, and the queued ones whose message was lost; try both again.

    A worker holds its run's lock as long as it lives, so a running run with a free lock has none.
    """
    lost = sent = 0
    for run in JobRun.objects.filter(status=JobRun.Status.RUNNING).order_by("created_at"):
        if is_held(_run_lock(run.pk)):
            continue
        with transaction.atomic():
            again = (
                JobRun.objects.select_for_update(skip_locked=True)
                .filter(pk=run.pk, status=JobRun.Status.RUNNING)
                .first()
            )
            if again is not None:
                _fail(
                    jobs().get(run.job), again, JobRun.Status.LOST, f"its worker {run.worker} died in the midst of it"
                )
                lost += 1
    moment = now()
    for run in JobRun.objects.filter(status=JobRun.Status.QUEUED, due_at__lt=moment - OVERDUE).order_by("due_at")[:500]:
        job = jobs().get(run.job)
        if job is None:
            JobRun.objects.filter(pk=run.pk).update(
                status=JobRun.Status.FAILED, finished_at=moment, error="the job is no longer declared"
            )
            continue
        JobRun.objects.filter(pk=run.pk).update(due_at=moment)
        _send(job, run)
        sent += 1
    return {"lost": lost, "sent_again": sent}


def prune_runs() -> int:
    """Remove runs past their time: two days for those that went well, a month for the others; returns how many."""
    moment = now()
    quiet = [JobRun.Status.SUCCEEDED, JobRun.Status.SKIPPED]
    return _delete_finished(quiet, moment - KEPT_SUCCEEDED) + _delete_finished(
        [JobRun.Status.FAILED, JobRun.Status.LOST], moment - KEPT_OTHERS
    )


def _delete_finished(statuses: list[JobRun.Status], before: datetime) -> int:
    """In batches, so that no transaction is long."""
    deleted: int = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM scheduler_run WHERE id IN (SELECT id FROM scheduler_run"
                " WHERE status = ANY(%s) AND created_at < %s LIMIT 5000)",
                [[status.value for status in statuses], before],
            )
            deleted += cursor.rowcount
            if cursor.rowcount < 5000:
                return deleted


# ---------------------------------------------------------------- staff
def request_run(*, name: str, by: str, reason: str = "") -> UUID:
    """Queue a run of a job outside its schedule; returns the run's id. Raises :class:`NotFound` for an unknown job."""
    try:
        job = get_job(name)
    except KeyError:
        raise NotFound(f"There is no job {name!r}") from None
    with transaction.atomic():
        run = JobRun.objects.create(
            job=name,
            status=JobRun.Status.QUEUED,
            trigger=JobRun.Trigger.STAFF,
            requested_by=by,
            correlation_id=current().correlation_id,
        )
        record(
            action="job.run_requested",
            org_id=None,
            target_type="job",
            target_id=name,
            target_label=name,
            after={"run_id": run.pk},
            reason=reason,
        )
        _send(job, run)
    return run.pk


def enable_job(*, name: str, reason: str = "") -> None:
    """Let the clock start the job again."""
    _set_enabled(name, True, reason)


def disable_job(*, name: str, reason: str = "") -> None:
    """Keep the clock from starting the job; staff still can."""
    _set_enabled(name, False, reason)


def _set_enabled(name: str, enabled: bool, reason: str) -> None:
    from apps.scheduler.clockwork import write_periodic_task

    with transaction.atomic():
        state = JobState.objects.select_for_update().filter(pk=name).first()
        if state is None:
            raise NotFound(f"There is no job {name!r}")
        if not state.is_declared:
            raise Conflict(f"The job {name!r} is no longer declared")
        if state.is_enabled == enabled:
            return
        state.is_enabled = enabled
        state.save(update_fields=["is_enabled"])
        write_periodic_task(get_job(name), enabled=enabled)
        record(
            action="job.enabled" if enabled else "job.disabled",
            org_id=None,
            target_type="job",
            target_id=name,
            target_label=name,
            before={"is_enabled": not enabled},
            after={"is_enabled": enabled},
            reason=reason,
        )
