"""An organisation's page in the staff admin: what it is, what it does, and its suspension.

Other apps add their panels through :data:`apps.core.registry.staff_org_panels`; one that fails says so and takes none
of the others with it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection, transaction
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.accounts.models import Membership, Organization, OrgStatus
from apps.audit.contracts import AuditFilter
from apps.audit.selectors import audit_list
from apps.core import ports
from apps.core.context import current
from apps.core.registry import PanelContent, StaffOrgPanel, nav, staff_org_panels
from apps.core.tenancy import org_scope
from apps.core.web.figures import count, utc_label

__all__ = ["Fact", "Panel", "facts", "members_panel", "panels", "tenant_links"]

SHOWN = 20
LIMITS = (("projects", "Projects"), ("seats", "Seats"), ("calls", "Calls a month"), ("cost_usd", "USD a month"))
# No statement of a panel may hold a connection for longer.
_SECONDS = 10

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of the list at the top."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel with its content, or with the sentence about its failure."""

    key: str
    title: str
    content: PanelContent | None
    failure: str = ""


# ---------------------------------------------------------------- facts
def facts(org: Organization) -> list[Fact]:
    """What the organisation is; three queries at most."""
    return [
        Fact("Short name", org.slug),
        Fact("Id", str(org.pk)),
        _status(org),
        Fact("Plan", org.plan.capitalize(), _limits(org.pk)),
        Fact("Time zone", org.timezone.replace("_", " ")),
        Fact("Raw events kept", f"{org.raw_retention_days} days"),
        Fact("Created", utc_label(org.created_at)),
    ]


def _status(org: Organization) -> Fact:
    if org.status == OrgStatus.DELETED:
        then = "being erased" if org.erasing_at else f"erased on {utc_label(org.erase_at)}" if org.erase_at else ""
        return Fact("Status", "Deleted", ", ".join(filter(None, (utc_label(org.deleted_at), then))))
    suspended = org.status == OrgStatus.SUSPENDED
    with org_scope(org.pk):
        entries = audit_list(AuditFilter(action="org.suspended" if suspended else "org.resumed"))
        entry = entries.order_by("-occurred_at", "-id").first()
    since = f"since {utc_label(entry.occurred_at)}, by {entry.actor_label or entry.actor_kind}" if entry else ""
    note = ": ".join(filter(None, (since, org.status_reason)))
    return Fact("Status", "Suspended" if suspended else "Active", note)


def _limits(org_id: UUID) -> str:
    limits = ports.plan_limits.get()
    found = [(label, limits.limit(org_id, name)) for name, label in LIMITS]
    said = ", ".join(f"{label}: {count(limit)}" for label, limit in found if limit is not None)
    return said or "nothing is limited"


def tenant_links(org: Organization) -> Sequence[tuple[str, str]]:
    """The pages that the organisation's own people see."""
    links = []
    for item in nav.all():
        try:
            links.append((item.label, reverse(item.url_name, args=[org.slug])))
        except NoReverseMatch:
            continue  # a place whose page is not there yet
    return links


# ---------------------------------------------------------------- panels
def panels(org_id: UUID) -> list[Panel]:
    """Every panel, in order. What one of them raises is recorded and told on the page, in its place."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{_SECONDS}s"])
        return [_panel(panel, org_id) for panel in staff_org_panels.all()]


def _panel(panel: StaffOrgPanel, org_id: UUID) -> Panel:
    try:
        # A savepoint of its own: a query that fails or takes too long takes no other panel with it.
        with transaction.atomic():
            content = panel.content(org_id)
    except Exception:
        logger.exception("The panel %s of organisation %s could not be read", panel.key, org_id)
        name = current().correlation_id
        return Panel(panel.key, panel.title, None, f"This part could not be read. The failure is recorded as {name}.")
    return Panel(panel.key, panel.title, content)


def _member_link(row: Membership) -> SafeString:
    """To the page from which staff may enter in their place."""
    return format_html(
        '<a class="font-medium text-primary-600 dark:text-primary-500" href="{}">{}</a>',
        reverse("admin:accounts_membership_change", args=[row.pk]), row.user.email,
    )  # fmt: skip


def members_panel(org_id: UUID) -> PanelContent:
    """The first members by address, with their roles, and how many there are."""
    with org_scope(org_id):
        rows = list(Membership.objects.select_related("user").order_by("user__email")[: SHOWN + 1])
        total = Membership.objects.count() if len(rows) > SHOWN else len(rows)
    return PanelContent(
        headers=("E-mail address", "Name", "Role", "Joined", "Last signed in"),
        rows=[
            (_member_link(row), row.user.name, row.role, utc_label(row.created_at), utc_label(row.user.last_login))
            for row in rows[:SHOWN]
        ],
        empty="Nobody belongs to it.",
        note=f"{SHOWN} of {count(total)}" if total > SHOWN else "",
        links=[("All members", f"{reverse('admin:accounts_membership_changelist')}?org__id__exact={org_id}")],
    )
