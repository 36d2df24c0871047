"""Teams on an organisation's page in the staff admin."""

from uuid import UUID

from django.db.models import Count
from django.urls import reverse

from apps.core.registry import PanelContent
from apps.core.web.figures import count, utc_label
from apps.teams.invitation_selectors import open_invitations, seats
from apps.teams.selectors import team_list

__all__ = ["invitations_panel", "teams_panel"]

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


def invitations_panel(org_id: UUID) -> PanelContent:
    """The open invitations, the newest first, and the seats that they and the members take."""
    rows = list(open_invitations(org_id).order_by("-created_at", "-id")[: SHOWN + 1])
    taken = seats(org_id)
    note = "of any number" if taken.limit is None else f"of {count(taken.limit)}"
    return PanelContent(
        figures=(("Seats taken", count(taken.members + taken.invitations), note),),
        headers=("E-mail address", "Role", "Invited by", "Sent", "Ends"),
        rows=[
            (row.email, row.role, str(row.invited_by or "–"), utc_label(row.sent_at), utc_label(row.expires_at))
            for row in rows[:SHOWN]
        ],
        empty="Nobody is invited.",
        note=f"The first {SHOWN}" if len(rows) > SHOWN else "",
        links=[("All invitations", f"{reverse('admin:teams_invitation_changelist')}?org__id__exact={org_id}")],
    )
