"""Rights of single people on single teams: reads, and the writes that give and take them."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.accounts import selectors as accounts
from apps.accounts.grants import MAX_GRANTS, GrantInfo, collect, hold_roles_still, require_held, set_rights
from apps.audit.services import record
from apps.core.errors import Conflict, NotFound
from apps.core.tenancy import org_scope
from apps.events.services import publish
from apps.teams.contracts import TEAM_RIGHTS
from apps.teams.grant_models import TeamUserObjectPermission
from apps.teams.models import Team
from apps.teams.permissions import held_on_team

__all__ = ["end_team_access", "give_team_access", "rights_in_teams", "team_grants"]


def team_grants(*, org_id: UUID, team_id: UUID) -> list[GrantInfo]:
    """Who was given what on a team, by name; one query. At most 200 of them."""
    with org_scope(org_id):
        rows = TeamUserObjectPermission.objects.filter(content_object_id=team_id)
        fields = ("user_id", "user__name", "user__email", "permission__codename", "created_at")
        found = [
            (id_, name or email, email if name else "", codename, when)
            for id_, name, email, codename, when in rows.values_list(*fields)
        ]
    return collect(TEAM_RIGHTS, "user", found)


def rights_in_teams(org_id: UUID, user_ids: Iterable[UUID]) -> dict[UUID, list[tuple[str, tuple[str, ...]]]]:
    """Person → the teams on which they were given rights, by name, and which; one query."""
    with org_scope(org_id):
        rows = TeamUserObjectPermission.objects.filter(user_id__in=list(user_ids)).order_by(
            "content_object__name", "content_object_id"
        )
        fields = ("user_id", "content_object_id", "content_object__name", "permission__codename")
        found: dict[UUID, dict[UUID, tuple[str, list[str]]]] = {}
        for user_id, team_id, name, codename in rows.values_list(*fields):
            found.setdefault(user_id, {}).setdefault(team_id, (name, []))[1].append(codename)
    return {user_id: [_named(*each) for each in teams.values()] for user_id, teams in found.items()}


def _named(name: str, codenames: list[str]) -> tuple[str, tuple[str, ...]]:
    held = TEAM_RIGHTS.of_codenames(codenames)
    return name, tuple(each for each in TEAM_RIGHTS.capabilities if each in held)


@transaction.atomic
def give_team_access(
    *, org_id: UUID, team_id: UUID, user_id: UUID, capabilities: Sequence[str], by_user_id: UUID | None = None
) -> GrantInfo:
    """Say what a member may do with one team beside what their role gives; it replaces what they were given before.

    Reading comes with each right. Whoever gives must hold, for this team, what is given and what is taken.
    """
    wanted = TEAM_RIGHTS.checked(capabilities)
    with org_scope(org_id):
        hold_roles_still(org_id)
        team = _team(team_id)
        if accounts.role_of(org_id=org_id, user_id=user_id) is None:
            raise NotFound("They are not a member of the organisation")
        before = _change(team, user_id, wanted, by_user_id)
        if before != wanted:
            _tell(team, "team.access_changed", user_id, before=before, after=wanted)
        return next(each for each in team_grants(org_id=org_id, team_id=team_id) if each.id == user_id)


@transaction.atomic
def end_team_access(*, org_id: UUID, team_id: UUID, user_id: UUID, by_user_id: UUID | None = None) -> None:
    """Take all that a member was given on one team; :class:`NotFound` where they were given nothing."""
    with org_scope(org_id):
        hold_roles_still(org_id)
        team = _team(team_id)
        before = _change(team, user_id, (), by_user_id)
        if not before:
            raise NotFound("They were given nothing here")
        _tell(team, "team.access_removed", user_id, before=before, after=())


def _team(team_id: UUID) -> Team:
    team: Team | None = Team.objects.filter(pk=team_id).first()
    if team is None:
        raise NotFound()
    return team


def _change(team: Team, user_id: UUID, wanted: tuple[str, ...], by_user_id: UUID | None) -> tuple[str, ...]:
    """Make a member's rights on a team those wanted; returns what they were."""
    rows = TeamUserObjectPermission.objects.filter(content_object_id=team.pk)
    mine = rows.filter(user_id=user_id)
    if wanted and not mine.exists() and rows.values("user_id").distinct().count() >= MAX_GRANTS:
        raise Conflict(f"{MAX_GRANTS} people at most have rights of their own on a team", code="too_many_grants")
    held = held_on_team(org_id=team.org_id, user_id=by_user_id, team_id=team.pk) if by_user_id else None
    before = set_rights(
        TEAM_RIGHTS,
        Team,
        mine,
        lambda permission: TeamUserObjectPermission(
            org_id=team.org_id, content_object=team, user_id=user_id, permission=permission
        ),
        wanted,
    )
    if held is not None:
        require_held({*before, *wanted}, held)
    return before


def _tell(team: Team, action: str, user_id: UUID, *, before: Sequence[str], after: Sequence[str]) -> None:
    given = {"user_id": user_id, "capabilities": list(after)} if after else {}
    taken = {"capabilities": list(before)} if after else {"user_id": user_id, "capabilities": list(before)}
    record(
        action=action, org_id=team.org_id, target_type="team", target_id=team.pk, target_label=team.name,
        before=taken, after=given,
    )  # fmt: skip
    data: dict[str, Any] = {"team_id": str(team.pk), "user_id": str(user_id)}
    publish(type=action, org_id=team.org_id, data={**data, "capabilities": list(after)} if after else data)
