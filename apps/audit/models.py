"""The trail. The first migration makes its table: partitioned by month, refusing UPDATE, DELETE and TRUNCATE."""

from django.db import models

from apps.core.basemodels import UUIDModel
from apps.core.clock import now
from apps.core.tenancy import OrgScopedModel

__all__ = ["AuditEntry"]


class AuditEntry(UUIDModel, OrgScopedModel):
    """One act: who did what to what, when, from where, and what changed by it."""

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

    class Meta(OrgScopedModel.Meta):
        # Not Django's to make or to empty: its table is SQL of the migration.
        managed = False
        db_table = "audit_entry"
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.action} {self.target_label or self.target_id}"
