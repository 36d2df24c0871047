"""Work that takes its time, with its progress."""

from django.db import models

__all__ = ["Reprice"]


class Reprice(models.Model):
    """A repricing; of all organisations where ``org_id`` is null. Costs are nano-USD of what it changed."""

    id = models.UUIDField(primary_key=True)
    org_id = models.UUIDField(null=True)
    model = models.TextField()
    start_at = models.DateTimeField(null=True)
    end_at = models.DateTimeField(null=True)
    only_unpriced = models.BooleanField()
    reason = models.TextField()
    state = models.TextField()
    looked_at = models.BigIntegerField()
    changed = models.BigIntegerField()
    left_alone = models.BigIntegerField()
    cost_before = models.DecimalField(max_digits=40, decimal_places=0)
    cost_after = models.DecimalField(max_digits=40, decimal_places=0)
    error = models.TextField()
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "usage_reprice"
        verbose_name = "repricing"

    def __str__(self) -> str:
        return f"{self.model or 'all models'}, {self.state}"
