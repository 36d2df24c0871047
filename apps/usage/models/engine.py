"""The inbox, the raw events and the ids that were counted."""

from django.db import models

from apps.core.tenancy import OrgScopedModel
from apps.usage.models.base import OrgSurrogateManager

__all__ = ["IdSegment", "InboxBatch", "RawEvent", "Summary"]


class InboxBatch(OrgScopedModel):
    """Accepted events on their way: one row a batch, frames of :mod:`apps.usage.ingest.frame`."""

    # In the database the key is (id, slot), as a partitioned table needs it; id alone is unique by sequence.
    id = models.BigIntegerField(primary_key=True)
    slot = models.SmallIntegerField()
    org_id = models.UUIDField()
    received_at = models.DateTimeField()
    events = models.IntegerField()
    frames = models.BinaryField()

    class Meta:
        managed = False
        db_table = "usage_inbox"
        verbose_name_plural = "inbox batches"


class RawEvent(models.Model):
    """An event as counted. ``latency_ms`` -1 is unknown.

    ``flags``: 1 priced by the book, 2 the sender reported a cost, 4 ``cost_nano`` is that reported cost, 8 unpriced.
    """

    PRICED, REPORTED, COST_IS_REPORTED, UNPRICED = 1, 2, 4, 8

    ts = models.DateTimeField()
    cost_nano = models.BigIntegerField()
    reported_nano = models.BigIntegerField()
    session = models.BigIntegerField()
    # Unique within an organisation; the drain sees to that, no index does.
    event_id = models.UUIDField(primary_key=True)
    drop_on = models.DateField()
    org = models.IntegerField()
    who = models.IntegerField()
    what = models.IntegerField()
    input_tokens = models.IntegerField()
    output_tokens = models.IntegerField()
    cache_read_tokens = models.IntegerField()
    cache_write_5m_tokens = models.IntegerField()
    cache_write_1h_tokens = models.IntegerField()
    web_searches = models.IntegerField()
    latency_ms = models.IntegerField()
    flags = models.SmallIntegerField()
    stop_reason = models.SmallIntegerField()
    request_id = models.TextField(null=True)
    detail = models.TextField(null=True)
    metadata = models.TextField(null=True)

    objects = OrgSurrogateManager()

    class Meta:
        managed = False
        db_table = "usage_event"

    def __str__(self) -> str:
        return str(self.event_id)


class IdSegment(models.Model):
    """Sorted keys of counted event ids (:mod:`apps.usage.drain.dedupe`); dropped with their stripe."""

    id = models.BigIntegerField(primary_key=True)
    slots = models.IntegerField()
    stripe = models.IntegerField()
    level = models.SmallIntegerField()
    ids = models.IntegerField()
    keys = models.BinaryField()
    created_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "usage_id_segment"

    def __str__(self) -> str:
        return f"{self.ids} ids of stripe {self.stripe}"


class Summary(OrgScopedModel):
    """What a flush counted for an organisation, on its way to the bus."""

    id = models.BigIntegerField(primary_key=True)
    org_id = models.UUIDField()
    data = models.JSONField()

    class Meta:
        managed = False
        db_table = "usage_summary"
        verbose_name_plural = "summaries"
