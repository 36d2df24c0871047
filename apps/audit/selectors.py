"""Reading the trail."""

from django.db.models import QuerySet

from apps.audit.contracts import AuditFilter
from apps.audit.models import AuditEntry

__all__ = ["audit_list"]


def audit_list(wanted: AuditFilter) -> QuerySet[AuditEntry]:
    """The entries of the scope's organisation that meet the filter; the caller orders and pages."""
    conditions = {
        "actor_id": wanted.actor_id,
        "target_type": wanted.target_type,
        "target_id": wanted.target_id,
        "correlation_id": wanted.correlation_id,
        "occurred_at__gte": wanted.start,
        "occurred_at__lt": wanted.end,
    }
    if wanted.action is not None and wanted.action.endswith(".*"):
        conditions["action__startswith"] = wanted.action.removesuffix("*")
    else:
        conditions["action"] = wanted.action
    entries: QuerySet[AuditEntry] = AuditEntry.objects.filter(
        **{name: value for name, value in conditions.items() if value is not None}
    )
    return entries
