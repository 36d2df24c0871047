"""Who may do what with one team: what their role gives for all teams, and what they were given for this one."""

from uuid import UUID

from apps.accounts import selectors as accounts
from apps.core.tenancy import org_scope
from apps.teams.contracts import TEAM_RIGHTS
from apps.teams.grant_models import TeamUserObjectPermission

__all__ = ["TEAM_RIGHTS", "given_somewhere", "granted_on_team", "held_on_team", "may", "teams_granted"]


def granted_on_team(*, org_id: UUID, user_id: UUID, team_id: UUID) -> frozenset[str]:
    """What a member was given for one team; one query."""
    with org_scope(org_id):
        rows = TeamUserObjectPermission.objects.filter(content_object_id=team_id, user_id=user_id)
        return TEAM_RIGHTS.of_codenames(rows.values_list("permission__codename", flat=True))


def held_on_team(*, org_id: UUID, user_id: UUID, team_id: UUID) -> frozenset[str]:
    """All that a person may do with one team, by role and by grant; nothing where they are no member."""
    held = accounts.capabilities_for(org_id=org_id, user_id=user_id)
    return held | granted_on_team(org_id=org_id, user_id=user_id, team_id=team_id)


def may(*, org_id: UUID, user_id: UUID, capability: str, team_id: UUID) -> bool:
    """Whether a person may do ``capability`` with this team."""
    return capability in held_on_team(org_id=org_id, user_id=user_id, team_id=team_id)


def teams_granted(*, org_id: UUID, user_id: UUID) -> frozenset[UUID]:
    """The teams on which a member was given anything: whoever may not see all teams may see these."""
    with org_scope(org_id):
        mine = TeamUserObjectPermission.objects.filter(user_id=user_id)
        return frozenset(mine.values_list("content_object_id", flat=True))


def given_somewhere(org_id: UUID, user_id: UUID) -> frozenset[str]:
    """What a member was given on any team; one query."""
    with org_scope(org_id):
        rows = TeamUserObjectPermission.objects.filter(user_id=user_id).order_by()
        return TEAM_RIGHTS.of_codenames(rows.values_list("permission__codename", flat=True).distinct())
