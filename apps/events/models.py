"""The tables of the bus.

``events_outbox`` and ``events_processed`` are partitioned by day (see the first migration): a week later a day is
dropped whole. ``events_delivery`` holds only what is still to be done and stays small.
"""

from django.db import models

from apps.core.basemodels import UUIDModel
from apps.core.clock import now
from apps.core.tenancy import OrgScopedModel

__all__ = ["DeadLetter", "Delivery", "OutboxEvent", "Processed", "SubscriptionState"]


class OutboxEvent(OrgScopedModel):
    """A published event, written in the publisher's transaction and kept for seven days."""

    # In the database the key is (seq, published_at), as a partitioned table needs it; seq alone is unique by sequence.
    seq = models.BigIntegerField(primary_key=True, editable=False)
    event_id = models.UUIDField()
    topic = models.TextField()
    type = models.TextField()
    key = models.TextField()
    org_id = models.UUIDField(null=True)  # type: ignore[assignment]
    envelope = models.JSONField()
    published_at = models.DateTimeField()
    relayed = models.BooleanField(default=False)

    class Meta(OrgScopedModel.Meta):
        db_table = "events_outbox"
        verbose_name = "event"

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"


class SubscriptionState(models.Model):
    """What the bus remembers of a subscription: what it is doing at this moment, and whether staff paused it."""

    name = models.TextField(primary_key=True)
    types = models.JSONField(default=list)
    is_paused = models.BooleanField(default=False)
    # Deliveries begun and not yet ended. Found by the next dispatcher, they tell that one died in the midst of them.
    running = models.JSONField(default=dict)
    last_delivered_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "events_subscription"
        verbose_name = "subscription"

    def __str__(self) -> str:
        return self.name


class Delivery(models.Model):
    """An event that a subscription has still to handle; gone once it has."""

    class State(models.TextChoices):
        READY = "ready"
        RETRYING = "retrying"  # failed; to be tried again at ``due_at``
        PARKED = "parked"  # behind a retrying one of the same key

    id = models.BigAutoField(primary_key=True)
    subscription = models.TextField()
    event_id = models.UUIDField()
    topic = models.TextField()
    key = models.TextField()
    envelope = models.JSONField()
    state = models.TextField(choices=State.choices, default=State.READY)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=now)

    class Meta:
        db_table = "events_delivery"
        verbose_name_plural = "deliveries"
        indexes = [
            models.Index("subscription", "id", condition=models.Q(state="ready"), name="events_delivery_ready"),
            models.Index("subscription", "due_at", condition=models.Q(state="retrying"), name="events_delivery_retry"),
            models.Index("subscription", "key", condition=models.Q(state="parked"), name="events_delivery_parked"),
        ]

    def __str__(self) -> str:
        return f"{self.subscription} ← {self.event_id}"


class Processed(models.Model):
    """That a subscription has handled an event; written in the handler's transaction, so both stand or fall."""

    # In the database the key is (published_on, subscription, event_id).
    event_id = models.UUIDField(primary_key=True)
    subscription = models.TextField()
    published_on = models.DateField()
    processed_at = models.DateTimeField(default=now)

    class Meta:
        db_table = "events_processed"
        verbose_name_plural = "processed"

    def __str__(self) -> str:
        return f"{self.subscription} ✓ {self.event_id}"


class DeadLetter(UUIDModel, OrgScopedModel):
    """An event that a subscription could not handle; staff replay or discard it."""

    class Status(models.TextChoices):
        OPEN = "open"
        REPLAYED = "replayed"
        DISCARDED = "discarded"

    subscription = models.TextField()
    event_id = models.UUIDField()
    type = models.TextField()
    topic = models.TextField()
    key = models.TextField()
    org_id = models.UUIDField(null=True)  # type: ignore[assignment]
    envelope = models.JSONField()
    attempts = models.PositiveSmallIntegerField()
    error = models.TextField()
    status = models.TextField(choices=Status.choices, default=Status.OPEN)
    created_at = models.DateTimeField(default=now)
    resolved_at = models.DateTimeField(null=True)
    resolved_by = models.TextField(blank=True, default="")

    class Meta(OrgScopedModel.Meta):
        db_table = "events_dead_letter"
        indexes = [
            models.Index("subscription", "created_at", condition=models.Q(status="open"), name="events_dead_open"),
        ]

    def __str__(self) -> str:
        return f"{self.subscription} ✗ {self.type}"
