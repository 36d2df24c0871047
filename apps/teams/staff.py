"""Teams on an organisation's page in the staff admin."""

from uuid import UUID

from django.db.models import Count
from django.urls import reverse

from apps.core.registry import PanelContent
from apps.core.web.figures import count
from apps.teams.selectors import team_list

__all__ = ["teams_panel"]

SHOWN = 20


def teams_panel(org_id: UUID) -> PanelContent:
    """The first teams by name, with how many are in each."""
    found = team_list(org_id).select_related("parent").annotate(people=Count("memberships")).order_by("name", "id")
    rows = list(found[: SHOWN + 1])
    return PanelContent(
        headers=("Team", "Part of", "Members"),
        rows=[(row.name, row.parent.name if row.parent else "–", count(row.people)) for row in rows[:SHOWN]],
        numbers=(2,),
        empty="It has no teams.",
        note=f"The first {SHOWN}" if len(rows) > SHOWN else "",
        links=[("All teams", f"{reverse('admin:teams_team_changelist')}?org__id__exact={org_id}")],
    )
