"""The panel on a team's page that says who was given rights on it, and gives and takes them."""

from typing import Any

from django.template import Context, Library

from apps.accounts.grants_forms import GrantForm, in_words
from apps.accounts.member_fields import members_listed, named
from apps.identity.web import user_id_of
from apps.teams.contracts import TEAM_RIGHTS, TeamInfo
from apps.teams.grants import team_grants
from apps.teams.permissions import held_on_team

register = Library()


@register.inclusion_tag("accounts/_grants.html", takes_context=True)
def team_access(context: Context, team: TeamInfo) -> dict[str, Any]:
    """Nothing for whoever does not manage the team."""
    request = context["request"]
    held = held_on_team(org_id=team.org_id, user_id=user_id_of(request), team_id=team.id)
    if "team.manage" not in held:
        return {"shown": False}
    form = GrantForm(
        kind=TEAM_RIGHTS, org_id=team.org_id, held=held, people=named(members_listed(team.org_id)),
        initial={"capabilities": ["team.manage"]}, auto_id="grant_%s",
    )  # fmt: skip
    return {
        "shown": True,
        "what": "team",
        "request": request,
        "form": form,
        "rows": in_words(team_grants(org_id=team.org_id, team_id=team.id)),
        "give_name": "team_access_give",
        "end_name": "team_access_end",
        "slug": team.slug,
        "csrf_token": context.get("csrf_token"),
    }
