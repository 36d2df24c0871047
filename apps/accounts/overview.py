"""Organisations on the staff's overview, and who of the staff is in somebody's place."""

from datetime import timedelta

from django.db.models import Count, Q

from apps.accounts.models import Impersonation, Organization, OrgStatus
from apps.core.clock import now
from apps.core.overview import Figure, Panel, register_panel
from apps.core.web.figures import count

__all__: list[str] = []


def _organisations() -> Panel:
    found = Organization.objects.order_by().aggregate(
        active=Count("pk", filter=Q(status=OrgStatus.ACTIVE)),
        suspended=Count("pk", filter=Q(status=OrgStatus.SUSPENDED)),
        new=Count("pk", filter=Q(created_at__gte=now() - timedelta(days=7))),
    )
    stays = list(
        Impersonation.objects.select_related("staff", "user", "org").filter(ended_at=None, ends_at__gt=now())[:20]
    )
    return Panel(
        [
            Figure("Active", count(found["active"]), f"{count(found['new'])} new in seven days"),
            Figure("Suspended", count(found["suspended"])),
            Figure("Staff in a member's place", count(len(stays)), ", ".join(f"{s.staff} as {s.user}" for s in stays)),
        ]
    )


register_panel(
    key="accounts.organisations", title="Organisations", load=_organisations, order=60,
    links=(("Organisations", "accounts_organization"), ("Stays", "accounts_impersonation")),
)  # fmt: skip
