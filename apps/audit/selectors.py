"""Reading the trail."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from apps.audit.chain import chain_of
from apps.audit.contracts import AuditFilter
from apps.audit.keys import marks_at
from apps.audit.models import AuditEntry, AuditExport, AuditRetention, AuditStream, Chain, DataKey
from apps.core.tenancy import require_org_id

__all__ = [
    "audit_get",
    "audit_list",
    "chain_status",
    "export_get",
    "export_list",
    "forgotten_since",
    "place_of",
    "retention_days",
    "stream_get",
    "stream_list",
]


def audit_list(wanted: AuditFilter) -> QuerySet[AuditEntry]:
    """The entries of the scope's organisation that meet the filter; the caller orders and pages."""
    conditions: dict[str, Any] = {
        "actor_id": wanted.actor_id,
        "target_type": wanted.target_type,
        "target_id": wanted.target_id,
        "correlation_id": wanted.correlation_id,
        "occurred_at__gte": wanted.start,
        "occurred_at__lt": wanted.end,
    }
    if wanted.ip is not None:
        at_address = marks_at(require_org_id(), wanted.ip)
        if at_address is None:
            nothing: QuerySet[AuditEntry] = AuditEntry.objects.none()
            return nothing
        conditions["ip_mark__in"] = at_address
    if wanted.action is not None and wanted.action.endswith(".*"):
        conditions["action__startswith"] = wanted.action.removesuffix("*")
    else:
        conditions["action"] = wanted.action
    entries: QuerySet[AuditEntry] = AuditEntry.objects.filter(
        **{name: value for name, value in conditions.items() if value is not None}
    )
    return entries


def audit_get(entry_id: UUID) -> AuditEntry | None:
    """An entry of the scope's organisation."""
    entry: AuditEntry | None = AuditEntry.objects.filter(pk=entry_id).first()
    return entry


def chain_status(org_id: UUID | None) -> Chain | None:
    """How far an organisation's chain has come and what its last verification found; None before its first seal."""
    return Chain.objects.filter(pk=chain_of(org_id)).first()


def place_of(entry: AuditEntry) -> tuple[int, str] | None:
    """An entry's position in its chain and its digest in hex; None for the seconds until it is sealed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT position, digest FROM audit_seal WHERE entry_id = %s AND occurred_at = %s",
            [entry.pk, entry.occurred_at],
        )
        row = cursor.fetchone()
    return None if row is None else (row[0], bytes(row[1]).hex())


def stream_list() -> QuerySet[AuditStream]:
    """Where the scope's organisation has its log sent."""
    streams: QuerySet[AuditStream] = AuditStream.objects.all()
    return streams


def stream_get(stream_id: UUID) -> AuditStream | None:
    """A stream of the scope's organisation."""
    return stream_list().filter(pk=stream_id).first()


def export_list() -> QuerySet[AuditExport]:
    """The exports of the scope's organisation that workers made or are making; the caller orders and pages."""
    exports: QuerySet[AuditExport] = AuditExport.objects.all()
    return exports


def export_get(export_id: UUID) -> AuditExport | None:
    """An export of the scope's organisation."""
    return export_list().filter(pk=export_id).first()


def retention_days() -> int | None:
    """For how many days the scope's organisation keeps its log; None where that is as long as the system does."""
    days: int | None = AuditRetention.objects.values_list("days", flat=True).first()
    return days


def forgotten_since(org_id: UUID, moment: datetime) -> bool:
    """Whether somebody of whom an organisation's trail tells was forgotten since: copies from before say too much."""
    # The keys of a month are those of strangers, and end with their time.
    gone = DataKey.objects.filter(org_id=org_id, destroyed_at__gte=moment).exclude(subject__startswith="month:")
    return bool(gone.exists())
