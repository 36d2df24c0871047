"""The mails that went out, or are about to."""

from django.db import models

from apps.core.basemodels import UUIDModel
from apps.core.clock import now
from apps.core.crypto import EncryptedTextField
from apps.core.tenancy import OrgScopedModel

__all__ = ["EmailMessage"]


class EmailMessage(UUIDModel, OrgScopedModel):
    """One mail to one person.

    Its text may hold a link that signs somebody in: it is encrypted, and wiped once it is sent, except where the
    development mailbox is on.
    """

    class Status(models.TextChoices):
        QUEUED = "queued"
        SENT = "sent"
        FAILED = "failed"

    org_id = models.UUIDField(null=True)  # type: ignore[assignment]
    to = models.EmailField()
    template = models.TextField()
    subject = models.TextField()
    text = EncryptedTextField()
    html = EncryptedTextField()
    status = models.TextField(choices=Status.choices, default=Status.QUEUED)
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=now)
    due_at = models.DateTimeField(default=now)
    sent_at = models.DateTimeField(null=True)
    correlation_id = models.TextField()

    class Meta(OrgScopedModel.Meta):
        db_table = "notify_email"
        verbose_name = "e-mail"
        indexes = [
            models.Index(models.F("created_at").desc(), models.F("id").desc(), name="notify_email_recent"),
            models.Index("due_at", condition=models.Q(status="queued"), name="notify_email_queued"),
            models.Index("to", models.F("created_at").desc(), name="notify_email_to"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} → {self.to}"
