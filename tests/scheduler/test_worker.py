"""A real Celery worker with a real broker, killed in the midst of a job."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from apps.scheduler.models import JobRun
from apps.scheduler.registry import unregister
from apps.scheduler.services import recover_runs, request_run
from tests.processes import Processes
from tests.scheduler import worker_jobs
from tests.waiting import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

WORKER = ("-m", "celery", "-A", "mindweave", "worker", "--concurrency=1", "--without-gossip", "--without-mingle")


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Processes]:
    worker_jobs.declare()
    made = Processes(tmp_path, "tests.scheduler.process_settings")
    yield made
    made.end()
    unregister("test.worker")


def statuses() -> list[str]:
    return list(JobRun.objects.filter(job="test.worker").order_by("attempt").values_list("status", flat=True))


def test_a_job_whose_worker_is_killed_is_found_and_done_by_the_next_worker(
    workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.scheduler.services.FIRST_BACKOFF", timedelta(seconds=1))
    journal = tmp_path / "journal"
    first = workers.start(*WORKER, "-n", "first", TEST_JOB_JOURNAL=str(journal))
    request_run(name="test.worker", by="staff@example.com")
    wait_for(lambda: journal.exists() and bool(journal.read_text()), seconds=30, what="the job to begin")
    assert statuses() == ["running"]
    assert recover_runs()["lost"] == 0, "its worker lives"

    workers.kill(first)
    wait_for(lambda: recover_runs()["lost"] == 1, what="the server to notice the broken connection")
    assert statuses() == ["lost", "queued"]

    workers.start(*WORKER, "-n", "second", TEST_JOB_JOURNAL=str(journal))
    # The retry comes with its back-off.
    wait_for(lambda: statuses() == ["lost", "succeeded"], seconds=60, what="the second worker to do the job")
    assert JobRun.objects.get(job="test.worker", status="succeeded").result == "done"
    assert len(journal.read_text().splitlines()) == 2
