"""What the scheduler keeps: the declared jobs, as staff see them, and each run."""

from django.db import models

from apps.core.basemodels import UUIDModel
from apps.core.clock import now

__all__ = ["JobRun", "JobState"]


class JobState(models.Model):
    """A declared job; the code says what it is, staff say whether the clock may start it."""

    name = models.TextField(primary_key=True)
    description = models.TextField(blank=True, default="")
    schedule = models.TextField()
    queue = models.TextField()
    is_enabled = models.BooleanField(default=True)
    is_declared = models.BooleanField(default=True)

    class Meta:
        db_table = "scheduler_job"
        verbose_name = "job"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class JobRun(UUIDModel):
    """One attempt at a job. A retry is a run of its own under the same correlation id."""

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        LOST = "lost"  # its worker died
        SKIPPED = "skipped"  # the run before it was still going on

    class Trigger(models.TextChoices):
        CLOCK = "clock"
        STAFF = "staff"
        RETRY = "retry"

    job = models.TextField()
    status = models.TextField(choices=Status.choices)
    trigger = models.TextField(choices=Trigger.choices)
    attempt = models.PositiveSmallIntegerField(default=1)
    created_at = models.DateTimeField(default=now)
    due_at = models.DateTimeField(default=now)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    result = models.JSONField(null=True)
    error = models.TextField(blank=True, default="")
    worker = models.TextField(blank=True, default="")
    requested_by = models.TextField(blank=True, default="")
    correlation_id = models.TextField()

    class Meta:
        db_table = "scheduler_run"
        verbose_name = "run"
        indexes = [
            models.Index("job", models.F("created_at").desc(), name="scheduler_run_job"),
            models.Index(models.F("created_at").desc(), models.F("id").desc(), name="scheduler_run_recent"),
            models.Index(
                "status", "due_at", condition=models.Q(status__in=["queued", "running"]), name="scheduler_run_open"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job} {self.status}"
