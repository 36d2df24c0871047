import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections, transaction
from django_celery_beat.models import PeriodicTask

from apps.audit.models import AuditEntry
from apps.core import clock
from apps.core.context import bind, current
from apps.core.errors import NotFound
from apps.core.ids import uuid7
from apps.core.tenancy import TenancyError, current_org_id, in_system_scope, org_scope, system_scope
from apps.scheduler import background, registry, services
from apps.scheduler.background import HEADER, background_task, enqueue
from apps.scheduler.clockwork import sync_jobs
from apps.scheduler.locks import HeldLocks, is_held
from apps.scheduler.models import JobRun, JobState
from apps.scheduler.registry import job
from apps.scheduler.services import perform_job, prune_runs, recover_runs, request_run
from mindweave.celery import app
from tests.waiting import wait_for

Declare = Callable[..., None]


@pytest.fixture
def declare() -> Iterator[Declare]:
    """Declares jobs that are forgotten after the test."""
    names: list[str] = []

    def declare(function: Callable[[], Any], name: str = "test.job", **options: Any) -> None:
        names.append(name)
        job(**{"name": name, "every": timedelta(minutes=1), **options})(function)

    yield declare
    for name in names:
        registry.unregister(name)


@pytest.fixture
def sent(monkeypatch) -> list[dict]:
    """The tasks that were sent to the broker, instead of sending them."""
    tasks: list[dict] = []
    monkeypatch.setattr(background.BackgroundTask, "apply_async", lambda self, **call: tasks.append(call))
    return tasks


def runs() -> list[JobRun]:
    return list(JobRun.objects.filter(job__startswith="test.").order_by("created_at", "id"))


# ---------------------------------------------------------------- running
def test_a_run_is_kept_with_its_result(db, declare) -> None:
    seen = []

    def work() -> dict[str, int]:
        seen.append((current().correlation_id, current().actor.label, in_system_scope()))
        return {"rows": 3}

    declare(work)
    with bind(correlation_id="c-1"):
        perform_job(name="test.job")
    [run] = runs()
    assert (run.status, run.result, run.trigger, run.attempt) == ("succeeded", {"rows": 3}, "clock", 1)
    assert run.started_at <= run.finished_at
    assert seen == [("c-1", "job:test.job", True)]
    assert run.correlation_id == "c-1"


@pytest.mark.django_db(transaction=True)
def test_a_failing_job_is_tried_again_later_and_given_up_in_the_end(declare, sent) -> None:
    def work() -> None:
        raise RuntimeError("not today")

    declare(work, retries=2, queue="slow")
    with bind(correlation_id="c-1"):
        perform_job(name="test.job")
    for attempt, (low, high) in [(1, (5, 15)), (2, (10, 30))]:
        *_, failed, retry = runs()
        assert (failed.status, failed.attempt, retry.status, retry.attempt) == (
            "failed",
            attempt,
            "queued",
            attempt + 1,
        )
        assert "RuntimeError: not today" in failed.error
        assert (retry.trigger, retry.correlation_id) == ("retry", "c-1")
        task = sent[-1]
        assert task["kwargs"] == {"name": "test.job", "run_id": str(retry.pk)}
        assert task["queue"] == "slow"
        assert low <= task["countdown"] <= high
        perform_job(name="test.job", run_id=retry.pk)
    assert [(run.status, run.attempt) for run in runs()] == [("failed", 1), ("failed", 2), ("failed", 3)]
    assert len(sent) == 2


def test_what_a_failing_job_had_committed_stays_and_its_run_is_told(db, declare, sent) -> None:
    def work() -> None:
        JobState.objects.create(name="test.made", schedule="", queue="")
        with transaction.atomic():
            JobState.objects.create(name="test.made", schedule="", queue="")

    declare(work, retries=0)
    perform_job(name="test.job")
    assert [run.status for run in runs()] == ["failed"]
    assert JobState.objects.filter(name="test.made").exists()


@pytest.mark.django_db(transaction=True)
def test_runs_of_a_locking_job_never_overlap(declare) -> None:
    started, release, count = threading.Event(), threading.Event(), []

    def work() -> None:
        count.append(1)
        started.set()
        release.wait(10)

    declare(work)

    def first() -> None:
        try:
            perform_job(name="test.job")
        finally:
            connections.close_all()

    thread = threading.Thread(target=first)
    thread.start()
    assert started.wait(10)
    perform_job(name="test.job")
    release.set()
    thread.join()
    assert len(count) == 1
    assert [run.status for run in runs()] == ["succeeded", "skipped"]
    perform_job(name="test.job")
    assert len(count) == 2, "the lock is free again"


