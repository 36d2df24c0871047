"""Abstract bases of models."""

from django.db import models

from apps.core.clock import now
from apps.core.ids import UUID7, uuid7

__all__ = ["TimestampedModel", "UUIDModel"]


class UUIDModel(models.Model):
    """A row with a UUIDv7 primary key, made in Python, or by PostgreSQL where SQL inserts."""

    id = models.UUIDField(primary_key=True, default=uuid7, db_default=UUID7(), editable=False)

    class Meta:
        abstract = True


class TimestampedModel(UUIDModel):
    """A row that knows when it was made and last saved."""

    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(auto_now=True, editable=False)

    class Meta:
        abstract = True
