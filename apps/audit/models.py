"""The trail and what seals it. Migrations make the tables in SQL: partitioned by month, refusing UPDATE and DELETE."""

from typing import Any

from django.db import models

from apps.core.basemodels import TimestampedModel, UUIDModel
from apps.core.clock import now
from apps.core.crypto import EncryptedJSONField, EncryptedTextField
from apps.core.tenancy import OrgScopedManager, OrgScopedModel, OrgScopedQuerySet

__all__ = [
    "AuditEntry",
    "AuditExport",
    "AuditRetention",
    "AuditStream",
    "Chain",
    "Checkpoint",
    "DataKey",
    "SealingKey",
    "SystemStream",
]


class EntryQuerySet(OrgScopedQuerySet["AuditEntry"]):
    """Opens what is sealed in the rows that it fetches, all of them together: one query for their keys."""

    def _fetch_all(self) -> None:
        fetched = self._result_cache is None
        super()._fetch_all()
        if fetched:
            from apps.audit.sealed import reveal

            reveal([row for row in self._result_cache or () if isinstance(row, AuditEntry)])


class EntryManager(OrgScopedManager):
    """Answers in a scope only, as every manager of organisations' rows does."""

    _queryset_class = EntryQuerySet


class AuditEntry(UUIDModel, OrgScopedModel):
    """One act: who did what to what, when, from where, and what changed by it.

    What is personal, and all that an organisation's entry says beyond ids and names of actions, stands in ``sealed``
    and is read out of there when rows are fetched; ``.values()`` and SQL see the columns as they are, empty.
    ``erased`` says that some of it cannot be read any more, because its key was destroyed.
    """

    # In the database the key is (id, occurred_at), as a partitioned table needs it. The table has two columns more that
    # no code of ours writes: ``seq`` numbers the entries and ``xid`` is the writing transaction, so that whoever seals
    # the trail can tell up to which number nothing more will come.
    occurred_at = models.DateTimeField(default=now)
    org_id = models.UUIDField(null=True)  # type: ignore[assignment]
    action = models.TextField()
    actor_kind = models.TextField()
    actor_id = models.UUIDField(null=True)
    actor_label = models.TextField(blank=True, default="")
    impersonator_id = models.UUIDField(null=True)
    ip = models.GenericIPAddressField(null=True)
    user_agent = models.TextField(blank=True, default="")
    correlation_id = models.TextField()
    target_type = models.TextField()
    target_id = models.TextField()
    target_label = models.TextField(blank=True, default="")
    changes = models.JSONField(default=dict)
    reason = models.TextField(blank=True, default="")
    sealed = models.JSONField(default=list)
    # What an entry is found by whose address is asked for: see ``apps.audit.keys``. No part of what the chain covers.
    ip_mark = models.BinaryField(null=True)

    objects = EntryManager()  # type: ignore[misc]

    erased: bool = False

    class Meta(OrgScopedModel.Meta):
        # Not Django's to make or to empty: its table is SQL of the migration.
        managed = False
        db_table = "audit_entry"
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.action} {self.target_label or self.target_id}"

    def refresh_from_db(self, *args: Any, **kwargs: Any) -> None:
        super().refresh_from_db(*args, **kwargs)
        from apps.audit.sealed import reveal

        reveal([self])


class DataKey(OrgScopedModel):
    """A key under which values of the trail are sealed: of a person, of an organisation, or of a month's strangers.

    The key itself is no field: only ``apps.audit.keys`` touches it. A destroyed one keeps its row, so that nothing is
    sealed readably for whoever was erased.
    """

    id = models.UUIDField(primary_key=True)
    org_id = models.UUIDField(null=True)  # type: ignore[assignment]
    person_id = models.UUIDField(null=True)
    subject = models.TextField(default="")
    created_at = models.DateTimeField(default=now)
    destroyed_at = models.DateTimeField(null=True)

    class Meta(OrgScopedModel.Meta):
        managed = False
        db_table = "audit_key"
        verbose_name = "data key"

    def __str__(self) -> str:
        return str(self.pk)


class Chain(models.Model):
    """How far an organisation's chain has come, signed; its id is the organisation's, or zero for what has none."""

    chain_id = models.UUIDField(primary_key=True)
    position = models.BigIntegerField()
    digest = models.BinaryField()
    signed_at = models.DateTimeField()
    key_id = models.UUIDField()
    signature = models.BinaryField()
    checkpoint_position = models.BigIntegerField(default=0)
    checkpoint_at = models.DateTimeField(null=True)
    verified_at = models.DateTimeField(null=True)
    verified_position = models.BigIntegerField(null=True)
    broken = models.JSONField(null=True)

    class Meta:
        managed = False
        db_table = "audit_chain"

    def __str__(self) -> str:
        return f"{self.chain_id} up to {self.position}"


