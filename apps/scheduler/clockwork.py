"""The registry of jobs written into django-celery-beat, whose clock starts them."""

from typing import Any

import orjson
from django.db import connection, transaction
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from apps.scheduler.models import JobState
from apps.scheduler.registry import Job, jobs

__all__ = ["sync_jobs", "write_periodic_task"]

TASK = "scheduler.run_job"


@transaction.atomic
def sync_jobs() -> dict[str, int]:
    """Bring the clock and the list of jobs in line with what the code declares; returns how many it changed.

    Idempotent: nothing is written where nothing differs, so a running clock is not disturbed. Whether a job is enabled
    is staff's and stays. Jobs that are no longer declared leave the clock and stay in the list for their runs' sake.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('scheduler:sync', 0))")
    changed = 0
    declared = jobs()
    states = {state.name: state for state in JobState.objects.all()}
    for name, job in declared.items():
        state = states.get(name) or JobState(name=name)
        told = {"description": job.description, "schedule": job.schedule, "queue": job.queue, "is_declared": True}
        if name not in states or any(getattr(state, field) != value for field, value in told.items()):
            for field, value in told.items():
                setattr(state, field, value)
            state.save()
            changed += 1
        changed += write_periodic_task(job, enabled=state.is_enabled)
    gone = JobState.objects.filter(is_declared=True).exclude(name__in=declared).update(is_declared=False)
    removed, _ = PeriodicTask.objects.filter(task=TASK).exclude(name__in=declared).delete()
    return {"declared": len(declared), "changed": changed + removed + gone}


def write_periodic_task(job: Job, *, enabled: bool) -> bool:
    """Write one job into the clock; whether anything differed."""
    wanted: dict[str, Any] = {
        "task": TASK,
        "kwargs": orjson.dumps({"name": job.name}).decode(),
        "queue": job.queue,
        "enabled": enabled,
        "description": job.description,
        # A tick that no worker took in time is worth nothing: the next one does its work too.
        "expire_seconds": int(job.every.total_seconds()) if job.every else 3600,
        "interval": _interval(job),
        "crontab": _crontab(job),
    }
    task = PeriodicTask.objects.filter(name=job.name).first()
    if task is None:
        PeriodicTask.objects.create(name=job.name, **wanted)
        return True
    differing = {field: value for field, value in wanted.items() if getattr(task, field) != value}
    if not differing:
        return False
    for field, value in differing.items():
        setattr(task, field, value)
    task.save()
    return True


def _interval(job: Job) -> IntervalSchedule | None:
    if job.every is None:
        return None
    schedule, _ = IntervalSchedule.objects.get_or_create(
        every=int(job.every.total_seconds()), period=IntervalSchedule.SECONDS
    )
    return schedule


def _crontab(job: Job) -> CrontabSchedule | None:
    if job.cron is None:
        return None
    minute, hour, day_of_month, month_of_year, day_of_week = job.cron.split()
    schedule, _ = CrontabSchedule.objects.get_or_create(
        minute=minute,
        hour=hour,
        day_of_month=day_of_month,
        month_of_year=month_of_year,
        day_of_week=day_of_week,
        timezone="UTC",
    )
    return schedule
