"""Rights of single people and of teams on single projects: reads, and the writes that give and take them."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal
from uuid import UUID

from django.db import models, transaction

from apps.accounts import selectors as accounts
from apps.accounts.grants import MAX_GRANTS, GrantInfo, collect, hold_roles_still, require_held, set_rights
from apps.audit.services import record
from apps.core.errors import Conflict, NotFound
from apps.core.tenancy import org_scope
from apps.events.services import publish
from apps.projects.contracts import PROJECT_RIGHTS
from apps.projects.grant_models import ProjectTeamObjectPermission, ProjectUserObjectPermission
from apps.projects.models import Project
from apps.projects.permissions import held_on_project
from apps.teams import selectors as teams

__all__ = ["end_project_access", "give_project_access", "project_grants", "rights_in_projects", "rights_of_teams"]

Kind = Literal["user", "team"]


# ---------------------------------------------------------------- reads
def project_grants(*, org_id: UUID, project_id: UUID) -> list[GrantInfo]:
    """Who was given what on a project: teams, then people, each by name; two queries. At most 200 of them."""
    with org_scope(org_id):
        people = ProjectUserObjectPermission.objects.filter(content_object_id=project_id)
        fields = ("user_id", "user__name", "user__email", "permission__codename", "created_at")
        mine = [
            (id_, name or email, email if name else "", codename, when)
            for id_, name, email, codename, when in people.values_list(*fields)
        ]
        groups = ProjectTeamObjectPermission.objects.filter(content_object_id=project_id)
        ours = [
            (id_, name, "", codename, when)
            for id_, name, codename, when in groups.values_list(
                "team_id", "team__name", "permission__codename", "created_at"
            )
        ]
    return [*collect(PROJECT_RIGHTS, "team", ours), *collect(PROJECT_RIGHTS, "user", mine)]


def rights_in_projects(org_id: UUID, user_ids: Iterable[UUID]) -> dict[UUID, list[tuple[str, tuple[str, ...]]]]:
    """Person → the projects on which they themselves were given rights, by name, and which; one query."""
    with org_scope(org_id):
        return _by_grantee(ProjectUserObjectPermission.objects.filter(user_id__in=list(user_ids)), "user_id")


def rights_of_teams(org_id: UUID) -> dict[UUID, list[tuple[str, tuple[str, ...]]]]:
    """Team → the projects on which it was given rights, by name, and which; one query."""
    with org_scope(org_id):
        return _by_grantee(ProjectTeamObjectPermission.objects.all(), "team_id")


def _by_grantee(rows: models.QuerySet[Any], grantee: str) -> dict[UUID, list[tuple[str, tuple[str, ...]]]]:
    fields = (grantee, "content_object_id", "content_object__name", "permission__codename")
    found: dict[UUID, dict[UUID, tuple[str, list[str]]]] = {}
    for id_, project_id, name, codename in rows.order_by("content_object__name", "id").values_list(*fields):
        found.setdefault(id_, {}).setdefault(project_id, (name, []))[1].append(codename)
    return {id_: [_named(*each) for each in projects.values()] for id_, projects in found.items()}


def _named(name: str, codenames: list[str]) -> tuple[str, tuple[str, ...]]:
    held = PROJECT_RIGHTS.of_codenames(codenames)
    return name, tuple(each for each in PROJECT_RIGHTS.capabilities if each in held)


# ---------------------------------------------------------------- writes
@transaction.atomic
def give_project_access(
    *, org_id: UUID, project_id: UUID, grantee_id: UUID, capabilities: Sequence[str], by_user_id: UUID | None = None
) -> GrantInfo:
    """Say what a member or a team may do with one project beside what roles give; it replaces what was given before.

    ``grantee_id`` is a member's or a team's. Reading comes with each right. Whoever gives must hold, for this project,
    what is given and what is taken.
    """
    wanted = PROJECT_RIGHTS.checked(capabilities)
    with org_scope(org_id):
        hold_roles_still(org_id)
        project = _project(project_id)
        kind = _kind(org_id, grantee_id)
        before = _change(project, kind, grantee_id, wanted, by_user_id)
        if before != wanted:
            _tell(project, "project.access_changed", kind, grantee_id, before=before, after=wanted)
        given = project_grants(org_id=org_id, project_id=project_id)
        return next(each for each in given if (each.kind, each.id) == (kind, grantee_id))


@transaction.atomic
def end_project_access(*, org_id: UUID, project_id: UUID, grantee_id: UUID, by_user_id: UUID | None = None) -> None:
    """Take all that a member or a team was given on one project; :class:`NotFound` where they were given nothing."""
    with org_scope(org_id):
        hold_roles_still(org_id)
        project = _project(project_id)
        kind = _kind(org_id, grantee_id)
        before = _change(project, kind, grantee_id, (), by_user_id)
        if not before:
            raise NotFound("They were given nothing here")
        _tell(project, "project.access_removed", kind, grantee_id, before=before, after=())


def _project(project_id: UUID) -> Project:
    project: Project | None = Project.objects.filter(pk=project_id).first()
    if project is None:
        raise NotFound()
    return project


def _kind(org_id: UUID, grantee_id: UUID) -> Kind:
    """Whether an id is a team's or a member's of the organisation."""
    if teams.team_list(org_id).filter(pk=grantee_id).exists():
        return "team"
    if accounts.role_of(org_id=org_id, user_id=grantee_id) is None:
        raise NotFound("There is no such member or team")
    return "user"


def _change(
    project: Project, kind: Kind, grantee_id: UUID, wanted: tuple[str, ...], by_user_id: UUID | None
) -> tuple[str, ...]:
    """Make a grantee's rights on a project those wanted; returns what they were."""
    model = ProjectTeamObjectPermission if kind == "team" else ProjectUserObjectPermission
    column = f"{kind}_id"
    mine = model.objects.filter(content_object_id=project.pk, **{column: grantee_id})
    if wanted and not mine.exists() and _number(project.pk) >= MAX_GRANTS:
        raise Conflict(
            f"{MAX_GRANTS} people and teams at most have rights of their own on a project", code="too_many_grants"
        )
    held = held_on_project(org_id=project.org_id, user_id=by_user_id, project_id=project.pk) if by_user_id else None
    before = set_rights(
        PROJECT_RIGHTS,
        Project,
        mine,
        lambda permission: model(
            org_id=project.org_id, content_object=project, permission=permission, **{column: grantee_id}
        ),
        wanted,
    )
    if held is not None:
        require_held({*before, *wanted}, held)
    return before


def _number(project_id: UUID) -> int:
    people = ProjectUserObjectPermission.objects.filter(content_object_id=project_id)
    groups = ProjectTeamObjectPermission.objects.filter(content_object_id=project_id)
    number: int = people.values("user_id").distinct().count()
    return number + int(groups.values("team_id").distinct().count())


def _tell(
    project: Project, action: str, kind: Kind, grantee_id: UUID, *, before: Sequence[str], after: Sequence[str]
) -> None:
    grantee = {f"{kind}_id": grantee_id}
    given = {**grantee, "capabilities": list(after)} if after else {}
    taken = {"capabilities": list(before)} if after else {**grantee, "capabilities": list(before)}
    record(
        action=action, org_id=project.org_id, target_type="project", target_id=project.pk, target_label=project.name,
        before=taken, after=given,
    )  # fmt: skip
    data: dict[str, Any] = {"project_id": str(project.pk), "grantee_type": kind, "grantee_id": str(grantee_id)}
    publish(type=action, org_id=project.org_id, data={**data, "capabilities": list(after)} if after else data)
