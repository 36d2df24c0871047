"""The right to a team on its way into views: what a person was given for the one that an address names."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest

from apps.core import errors
from apps.core.api import ApiView
from apps.identity.web import user_id_of
from apps.teams import selectors
from apps.teams.contracts import TEAM_RIGHTS
from apps.teams.permissions import granted_on_team, teams_granted

__all__ = ["OfTeam", "OfTeams", "granted_here", "granted_some"]


class OfTeam(ApiView):
    """Base of ``/teams/{team_id}/…``: a right given on this team counts as one of the role."""

    def path_org_id(self, **kwargs: Any) -> UUID | None:
        org_id = selectors.org_of_team(kwargs["team_id"])
        if org_id is None:
            raise errors.NotFound()
        return org_id

    def is_granted(self, capability: str) -> bool:
        if self.org_id is None or self.actor.id is None or capability not in TEAM_RIGHTS.capabilities:
            return False
        given = granted_on_team(org_id=self.org_id, user_id=self.actor.id, team_id=self.kwargs["team_id"])
        return capability in given


class OfTeams(ApiView):
    """Base of lists of teams: whoever may not see all sees those on which they were given rights."""

    granted: frozenset[UUID] | None = None

    def is_granted(self, capability: str) -> bool:
        if self.org_id is None or self.actor.id is None or capability != "team.read":
            return False
        self.granted = teams_granted(org_id=self.org_id, user_id=self.actor.id)
        return bool(self.granted)


def granted_here(request: HttpRequest, *, team_slug: str, **rest: Any) -> frozenset[str]:
    """For pages of one team: what the reader was given on it; nothing where there is no such team."""
    org = request.org  # type: ignore[attr-defined]
    team = selectors.team_list(org.id).filter(slug=team_slug).values_list("pk").first()
    if team is None:
        return frozenset()
    return granted_on_team(org_id=org.id, user_id=user_id_of(request), team_id=team[0])


def granted_some(request: HttpRequest, **rest: Any) -> frozenset[str]:
    """For the list of teams: ``team.read`` where the reader was given rights on any."""
    org = request.org  # type: ignore[attr-defined]
    request.granted_teams = teams_granted(org_id=org.id, user_id=user_id_of(request))  # type: ignore[attr-defined]
    return frozenset({"team.read"}) if request.granted_teams else frozenset()  # type: ignore[attr-defined]
