"""The share of accounts in an organisation's data, and the trail's: exported with names, erased but for the trail."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.db.models import Q

from apps.accounts.models import AccessReview, CustomRole, Impersonation, Membership, Organization, OrgExport, OrgSlug
from apps.accounts.org_exports import file_of
from apps.audit.contracts import AuditFilter
from apps.audit.selectors import audit_list
from apps.core.orgdata import OrgArea, OrgTable, erase_models, register_area
from apps.core.tenancy import org_scope

__all__ = ["register"]


def _organization(org_id: UUID) -> Iterator[dict[str, Any]]:
    yield from map(dict, Organization.objects.filter(pk=org_id).values())


def _members(org_id: UUID) -> Iterator[dict[str, Any]]:
    with org_scope(org_id):
        rows = Membership.objects.order_by("pk").values(
            "id", "user_id", "user__email", "user__name", "role", "created_at", "updated_at"
        )
    yield from rows.iterator(chunk_size=500)


def _rows(model: Any) -> Any:
    def rows(org_id: UUID) -> Iterator[dict[str, Any]]:
        with org_scope(org_id):
            found = model.objects.order_by("pk").values()
        yield from found.iterator(chunk_size=500)

    return rows


_ENTRY = (
    "id", "occurred_at", "action", "actor_kind", "actor_id", "actor_label", "impersonator_id", "ip", "user_agent",
    "correlation_id", "target_type", "target_id", "target_label", "changes", "reason",
)  # fmt: skip


def _trail(org_id: UUID) -> Iterator[dict[str, Any]]:
    """Fetched as rows, page by page: what is sealed is opened then, and only then."""
    after = Q()
    while True:
        with org_scope(org_id):
            page = list(audit_list(AuditFilter()).filter(after).order_by("occurred_at", "id")[:500])
        if not page:
            return
        yield from ({name: getattr(entry, name) for name in _ENTRY} for entry in page)
        last = page[-1]
        after = Q(occurred_at__gt=last.occurred_at) | Q(occurred_at=last.occurred_at, id__gt=last.pk)


def _erase(org_id: UUID, limit: int) -> dict[str, int]:
    with org_scope(org_id):
        for export_id in OrgExport.objects.values_list("pk", flat=True)[:limit]:
            file_of(export_id).unlink(missing_ok=True)
    # A membership holds on to the role that it names, by a foreign key that the models do not know.
    return erase_models("accounts", org_id, limit, first=("Membership",))


def register() -> None:
    """Make the areas known."""
    tables = [
        OrgTable("organization", _organization),
        OrgTable("members", _members),
        OrgTable("roles", _rows(CustomRole)),
        OrgTable("access_reviews", _rows(AccessReview)),
        OrgTable("short_names", _rows(OrgSlug)),
        OrgTable("staff_visits", _rows(Impersonation)),
        OrgTable("exports", _rows(OrgExport)),
    ]
    register_area(OrgArea("accounts", lambda: tables, _erase))
    register_area(
        OrgArea(
            "audit",
            lambda: [OrgTable("trail", _trail)],
            # Where it was sent and what was made of it; the trail itself is no table that models are to empty.
            lambda org_id, limit: erase_models("audit", org_id, limit),
        )
    )
