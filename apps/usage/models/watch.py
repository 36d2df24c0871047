"""What the engine says about itself."""

from django.db import models

from apps.core.tenancy import OrgScopedModel

__all__ = ["SetAside", "Shard", "Stall", "Upkeep"]


class Shard(models.Model):
    """A shard of the drain about itself, written about once a second; ``slots`` is a bit mask."""

    shard = models.SmallIntegerField(primary_key=True)
    slots = models.IntegerField()
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    flushed_at = models.DateTimeField(null=True)
    events_per_second = models.FloatField()
    ids = models.BigIntegerField()
    segments = models.IntegerField()
    filter_bytes = models.BigIntegerField()
    false_positives = models.BigIntegerField()
    filter_full = models.BooleanField(default=False)

    class Meta:
        managed = False
        db_table = "usage_shard"
        verbose_name = "shard"
        verbose_name_plural = "usage engine"

    def __str__(self) -> str:
        return f"Shard {self.shard}"


class Stall(models.Model):
    """A shard that does not move while its slots wait: seen once (``told_at`` is null), or told of. -1 is nobody's."""

    shard = models.SmallIntegerField(primary_key=True)
    slots = models.IntegerField()
    seen_at = models.DateTimeField()
    told_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "usage_stall"

    def __str__(self) -> str:
        return f"Shard {self.shard}"


class SetAside(OrgScopedModel):
    """A row of the inbox that could not be counted, as it was, and why not."""

    id = models.BigIntegerField(primary_key=True)
    slot = models.SmallIntegerField()
    org_id = models.UUIDField()
    received_at = models.DateTimeField()
    events = models.IntegerField()
    frames = models.BinaryField()
    reason = models.TextField()
    set_aside_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "usage_set_aside"
        verbose_name = "batch set aside"
        verbose_name_plural = "batches set aside"

    def __str__(self) -> str:
        return f"Batch {self.id}"


class Upkeep(models.Model):
    """Work of a shard beside the counting that fails (``ended_at`` is null), or did and this is not told yet."""

    id = models.IntegerField(primary_key=True)
    shard = models.SmallIntegerField()
    work = models.TextField()
    since = models.DateTimeField()
    reason = models.TextField()
    told_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "usage_upkeep"
        verbose_name = "piece of work that fails"
        verbose_name_plural = "work that fails"

    def __str__(self) -> str:
        return f"{self.work} of shard {self.shard}"
