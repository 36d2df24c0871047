"""Giving and taking rights on one team, from the panel on its page."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from apps.accounts import selectors as accounts
from apps.accounts.grants_forms import GrantForm
from apps.accounts.web import org_page
from apps.core.errors import MindWeaveError, NotFound
from apps.core.web.forms import sentence
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
    form = GrantForm(
        request.POST, kind=TEAM_RIGHTS, held=frozenset(TEAM_RIGHTS.capabilities), people=accounts.member_infos(org.id)
    )
    if not form.is_valid():
        messages.error(request, "Choose a member, and at least one thing that they may do.")
        return redirect("team", org.slug, team.slug)
    try:
        given = services.give_team_access(
            org_id=org.id, team_id=team.id, user_id=form.cleaned_data["grantee"],
            capabilities=form.cleaned_data["capabilities"], by_user_id=user_id_of(request),
        )  # fmt: skip
    except MindWeaveError as error:
        messages.error(request, f"{sentence(error)}.")
    else:
        messages.success(request, f"{given.name} may now do this with {team.name}.")
    return redirect("team", org.slug, team.slug)


@org_page(capability="team.manage", title="Access", key="settings", personal=True, granted=granted_here)
@require_POST
def team_access_end(request: HttpRequest, team_slug: str, user_id: UUID) -> HttpResponse:
    """Take away what a member was given on the team."""
    org = request.org  # type: ignore[attr-defined]
    team = _team(org.id, team_slug)
    try:
        services.end_team_access(org_id=org.id, team_id=team.id, user_id=user_id, by_user_id=user_id_of(request))
    except MindWeaveError as error:
        messages.error(request, f"{sentence(error)}.")
    else:
        messages.success(request, "Taken away.")
    return redirect("team", org.slug, team.slug)