@pytest.mark.django_db(transaction=True)
def test_runs_of_a_job_without_a_lock_may_overlap(declare) -> None:
    both = threading.Barrier(2, timeout=10)
    declare(lambda: both.wait(), lock=False)

    def run() -> None:
        try:
            perform_job(name="test.job")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [run.status for run in runs()] == ["succeeded", "succeeded"]


def test_a_queued_run_whose_message_comes_twice_runs_once(db, declare, sent) -> None:
    count = []
    declare(lambda: count.append(1))
    run_id = request_run(name="test.job", by="staff@example.com")
    perform_job(name="test.job", run_id=run_id)
    perform_job(name="test.job", run_id=run_id)
    assert len(count) == 1


def test_a_queued_run_that_finds_the_job_at_work_waits_instead_of_being_skipped(db, declare, sent) -> None:
    declare(lambda: None)
    run_id = request_run(name="test.job", by="staff@example.com")
    with HeldLocks() as other:
        assert other.take("scheduler:job:test.job")
        perform_job(name="test.job", run_id=run_id)
    [run] = runs()
    assert run.status == "queued"
    assert run.due_at > clock.now()
    perform_job(name="test.job", run_id=run_id)
    assert [run.status for run in runs()] == ["succeeded"]


def test_a_job_that_is_no_longer_declared_is_left_alone(db) -> None:
    perform_job(name="test.gone")
    assert runs() == []


# ---------------------------------------------------------------- recovery
def running(**more: Any) -> JobRun:
    values = {"job": "test.job", "status": "running", "trigger": "clock", "correlation_id": "c-1", "worker": "w:1"}
    return JobRun.objects.create(**{**values, **more})


def test_a_run_whose_worker_died_is_lost_and_tried_again(db, declare, sent) -> None:
    declare(lambda: None)
    running()
    assert recover_runs()["lost"] == 1
    lost, retry = runs()
    assert (lost.status, retry.status, retry.attempt, retry.correlation_id) == ("lost", "queued", 2, "c-1")
    assert "w:1 died" in lost.error
    assert recover_runs()["lost"] == 0


def test_a_run_whose_worker_lives_is_not_recovered(db, declare) -> None:
    declare(lambda: None)
    run = running()
    with HeldLocks() as worker:
        assert worker.take(f"scheduler:run:{run.pk}")
        assert is_held(f"scheduler:run:{run.pk}")
        assert recover_runs()["lost"] == 0
    # The server notices a closed connection a moment later.
    wait_for(lambda: not is_held(f"scheduler:run:{run.pk}"))
    assert recover_runs()["lost"] == 1


@pytest.mark.django_db(transaction=True)
def test_a_queued_run_whose_message_was_lost_is_sent_again_once_a_minute(declare, sent) -> None:
    declare(lambda: None)
    request_run(name="test.job", by="staff@example.com")
    sent.clear()
    assert recover_runs()["sent_again"] == 0
    with clock.freeze(clock.now() + timedelta(minutes=2)):
        assert recover_runs()["sent_again"] == 1
        assert recover_runs()["sent_again"] == 0
    assert len(sent) == 1


def test_a_queued_run_of_a_job_that_is_gone_ends_as_failed(db) -> None:
    running(status="queued", job="test.gone", due_at=clock.now() - timedelta(hours=1))
    recover_runs()
    [run] = runs()
    assert (run.status, run.error) == ("failed", "the job is no longer declared")


def test_runs_are_kept_two_days_where_they_went_well_and_a_month_where_not(db) -> None:
    for status in ("succeeded", "skipped", "failed", "lost"):
        for days in (1, 3, 31):
            running(status=status, created_at=clock.now() - timedelta(days=days), error=str(days))
    assert prune_runs() == 6
    assert sorted((run.status, run.error) for run in runs()) == [
        ("failed", "1"), ("failed", "3"), ("lost", "1"), ("lost", "3"), ("skipped", "1"), ("succeeded", "1"),
    ]  # fmt: skip


# ---------------------------------------------------------------- the clock
def test_declared_jobs_are_in_the_clock_and_gone_ones_are_not(db, declare) -> None:
    declare(lambda: None, name="test.often", every=timedelta(seconds=10))
    declare(lambda: None, name="test.nightly", every=None, cron="30 2 * * 1", queue="slow")
    sync_jobs()
    often, nightly = (PeriodicTask.objects.get(name=name) for name in ("test.often", "test.nightly"))
    assert (often.task, often.kwargs, often.enabled) == ("scheduler.run_job", '{"name":"test.often"}', True)
    assert often.schedule.run_every == timedelta(seconds=10)
    assert often.expires_ == 10, "a tick that nobody took in time is dropped"
    assert str(nightly.crontab).startswith("30 2 * * 1")
    assert nightly.queue == "slow"

    registry.unregister("test.often")
    sync_jobs()
    assert not PeriodicTask.objects.filter(name="test.often").exists()
    assert not JobState.objects.get(pk="test.often").is_declared


