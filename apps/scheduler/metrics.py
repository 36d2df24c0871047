"""Jobs in figures, asked at the scrape."""

from collections.abc import Iterable
from typing import Any

from django.db import connection
from prometheus_client.metrics_core import GaugeMetricFamily

from apps.core.metrics import register_collector

__all__ = ["register"]


def register() -> None:
    """Have the figures read at each scrape."""
    register_collector("scheduler", _jobs)


def _jobs() -> Iterable[Any]:
    since = GaugeMetricFamily(
        "mindweave_job_last_success_timestamp_seconds", "When a job last went well", labels=["job"]
    )
    waiting = GaugeMetricFamily("mindweave_job_runs_open", "Runs queued or running", labels=["status"])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, extract(epoch FROM (SELECT max(finished_at) FROM scheduler_run r"
            " WHERE r.job = j.name AND r.status = 'succeeded')) FROM scheduler_job j WHERE is_declared"
        )
        for name, moment in cursor.fetchall():
            if moment is not None:
                since.add_metric([name], float(moment))
        cursor.execute(
            "SELECT status, count(*) FROM scheduler_run WHERE status IN ('queued', 'running') GROUP BY status"
        )
        for status, count in cursor.fetchall():
            waiting.add_metric([status], count)
    return [since, waiting]
