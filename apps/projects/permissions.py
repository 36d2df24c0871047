"""Whose keys a person may make and end.

The capability ``key.manage`` is the beginning: who also holds ``project.manage`` means every project by it, others
(developers) those of their own teams and those of no team.
"""

from collections.abc import Sequence
from uuid import UUID

from apps.accounts import selectors as accounts
from apps.core.errors import PermissionDenied
from apps.teams import selectors as teams

__all__ = ["may_manage_keys", "require_keys"]


def may_manage_keys(*, org_id: UUID, user_id: UUID, team_id: UUID | None) -> bool:
    """Whether a person may make and end the keys of a project of the team ``team_id`` (None: of no team)."""
    held = accounts.capabilities_for(org_id=org_id, user_id=user_id)
    if "project.manage" in held:
        return True
    if "key.manage" not in held:
        return False
    return team_id is None or teams.is_team_member(org_id=org_id, team_id=team_id, user_id=user_id)


def require_keys(
    *, org_id: UUID, user_id: UUID | None, team_id: UUID | None, scopes: Sequence[str] = (), unlimited: bool = False
) -> None:
    """Refuse a person who may not manage the keys of such a project, or not keys with these rights.

    ``user_id`` None is the system. A key that acts for others or without a limit is above a developer: no key may do
    what its maker may not.
    """
    if user_id is None:
        return
    if not may_manage_keys(org_id=org_id, user_id=user_id, team_id=team_id):
        raise PermissionDenied("This project is another team's", code="not_your_project")
    above = "admin" in scopes or unlimited
    if above and "project.manage" not in accounts.capabilities_for(org_id=org_id, user_id=user_id):
        raise PermissionDenied("A key that may act for others, or without a limit, is an admin's", code="scope_ceiling")
