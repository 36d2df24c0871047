"""Who may do what with one project, and with its keys.

What a person may do comes from their role, for every project; from rights that they were given on this one; and from
rights that a team of theirs was given on it. Grants add, they never take away.

Keys are a rule of their own: ``key.manage`` of a role is for the projects of its holder's teams and those of no team;
``project.manage`` is for every key of what it is held for.
"""

from collections.abc import Sequence
from uuid import UUID

from django.db import connection

from apps.accounts import selectors as accounts
from apps.accounts.grants import require_held
from apps.core.errors import PermissionDenied
from apps.core.tenancy import org_scope
from apps.projects.contracts import PROJECT_RIGHTS
from apps.projects.grant_models import ProjectTeamObjectPermission, ProjectUserObjectPermission
from apps.projects.models import Project
from apps.teams import selectors as teams

__all__ = [
    "PROJECT_RIGHTS",
    "check_place",
    "given_somewhere",
    "granted_on_project",
    "held_on_project",
    "may",
    "may_manage_keys",
    "projects_granted",
    "require_keys",
]

# What a key with the scope ``read`` shows: of the whole organisation, not only of its project.
_READ_BY_KEY = frozenset({"org.read", "member.read", "team.read", "project.read", "usage.read"})

_GRANTED = """
SELECT p.codename FROM projects_projectuserobjectpermission g JOIN auth_permission p ON p.id = g.permission_id
WHERE g.org_id = %(org)s AND g.content_object_id = %(project)s AND g.user_id = %(user)s
UNION
SELECT p.codename FROM projects_projectteamobjectpermission g JOIN auth_permission p ON p.id = g.permission_id
JOIN teams_teammembership m ON m.team_id = g.team_id
WHERE g.org_id = %(org)s AND g.content_object_id = %(project)s AND m.user_id = %(user)s
"""


# ---------------------------------------------------------------- what a person holds
def granted_on_project(*, org_id: UUID, user_id: UUID, project_id: UUID) -> frozenset[str]:
    """What a member was given for one project, themselves or by a team of theirs; one query.

    Managing a project is managing its keys.
    """
    # The bare statement: with every request of whoever was given no more, and the ORM's union takes a millisecond.
    with connection.cursor() as cursor:
        cursor.execute(_GRANTED, {"org": org_id, "user": user_id, "project": project_id})
        given = PROJECT_RIGHTS.of_codenames(codename for (codename,) in cursor.fetchall())
    return given | {"key.manage"} if "project.manage" in given else given


def held_on_project(*, org_id: UUID, user_id: UUID, project_id: UUID) -> frozenset[str]:
    """All that a person may do with one project, by role and by grant; nothing where they are no member.

    ``key.manage`` is among it only where it reaches this project's keys.
    """
    by_role = accounts.capabilities_for(org_id=org_id, user_id=user_id)
    given = granted_on_project(org_id=org_id, user_id=user_id, project_id=project_id)
    held = by_role | given
    if "project.manage" in held:
        return held | {"key.manage"}
    if "key.manage" in by_role and "key.manage" not in given and not _is_their_teams(org_id, user_id, project_id):
        return held - {"key.manage"}
    return held


def may(*, org_id: UUID, user_id: UUID, capability: str, project_id: UUID) -> bool:
    """Whether a person may do ``capability`` with this project."""
    return capability in held_on_project(org_id=org_id, user_id=user_id, project_id=project_id)


def projects_granted(*, org_id: UUID, user_id: UUID, capability: str = "project.read") -> frozenset[UUID]:
    """The projects for which a member was given ``capability``; reading comes with whatever was given. One query."""
    codename = PROJECT_RIGHTS.codename(capability)
    with org_scope(org_id):
        own = ProjectUserObjectPermission.objects.filter(user_id=user_id, permission__codename=codename)
        by_team = ProjectTeamObjectPermission.objects.filter(
            team__memberships__user_id=user_id, permission__codename=codename
        )
        ids = own.values_list("content_object_id").union(by_team.values_list("content_object_id"))
        return frozenset(project_id for (project_id,) in ids)


def given_somewhere(org_id: UUID, user_id: UUID) -> frozenset[str]:
    """What a member was given on any project, themselves or by a team of theirs; one query."""
    with org_scope(org_id):
        own = ProjectUserObjectPermission.objects.filter(user_id=user_id)
        by_team = ProjectTeamObjectPermission.objects.filter(team__memberships__user_id=user_id)
        named = own.values_list("permission__codename").union(by_team.values_list("permission__codename"))
        return PROJECT_RIGHTS.of_codenames(codename for (codename,) in named)


def _is_their_teams(org_id: UUID, user_id: UUID, project_id: UUID) -> bool:
    """Whether a project is of a team of this person, or of no team."""
    with org_scope(org_id):
        team_id: UUID | None = Project.objects.filter(pk=project_id).values_list("team_id", flat=True).first()
    return team_id is None or teams.is_team_member(org_id=org_id, team_id=team_id, user_id=user_id)


# ---------------------------------------------------------------- keys
def may_manage_keys(*, org_id: UUID, user_id: UUID, project_id: UUID) -> bool:
    """Whether a person may make and end the keys of a project."""
    return may(org_id=org_id, user_id=user_id, capability="key.manage", project_id=project_id)


def require_keys(
    *, org_id: UUID, user_id: UUID | None, project_id: UUID, scopes: Sequence[str] = (), unlimited: bool = False
) -> None:
    """Refuse a person who may not manage the keys of a project, or not keys with these rights.

    ``user_id`` None is the system. A key that acts for others or without a limit is for those who manage the project:
    no key may do what its maker may not.
    """
    if user_id is None:
        return
    held = held_on_project(org_id=org_id, user_id=user_id, project_id=project_id)
    if "key.manage" not in held:
        raise PermissionDenied("This project is another team's", code="not_your_project")
    if "read" in scopes and not accounts.capabilities_for(org_id=org_id, user_id=user_id) >= _READ_BY_KEY:
        raise PermissionDenied("A key that reads is for those who may read all of it", code="scope_ceiling")
    above = "admin" in scopes or unlimited
    if above and "project.manage" not in held:
        raise PermissionDenied("A key that may act for others, or without a limit, is an admin's", code="scope_ceiling")


# ---------------------------------------------------------------- teams
def check_place(org_id: UUID, team_id: UUID, held: frozenset[str], by_user_id: UUID) -> None:
    """Refuse to put somebody into a team by which they would come to more than whoever puts them there holds.

    By a team come the rights that it was given on projects, and for whoever may manage keys by their role (``held``)
    those of its projects.
    """
    gained: dict[UUID, set[str]] = {}
    with org_scope(org_id):
        given = ProjectTeamObjectPermission.objects.filter(team_id=team_id)
        for project_id, codename in given.values_list("content_object_id", "permission__codename"):
            gained.setdefault(project_id, set()).update(PROJECT_RIGHTS.of_codenames([codename]))
        if "key.manage" in held:
            for project_id in Project.objects.filter(team_id=team_id).values_list("pk", flat=True):
                gained.setdefault(project_id, set()).add("key.manage")
    for project_id, capabilities in gained.items():
        require_held(capabilities, held_on_project(org_id=org_id, user_id=by_user_id, project_id=project_id))