def test_to_sync_again_changes_nothing(db, declare) -> None:
    declare(lambda: None)
    assert sync_jobs()["changed"] > 0
    before = list(PeriodicTask.objects.order_by("pk").values())
    assert sync_jobs()["changed"] == 0
    assert list(PeriodicTask.objects.order_by("pk").values()) == before


def test_what_staff_disabled_stays_so_until_they_enable_it(db, declare) -> None:
    declare(lambda: None)
    sync_jobs()
    services.disable_job(name="test.job", reason="too loud")
    sync_jobs()
    assert not PeriodicTask.objects.get(name="test.job").enabled
    services.enable_job(name="test.job")
    assert PeriodicTask.objects.get(name="test.job").enabled
    with system_scope("the test looks at all"):
        acts = list(AuditEntry.objects.filter(target_id="test.job").order_by("occurred_at").values("action", "reason"))
    assert acts == [{"action": "job.disabled", "reason": "too loud"}, {"action": "job.enabled", "reason": ""}]
    with pytest.raises(NotFound):
        services.disable_job(name="no.such")


@pytest.mark.parametrize(
    "options",
    [{}, {"every": timedelta(seconds=1), "cron": "* * * * *"}, {"every": timedelta(0)}, {"cron": "* * *"}],
)
def test_a_job_needs_one_schedule_that_makes_sense(options) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each says something else
        job(name="test.bad", **options)(lambda: None)


@pytest.mark.django_db(transaction=True)
def test_a_run_that_staff_ask_for_is_audited_and_sent_after_the_commit(declare, sent) -> None:
    declare(lambda: None)
    with transaction.atomic():
        run_id = request_run(name="test.job", by="staff@example.com", reason="to see")
        assert sent == []
    assert sent[0]["kwargs"]["run_id"] == str(run_id)
    with system_scope("the test looks at all"):
        entry = AuditEntry.objects.filter(action="job.run_requested").latest("occurred_at")
    assert (entry.changes["run_id"], entry.reason) == ([None, str(run_id)], "to see")
    with pytest.raises(NotFound):
        request_run(name="no.such", by="staff@example.com")


# ---------------------------------------------------------------- tasks
@background_task(name="tests.see", ignore_result=False)
def see() -> list[Any]:
    return [current().correlation_id, current().traceparent, str(current_org_id()), in_system_scope()]


@background_task(name="tests.see_all", system="a test", ignore_result=False)
def see_all() -> list[Any]:
    return see.run()


@background_task(name="tests.touch", ignore_result=False)
def touch() -> None:
    AuditEntry.objects.first()


@pytest.fixture
def eager() -> Iterator[None]:
    app.conf.update(task_always_eager=True, task_eager_propagates=True)
    yield
    app.conf.update(task_always_eager=False, task_eager_propagates=False)


@pytest.mark.django_db(transaction=True)
def test_a_task_carries_correlation_id_trace_and_organisation(eager) -> None:
    org_id = uuid7()
    with bind(correlation_id="c-1", traceparent="00-a-b-01"), org_scope(org_id):
        result = see.apply_async()
    with bind(correlation_id="c-2"):
        assert result.get() == ["c-1", "00-a-b-01", str(org_id), False]


@pytest.mark.django_db(transaction=True)
def test_a_task_sent_from_nowhere_reaches_no_organisations_rows(eager) -> None:
    with pytest.raises(TenancyError):
        touch.apply_async()
    assert see_all.apply_async().get()[2:] == ["None", True]


@pytest.mark.django_db(transaction=True)
def test_a_task_is_refused_inside_a_transaction() -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="enqueue"):
        see.delay()


@pytest.mark.django_db(transaction=True)
def test_an_enqueued_task_is_sent_at_the_commit_and_never_without_it(monkeypatch) -> None:
    tasks: list[dict] = []
    monkeypatch.setattr(background.BackgroundTask, "apply_async", lambda self, **call: tasks.append(call))
    with bind(correlation_id="c-1"), transaction.atomic():
        enqueue(see)
    with transaction.atomic():
        enqueue(see)
        transaction.set_rollback(True)
    assert [task["headers"][HEADER]["correlation_id"] for task in tasks] == ["c-1"]
