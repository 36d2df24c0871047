"""The inbox, the raw events and the ids that were counted."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from apps.core.tenancy import OrgScopedModel
from apps.usage.models.base import OrgSurrogateManager

__all__ = ["EventChunk", "Hint", "HintMark", "IdSegment", "InboxBatch", "Summary", "Unhinted"]


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


class EventChunk(models.Model):
    """Raw events of one organisation that are let go on the same day (:mod:`apps.usage.chunks` reads them)."""

    # In the database partitioned by ``drop_on``; ids are unique by sequence.
    id = models.BigIntegerField(primary_key=True)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    org = models.IntegerField()
    drop_on = models.DateField()
    events = models.IntegerField()
    scan = models.BinaryField()
    facts = models.BinaryField()
    texts = models.BinaryField()

    objects = OrgSurrogateManager()

    class Meta:
        managed = False
        db_table = "usage_chunk"

    def __str__(self) -> str:
        return f"{self.events} events"


class Hint(models.Model):
    """Which of some chunks can hold what (:mod:`apps.usage.hints`); 0 stands for a chunk that it knows no more."""

    id = models.BigIntegerField(primary_key=True)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    org = models.IntegerField()
    drop_on = models.DateField()
    bits = models.SmallIntegerField()
    has_ids = models.BooleanField()
    chunks = ArrayField(models.BigIntegerField())
    combos = models.BinaryField()
    fence = models.BinaryField()
    entries = models.BinaryField()
    who_fence = models.BinaryField(null=True)
    who_entries = models.BinaryField(null=True)
    format = models.SmallIntegerField(default=1)

    objects = OrgSurrogateManager()

    class Meta:
        managed = False
        db_table = "usage_hint"

    def __str__(self) -> str:
        return f"{len(self.chunks)} chunks"


class Unhinted(models.Model):
    """A chunk that was noticed and has no hint yet; ``since`` says when (:mod:`apps.usage.hinting`)."""

    chunk = models.BigIntegerField(primary_key=True)
    org = models.IntegerField()
    drop_on = models.DateField()
    events = models.IntegerField()
    since = models.DateTimeField()

    objects = OrgSurrogateManager()

    class Meta:
        managed = False
        db_table = "usage_unhinted"
        verbose_name = "chunk without a hint"
        verbose_name_plural = "chunks without hints"

    def __str__(self) -> str:
        return f"chunk {self.chunk}"


class HintMark(models.Model):
    """Up to which chunk all were noticed, one row; ``given`` is how far the next look goes.

    In the database it has ``horizon``, too: transactions from before it had ids up to ``given``.
    """

    id = models.SmallIntegerField(primary_key=True)
    upto = models.BigIntegerField()
    given = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "usage_hint_mark"

    def __str__(self) -> str:
        return f"up to chunk {self.upto}"


class IdSegment(models.Model):
    """Sorted keys of counted event ids (:mod:`apps.usage.drain.dedupe`); dropped with their stripe.

    ``run`` says which pieces belong together, null is a run by itself. ``first_key`` and ``last_key`` are the first
    and last upper half less 2^63; null in rows from before there were pieces.
    """

    id = models.BigIntegerField(primary_key=True)
    slots = models.IntegerField()
    stripe = models.IntegerField()
    level = models.SmallIntegerField()
    ids = models.IntegerField()
    run = models.BigIntegerField(null=True)
    first_key = models.BigIntegerField(null=True)
    last_key = models.BigIntegerField(null=True)
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
