"""Reads of teams."""

from collections.abc import Iterable
from uuid import UUID

from django.db.models import Count, QuerySet

from apps.core.asking import Question
from apps.core.errors import NotFound
from apps.core.tenancy import org_scope, system_scope
from apps.teams.contracts import TeamInfo
from apps.teams.models import Team, TeamMembership

__all__ = [
    "TeamInfo",
    "is_team_member",
    "org_of_team",
    "primary_teams_question",
    "team_get",
    "team_info",
    "team_list",
    "team_members",
    "team_names",
    "team_sizes",
    "teams_of",
]


def team_info(team: Team) -> TeamInfo:
    """The contract of a row."""
    return TeamInfo(
        id=team.pk,
        org_id=team.org_id,
        name=team.name,
        slug=team.slug,
        parent_id=team.parent_id,
        created_at=team.created_at,
        updated_at=team.updated_at,
    )


def team_list(org_id: UUID) -> QuerySet[Team]:
    """The teams of an organisation (rows, for this app's own views)."""
    with org_scope(org_id):
        rows: QuerySet[Team] = Team.objects.all()
    return rows


def team_get(*, org_id: UUID, team_id: UUID) -> TeamInfo:
    """A team of the organisation; :class:`NotFound` otherwise."""
    team = team_list(org_id).filter(pk=team_id).first()
    if team is None:
        raise NotFound()
    return team_info(team)


def team_names(org_id: UUID) -> dict[UUID, str]:
    """Names of all teams of an organisation."""
    return dict(team_list(org_id).values_list("id", "name"))


def team_members(*, org_id: UUID, team_id: UUID) -> QuerySet[TeamMembership]:
    """Who is in a team (rows, for this app's own views)."""
    with org_scope(org_id):
        rows: QuerySet[TeamMembership] = TeamMembership.objects.select_related("user").filter(team_id=team_id)
    return rows


def team_sizes(org_id: UUID) -> dict[UUID, int]:
    """Team → how many are in it; teams without anybody are left out."""
    with org_scope(org_id):
        return dict(TeamMembership.objects.order_by().values_list("team_id").annotate(Count("id")))


def teams_of(org_id: UUID, user_ids: Iterable[UUID]) -> dict[UUID, list[tuple[UUID, str, bool]]]:
    """Person → id, name and whether it is their primary one, of each of their teams; the primary one first."""
    with org_scope(org_id):
        rows = TeamMembership.objects.filter(user_id__in=list(user_ids)).order_by("-is_primary", "team__name")
        found: dict[UUID, list[tuple[UUID, str, bool]]] = {}
        for user_id, team_id, name, primary in rows.values_list("user_id", "team_id", "team__name", "is_primary"):
            found.setdefault(user_id, []).append((team_id, name, primary))
    return found


def is_team_member(*, org_id: UUID, team_id: UUID, user_id: UUID) -> bool:
    """Whether a person is in a team of the organisation."""
    with org_scope(org_id):
        found: bool = TeamMembership.objects.filter(team_id=team_id, user_id=user_id).exists()
    return found


def primary_teams_question(org_id: UUID) -> Question:
    """Each person's id and that of the team that their usage falls to."""
    return Question("SELECT user_id, team_id FROM teams_teammembership WHERE org_id = %s AND is_primary", [org_id])


def org_of_team(team_id: UUID) -> UUID | None:
    """Which organisation a team belongs to: what a path ``/teams/{id}`` means before anybody's right is known."""
    with system_scope("a path names a team without its organisation"):
        found: UUID | None = Team.objects.filter(pk=team_id).values_list("org_id", flat=True).first()
    return found
