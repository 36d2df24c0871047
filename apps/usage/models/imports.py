"""Imports: what became of a file, which of its chunks are counted, and what was refused."""

from django.db import models

from apps.core.basemodels import TimestampedModel
from apps.core.clock import now
from apps.core.tenancy import OrgScopedModel

__all__ = ["UNFINISHED", "Import", "ImportChunk", "ImportProblem"]

UNFINISHED = ("queued", "running")


class Import(OrgScopedModel, TimestampedModel):
    """A file of usage events on its way. ``bytes_read`` and ``lines_read`` say how far it is counted, to the byte.

    ``content_bytes`` and ``content_sha256`` are of the content when inflated; empty until it was read through once.
    """

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELLED = "cancelled"

    class Origin(models.TextChoices):
        UPLOAD = "upload"
        COMMAND = "command"

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    project = models.ForeignKey("projects.Project", on_delete=models.CASCADE, related_name="+")
    key_id = models.UUIDField(help_text="The key that its events count under.")
    origin = models.CharField(max_length=10, choices=Origin.choices)
    name = models.CharField(max_length=200, help_text="The file's name, as it came.")
    idempotency_key = models.CharField(max_length=255, null=True)
    stored_as = models.CharField(max_length=40, blank=True, help_text="The file in the data directory, while kept.")
    format = models.CharField(max_length=5, blank=True, help_text="jsonl or csv; empty until it was looked at.")
    compression = models.CharField(max_length=4, blank=True)
    size_bytes = models.BigIntegerField()
    content_bytes = models.BigIntegerField(null=True)
    content_sha256 = models.BinaryField(null=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    failure = models.TextField(blank=True, help_text="Why it failed, as a sentence.")
    final = models.BooleanField(
        default=False, db_default=False, help_text="Whether what it failed for stays, so that it cannot be resumed."
    )
    bytes_read = models.BigIntegerField(default=0)
    lines_read = models.BigIntegerField(default=0)
    accepted = models.BigIntegerField(default=0)
    duplicates = models.BigIntegerField(default=0)
    rejected = models.BigIntegerField(default=0)
    repeated = models.BigIntegerField(default=0, help_text="Lines of chunks that were imported before.")
    problems_kept = models.IntegerField(default=0)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta(OrgScopedModel.Meta):
        ordering = ("-created_at", "-id")
        constraints = (models.UniqueConstraint(fields=["org", "project", "idempotency_key"], name="usage_import_once"),)
        indexes = (
            models.Index(fields=["org", "-created_at", "-id"], name="usage_import_newest"),
            models.Index(
                fields=["org", "created_at"], condition=models.Q(state__in=UNFINISHED), name="usage_import_unfinished"
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def why(self) -> str:
        """Why it failed, with the stop that some reasons come without; empty of one that did not."""
        return f"{self.failure.rstrip('.')}." if self.failure else ""

    @property
    def is_resumable(self) -> bool:
        """Whether going on with it can help, and its file is still there."""
        return self.state == self.State.FAILED and not self.final and bool(self.stored_as)

    @property
    def percent(self) -> float:
        """How much of the content is counted, 0 to 100."""
        if self.state == self.State.COMPLETED:
            return 100.0
        return round(100 * self.bytes_read / self.content_bytes, 1) if self.content_bytes else 0.0


class ImportChunk(OrgScopedModel):
    """A chunk of lines that is counted, known for ever by the digest of its bytes."""

    id = models.BigAutoField(primary_key=True)
    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    project = models.ForeignKey("projects.Project", on_delete=models.CASCADE, related_name="+", db_index=False)
    of = models.ForeignKey(Import, on_delete=models.CASCADE, related_name="+")
    digest = models.BinaryField()
    first_line = models.BigIntegerField()
    events = models.IntegerField()
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta(OrgScopedModel.Meta):
        constraints = (models.UniqueConstraint(fields=["project", "digest"], name="usage_import_chunk_once"),)

    def __str__(self) -> str:
        return f"from line {self.first_line}"


class ImportProblem(OrgScopedModel):
    """A line that was refused, and why."""

    id = models.BigAutoField(primary_key=True)
    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    of = models.ForeignKey(Import, on_delete=models.CASCADE, related_name="+", db_index=False)
    line = models.BigIntegerField()
    event_id = models.CharField(max_length=100, null=True)
    code = models.CharField(max_length=64)
    detail = models.TextField()
    pointer = models.TextField(blank=True)

    class Meta(OrgScopedModel.Meta):
        constraints = (models.UniqueConstraint(fields=["of", "line"], name="usage_import_problem_line"),)

    def __str__(self) -> str:
        return f"line {self.line}: {self.code}"
