"""Writes of streams; their front door is :mod:`apps.audit.services`."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from apps.audit.chain import chain_of
from apps.audit.models import AuditStream
from apps.core.clock import now
from apps.core.errors import Conflict, NotFound

__all__ = ["create_stream", "delete_stream", "rotate_stream_secret", "test_stream", "update_stream"]

MOST = 10
_OVERLAP = timedelta(hours=24)


@transaction.atomic
def create_stream(
    *, org_id: UUID, name: str, url: str, format: str = "json", ca_pem: str = "", from_start: bool = False
) -> tuple[AuditStream, str]:
    """Have the organisation's log sent to ``url`` from now on, or from its oldest entry; with its secret, shown once.

    Raises :class:`ValidationFailed` for an address that cannot be one, :class:`Conflict` beyond ten streams.
    """
    from apps.audit.streams import check_url, new_secret

    check_url(url)
    if AuditStream.objects.filter(org_id=org_id).count() >= MOST:
        raise Conflict(f"An organisation has {MOST} streams at most")
    with connection.cursor() as cursor:
        cursor.execute("SELECT position FROM audit_chain WHERE chain_id = %s", [chain_of(org_id)])
        row = cursor.fetchone()
    secret = new_secret()
    stream: AuditStream = AuditStream.objects.create(
        org_id=org_id,
        name=name,
        url=url,
        format=format,
        ca_pem=ca_pem,
        secret=secret,
        position=0 if from_start or row is None else row[0],
    )
    _record("audit.stream_created", stream, after={"url": url, "format": format})
    return stream, secret


@transaction.atomic
def update_stream(*, org_id: UUID, stream_id: UUID, changes: dict[str, Any]) -> AuditStream:
    """Change name, url, format or state (``active`` resumes it at once, whatever failed before; ``paused``)."""
    from apps.audit.streams import check_url

    stream = _get(org_id, stream_id)
    if "url" in changes:
        check_url(changes["url"])
    before = {name: str(getattr(stream, name)) for name in changes}
    for name, value in changes.items():
        setattr(stream, name, value)
    if changes.get("state") == AuditStream.State.ACTIVE:
        stream.attempts, stream.failing_since, stream.retry_at, stream.last_error = 0, None, None, ""
    stream.save()
    _record("audit.stream_changed", stream, before=before, after={name: str(value) for name, value in changes.items()})
    return stream


@transaction.atomic
def rotate_stream_secret(*, org_id: UUID, stream_id: UUID) -> str:
    """A new secret, shown once; for 24 hours calls carry a signature under the former one too."""
    from apps.audit.streams import new_secret

    stream = _get(org_id, stream_id)
    secret = new_secret()
    stream.former_secret, stream.former_until, stream.secret = stream.secret, now() + _OVERLAP, secret
    stream.save()
    _record("audit.stream_changed", stream, before={"secret": "old"}, after={"secret": "new"})
    return secret


@transaction.atomic
def delete_stream(*, org_id: UUID, stream_id: UUID) -> None:
    """Send nothing there any more."""
    stream = _get(org_id, stream_id)
    _record("audit.stream_removed", stream, before={"url": stream.url})
    stream.delete()


def test_stream(*, org_id: UUID, stream_id: UUID) -> str:
    """Send a message that says it is a test; empty where the receiver took it, else why it did not."""
    from apps.audit.streams import deliver_now

    stream = AuditStream.objects.filter(org_id=org_id, pk=stream_id).first()
    if stream is None:
        raise NotFound()
    return deliver_now(stream)


def _get(org_id: UUID, stream_id: UUID) -> AuditStream:
    stream: AuditStream | None = AuditStream.objects.select_for_update().filter(org_id=org_id, pk=stream_id).first()
    if stream is None:
        raise NotFound()
    return stream


def _record(action: str, stream: AuditStream, **details: Any) -> None:
    from apps.audit import services

    services.record(
        action=action,
        org_id=stream.org_id,
        target_type="audit_stream",
        target_id=stream.pk,
        target_label=stream.name,
        **details,
    )
