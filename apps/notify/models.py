"""The mails that went out, or are about to; and what people are told inside the product."""

from django.db import models

from apps.core.basemodels import UUIDModel
from apps.core.clock import now
from apps.core.crypto import EncryptedTextField
from apps.core.tenancy import OrgScopedModel

__all__ = ["EmailMessage", "Notification", "NotificationRead", "ReadMark"]


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


class Notification(UUIDModel, OrgScopedModel):
    """Something that an organisation is told: one row, however many people may read it.

    It is for those who hold ``capability`` (empty: every member), or for ``recipient_id`` alone; ``except_id``
    is told otherwise or knows. ``link`` is a path
    below the organisation's own (``settings/members``), so that it survives another short name. ``once`` tells the same
    news apart from new ones: the id of its event, or what it is about where it is told only once.
    """

    class Tone(models.TextChoices):
        INFO = "info"
        OK = "ok"
        WARN = "warn"
        DANGER = "danger"

    org_id = models.UUIDField()
    kind = models.TextField()
    tone = models.TextField(choices=Tone.choices, default=Tone.INFO)
    title = models.TextField()
    body = models.TextField(blank=True, default="")
    link = models.TextField(blank=True, default="")
    capability = models.TextField(blank=True, default="")
    recipient_id = models.UUIDField(null=True)
    except_id = models.UUIDField(null=True)
    once = models.TextField()
    created_at = models.DateTimeField(default=now)

    class Meta(OrgScopedModel.Meta):
        db_table = "notify_notification"
        constraints = (
            models.UniqueConstraint(
                fields=["org_id", "kind", "once", "recipient_id"], nulls_distinct=False, name="notify_told_once"
            ),
        )
        indexes = (
            models.Index(
                "org_id", models.F("created_at").desc(), models.F("id").desc(), name="notify_notification_recent"
            ),
            models.Index(fields=["created_at"], name="notify_notification_age"),
        )

    def __str__(self) -> str:
        return self.title


class ReadMark(OrgScopedModel):
    """How far a person has read in an organisation: everything told up to ``read_to`` counts as read."""

    org_id = models.UUIDField()
    user_id = models.UUIDField()
    read_to = models.DateTimeField()

    class Meta(OrgScopedModel.Meta):
        db_table = "notify_read_mark"
        constraints = (models.UniqueConstraint(fields=["org_id", "user_id"], name="notify_read_mark_unique"),)

    def __str__(self) -> str:
        return f"{self.user_id} to {self.read_to}"


class NotificationRead(OrgScopedModel):
    """One notification behind a person's mark that they have read."""

    org_id = models.UUIDField()
    notification = models.ForeignKey(Notification, on_delete=models.CASCADE, related_name="reads")
    user_id = models.UUIDField()

    class Meta(OrgScopedModel.Meta):
        db_table = "notify_notification_read"
        constraints = (models.UniqueConstraint(fields=["notification", "user_id"], name="notify_read_unique"),)
        indexes = (models.Index(fields=["org_id", "user_id"], name="notify_read_of_person"),)

    def __str__(self) -> str:
        return f"{self.user_id} read {self.notification_id}"
