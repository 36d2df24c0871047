"""Giving and taking rights on one team, from the panel on its page."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from apps.accounts.grants_pages import end_access, give_access
from apps.accounts.web import org_page
from apps.core.errors import NotFound
from apps.identity.web import user_id_of
from apps.teams import selectors, services
from apps.teams.access import granted_here
from apps.teams.contracts import TEAM_RIGHTS, TeamInfo

__all__ = ["team_access_end", "team_access_give"]


def _team(org_id: UUID, slug: str) -> TeamInfo:
    team = selectors.team_list(org_id).filter(slug=slug).first()
    if team is None:
        raise NotFound()
    return selectors.team_info(team)


@org_page(capability="team.manage", title="Access", key="settings", personal=True, granted=granted_here)
@require_POST
def team_access_give(request: HttpRequest, team_slug: str) -> HttpResponse:
    """Say what a member may do with the team."""
    org = request.org  # type: ignore[attr-defined]
    team = _team(org.id, team_slug)
    give_access(
        request, kind=TEAM_RIGHTS, name=team.name,
        give=lambda user_id, capabilities: services.give_team_access(
            org_id=org.id, team_id=team.id, user_id=user_id, capabilities=capabilities, by_user_id=user_id_of(request)
        ),
    )  # fmt: skip
    return redirect("team", org.slug, team.slug)


@org_page(capability="team.manage", title="Access", key="settings", personal=True, granted=granted_here)
@require_POST
def team_access_end(request: HttpRequest, team_slug: str, user_id: UUID) -> HttpResponse:
    """Take away what a member was given on the team."""
    org = request.org  # type: ignore[attr-defined]
    team = _team(org.id, team_slug)
    end_access(
        request,
        lambda: services.end_team_access(
            org_id=org.id, team_id=team.id, user_id=user_id, by_user_id=user_id_of(request)
        ),
    )
    return redirect("team", org.slug, team.slug)
