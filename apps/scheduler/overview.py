"""Jobs on the staff's overview: what runs, what failed, what waits in the broker."""

from datetime import timedelta

import redis
from django.conf import settings
from django.db import connection

from apps.core.clock import now
from apps.core.overview import Figure, Panel, register_panel
from apps.core.web.figures import count, duration
from apps.scheduler.registry import jobs

__all__: list[str] = []

_DAY = timedelta(days=1)
# Later than this a queued run has no worker that takes it.
_LATE_SECONDS = 120.0


def _jobs() -> Panel:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT status, count(*), coalesce(extract(epoch FROM now() - min(due_at)), 0) FROM scheduler_run"
            " WHERE status IN ('queued', 'running') GROUP BY 1"
        )
        open_runs = {status: (runs, float(age)) for status, runs, age in cursor.fetchall()}
        cursor.execute(
            "SELECT job, count(*) FROM scheduler_run WHERE created_at >= %s AND status = 'failed'"
            " GROUP BY job ORDER BY job",
            [now() - _DAY],
        )
        failed = cursor.fetchall()
        cursor.execute("SELECT name FROM scheduler_job WHERE is_declared AND NOT is_enabled ORDER BY name")
        disabled = [row[0] for row in cursor.fetchall()]
    queued, late = open_runs.get("queued", (0, 0.0))
    problems = [f"{name} failed {count(times)} times in the last 24 hours." for name, times in failed]
    if late > _LATE_SECONDS:
        problems.append(f"A run is due since {duration(late * 1000)}: is a worker running?")
    problems += [f"The job {name} is off the clock." for name in disabled]
    return Panel(
        [
            Figure("Running", count(open_runs.get("running", (0, 0.0))[0]), f"{count(queued)} queued"),
            Figure("Failed", count(sum(times for _, times in failed)), "in the last 24 hours"),
            _broker(),
        ],
        problems,
    )


def _broker() -> Figure:
    """Messages that wait in each of Celery's queues."""
    names = sorted({settings.CELERY_TASK_DEFAULT_QUEUE, *(job.queue for job in jobs().values())})
    client = redis.Redis.from_url(settings.BROKER_REDIS_URL, socket_timeout=0.5, socket_connect_timeout=0.5)
    try:
        depths = {name: int(client.llen(name)) for name in names}
    except redis.RedisError:
        return Figure("Queues", "unknown", "Redis does not answer")
    finally:
        client.close()
    return Figure("Queues", count(sum(depths.values())), ", ".join(f"{name} {depth}" for name, depth in depths.items()))


register_panel(
    key="scheduler.jobs", title="Jobs", load=_jobs, order=40,
    links=(("Jobs", "scheduler_jobstate"), ("Runs", "scheduler_jobrun")),
)  # fmt: skip
