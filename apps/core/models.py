"""Tables of the kernel."""

from django.db import models

from apps.core.clock import now

__all__ = ["IdempotencyRecord"]


class IdempotencyRecord(models.Model):
    """The answer to a POST that carried an ``Idempotency-Key``, kept 24 hours.

    ``scope`` is a digest of who asked and where, ``body_digest`` of what was sent; the answer is encrypted, since it
    may hold a secret that is shown once.
    """

    scope = models.BinaryField(max_length=32)
    key = models.CharField(max_length=255)
    body_digest = models.BinaryField(max_length=32)
    status = models.PositiveSmallIntegerField(null=True)
    answer = models.BinaryField(null=True)
    created_at = models.DateTimeField(default=now)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["scope", "key"], name="core_idempotency_unique"),)
        indexes = (models.Index(fields=["created_at"], name="core_idempotency_age"),)

    def __str__(self) -> str:
        return self.key
