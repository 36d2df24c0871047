"""The end of the trail on an organisation's page in the staff admin."""

from uuid import UUID

from django.urls import reverse

from apps.audit.contracts import AuditFilter
from apps.audit.selectors import audit_list
from apps.core.registry import PanelContent
from apps.core.tenancy import org_scope
from apps.core.web.figures import utc_label

__all__ = ["audit_panel"]

SHOWN = 10


def audit_panel(org_id: UUID) -> PanelContent:
    """The newest entries about the organisation."""
    with org_scope(org_id):
        rows = list(audit_list(AuditFilter()).order_by("-occurred_at", "-id")[:SHOWN])
    return PanelContent(
        headers=("When", "Action", "By", "What", "Reason"),
        rows=[
            (
                utc_label(row.occurred_at),
                row.action,
                row.actor_label or row.actor_kind,
                row.target_label or row.target_id,
                row.reason or "–",
            )
            for row in rows
        ],
        empty="Nothing is recorded of it.",
        links=[("The whole trail", f"{reverse('admin:audit_auditentry_changelist')}?q={org_id}")],
    )
