"""``Idempotency-Key``: a POST that is sent again does nothing again and gets the same answer.

The record is written in the transaction of the write itself, so there is no moment at which the one stands without the
other. A repeat that arrives while the first is at work waits for it on the record's unique key.
"""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.http import HttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from apps.core.clock import now
from apps.core.contracts import Actor
from apps.core.crypto import decrypt, encrypt
from apps.core.errors import Conflict, Unprocessable, ValidationFailed
from apps.core.models import IdempotencyRecord

__all__ = ["KEPT", "forget_old_answers", "run_once"]

KEPT = timedelta(hours=24)
_WAIT = "10s"
_MAX_KEY = 255


def run_once(
    key: str, *, actor: Actor, org_id: UUID | None, path: str, body: bytes, work: Callable[[], Response]
) -> HttpResponse:
    """Do ``work`` in one transaction with the record of its answer, or give the answer it had before.

    A key means something only for one caller, organisation and path: who belongs to two organisations may use one key
    in each, and is never answered in the one with what was made in the other.

    Raises :class:`Unprocessable` where the key came with another body, :class:`Conflict` where the first is still at
    work after ten seconds, and whatever ``work`` raises, in which case nothing is kept and the key may be used again.
    """
    if not 1 <= len(key) <= _MAX_KEY or not key.isprintable():
        raise ValidationFailed(
            "The Idempotency-Key is not valid",
            errors=[{"pointer": "Idempotency-Key", "detail": f"1 to {_MAX_KEY} printable characters"}],
        )
    scope = hashlib.sha256(f"{actor.kind}\x00{actor.id}\x00{org_id}\x00{path}".encode()).digest()
    digest = hashlib.sha256(body).digest()
    with transaction.atomic():
        record_id = _claim(scope, key, digest)
        if record_id is None:
            return _replay(scope, key, digest)
        response = work()
        content = b"" if response.data is None else JSONRenderer().render(response.data)
        IdempotencyRecord.objects.filter(pk=record_id).update(status=response.status_code, answer=encrypt(content))
        return response


def _claim(scope: bytes, key: str, digest: bytes) -> int | None:
    """The new record's id, or None where there is one already; waits for one that is being written."""
    IdempotencyRecord.objects.filter(scope=scope, key=key, created_at__lt=now() - KEPT).delete()
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [_WAIT])
            cursor.execute(
                "INSERT INTO core_idempotencyrecord (scope, key, body_digest, created_at) VALUES (%s, %s, %s, %s) "
                "ON CONFLICT (scope, key) DO NOTHING RETURNING id",
                [scope, key, digest, now()],
            )
            row = cursor.fetchone()
            cursor.execute("SELECT set_config('lock_timeout', '0', true)")
    except OperationalError as error:
        raise Conflict("The first request with this Idempotency-Key is still at work", code="in_progress") from error
    return row[0] if row else None


def _replay(scope: bytes, key: str, digest: bytes) -> HttpResponse:
    record = IdempotencyRecord.objects.get(scope=scope, key=key)
    if bytes(record.body_digest) != digest:
        raise Unprocessable("This Idempotency-Key came with another body before", code="idempotency_key_reused")
    assert record.status is not None
    assert record.answer is not None
    content = decrypt(bytes(record.answer))
    headers = {"Idempotency-Replayed": "true", "Cache-Control": "no-store"}
    return HttpResponse(content, status=record.status, content_type="application/json", headers=headers)


def forget_old_answers() -> int:
    """Delete what is older than 24 hours; returns how many."""
    deleted, _ = IdempotencyRecord.objects.filter(created_at__lt=now() - KEPT).delete()
    return deleted
