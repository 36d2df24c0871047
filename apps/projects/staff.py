"""Projects on an organisation's page in the staff admin."""

from uuid import UUID

from django.db.models import Count, F, Max, Q
from django.urls import reverse

from apps.core.clock import now
from apps.core.registry import PanelContent
from apps.core.web.figures import count, utc_label
from apps.projects.selectors import project_list

__all__ = ["projects_panel"]

SHOWN = 20


def projects_panel(org_id: UUID) -> PanelContent:
    """The first projects by name, archived ones last: how many keys each has and how many of them work."""
    moment = now()
    dead = Q(keys__revoked_at__lte=moment) | Q(keys__expires_at__lte=moment)
    found = project_list(org_id, archived=True).annotate(
        keys_made=Count("keys"), keys_dead=Count("keys", filter=dead), last_used=Max("keys__last_used_at")
    )
    rows = list(found.order_by(F("archived_at").asc(nulls_first=True), "name", "id")[: SHOWN + 1])
    lists = (("All projects", "project"), ("All keys", "apikey"))
    return PanelContent(
        headers=("Project", "State", "Keys that work", "Keys ever made", "A key was last used"),
        rows=[
            (
                row.name,
                "archived" if row.archived_at else "active",
                count(0 if row.archived_at else row.keys_made - row.keys_dead),
                count(row.keys_made),
                utc_label(row.last_used) if row.last_used else "never",
            )
            for row in rows[:SHOWN]
        ],
        numbers=(2, 3),
        empty="It has no projects.",
        note=f"The first {SHOWN}" if len(rows) > SHOWN else "",
        links=[
            (label, f"{reverse(f'admin:projects_{model}_changelist')}?org__id__exact={org_id}")
            for label, model in lists
        ],
    )
