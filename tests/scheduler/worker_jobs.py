"""An app for Celery workers that tests start: a job that hangs the first time and writes a line each time."""

import os
import time
from pathlib import Path

from django.apps import AppConfig


class WorkerJobsConfig(AppConfig):
    name = "tests.scheduler"
    label = "test_scheduler_jobs"

    def ready(self) -> None:
        declare()


def work() -> str:
    """Append this process's id; the first one to do so never comes back."""
    journal = Path(os.environ["TEST_JOB_JOURNAL"])
    with journal.open("a") as lines:
        lines.write(f"{os.getpid()}\n")
    if len(journal.read_text().splitlines()) == 1:
        time.sleep(3600)
    return "done"


def declare() -> None:
    from apps.scheduler.registry import job

    job(name="test.worker", cron="0 0 1 1 *")(work)