class Checkpoint(UUIDModel):
    """A signed statement of what the chain's digest was at a position. ``close``: what came before may be gone."""

    chain_id = models.UUIDField()
    position = models.BigIntegerField()
    kind = models.TextField()
    digest = models.BinaryField()
    made_at = models.DateTimeField()
    key_id = models.UUIDField()
    signature = models.BinaryField()

    class Meta:
        managed = False
        db_table = "audit_checkpoint"

    def __str__(self) -> str:
        return f"{self.chain_id} at {self.position}"


class SealingKey(UUIDModel):
    """A key pair (Ed25519) that signs chains. The newest signs; all verify, for ever."""

    public_jwk = models.JSONField()
    private_pem = EncryptedTextField()
    created_at = models.DateTimeField(default=now)
    retired_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "audit_signing_key"
        ordering = ("-created_at", "-id")

    def __str__(self) -> str:
        return str(self.pk)


class AuditStream(TimestampedModel, OrgScopedModel):
    """Where an organisation has its sealed entries sent: a webhook, or a syslog receiver.

    ``position`` is the last place of the chain that the receiver has confirmed (over UDP: that was sent).
    """

    class State(models.TextChoices):
        ACTIVE = "active"
        PAUSED = "paused"
        DEAD = "dead"  # it failed for days; somebody has to look, and resume it

    class Format(models.TextChoices):
        JSON = "json"
        CEF = "cef"

    org_id = models.UUIDField(db_index=True)
    name = models.CharField(max_length=120)
    url = models.CharField(max_length=500)
    format = models.CharField(max_length=8, choices=Format.choices, default=Format.JSON)
    secret = EncryptedTextField()
    former_secret = EncryptedTextField(null=True)
    former_until = models.DateTimeField(null=True)
    ca_pem = models.TextField(blank=True, default="")
    state = models.CharField(max_length=8, choices=State.choices, default=State.ACTIVE)
    position = models.BigIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True)
    retry_at = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=500, blank=True, default="")
    sent_at = models.DateTimeField(null=True)

    class Meta(OrgScopedModel.Meta):
        ordering = ("name", "id")

    def __str__(self) -> str:
        return self.name


class AuditExport(TimestampedModel, OrgScopedModel):
    """Entries of an organisation's trail as a file: asked for by a reader, made by a worker, kept for some days.

    ``wanted`` is the filter, encrypted, because an address or an id of somebody may stand in it.
    """

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        READY = "ready"
        FAILED = "failed"
        GONE = "gone"

    org_id = models.UUIDField()
    requested_by_id = models.UUIDField(null=True)
    format = models.CharField(max_length=8)
    wanted = EncryptedJSONField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.QUEUED)
    entries = models.BigIntegerField(default=0)
    total = models.BigIntegerField(null=True)
    size_bytes = models.BigIntegerField(default=0)
    failure = models.CharField(max_length=300, blank=True, default="")
    # When its worker last said that it lives; one that is silent is dead, and the work is begun anew.
    seen_at = models.DateTimeField(default=now)
    attempts = models.PositiveSmallIntegerField(default=0)
    finished_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)

    class Meta(OrgScopedModel.Meta):
        ordering = ("-created_at", "-id")
        verbose_name = "export of the audit log"
        verbose_name_plural = "exports of the audit log"
        indexes = (models.Index(fields=["org_id", "-created_at", "-id"], name="audit_export_org"),)
        constraints = (
            models.UniqueConstraint(
                fields=["org_id"],
                condition=models.Q(state__in=["queued", "running"]),
                name="audit_export_one_at_a_time",
            ),
        )

    def __str__(self) -> str:
        return f"{self.format}, {self.created_at:%Y-%m-%d %H:%M}"


class AuditRetention(TimestampedModel, OrgScopedModel):
    """How long an organisation keeps its log, where that is less than the system does. The database reads it, too,
    before it lets anything be deleted.
    """

    org_id = models.UUIDField(unique=True)
    days = models.PositiveSmallIntegerField()

    class Meta(OrgScopedModel.Meta):
        db_table = "audit_retention"
        verbose_name = "retention of an organisation's log"
        verbose_name_plural = "retentions of organisations' logs"
        constraints = (models.CheckConstraint(condition=models.Q(days__gte=30), name="audit_retention_least"),)

    def __str__(self) -> str:
        return f"{self.days} days"


class SystemStream(models.Model):
    """How far the stream of whoever runs the installation has come: the number of the last entry that was confirmed, by
    its transaction and place. One row, there once a receiver was set (``AUDIT_STREAM_URL``).
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    xid = models.BigIntegerField()
    seq = models.BigIntegerField()
    attempts = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True)
    retry_at = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=500, blank=True, default="")
    sent_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "audit_systemstream"
        verbose_name = "stream of the whole trail"
        verbose_name_plural = "stream of the whole trail"

    def __str__(self) -> str:
        return "The stream of the whole trail"
