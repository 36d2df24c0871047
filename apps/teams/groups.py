"""Writes of teams and of who is in them."""

from typing import Any
from uuid import UUID

from django.db import transaction

from apps.accounts import selectors as accounts
from apps.audit.services import record
from apps.core.database import lock_org
from apps.core.errors import Conflict, NotFound, ValidationFailed
from apps.core.slugs import free_slug
from apps.core.tenancy import org_scope
from apps.events.services import publish
from apps.teams import selectors
from apps.teams.contracts import TeamInfo
from apps.teams.models import Team, TeamMembership
from apps.teams.ports import check_place

__all__ = ["add_team_member", "create_team", "delete_team", "remove_team_member", "update_team"]


@transaction.atomic
def create_team(*, org_id: UUID, name: str, parent_id: UUID | None = None) -> TeamInfo:
    """Make a team; ``parent_id`` must be a team of the organisation that is no part of another."""
    with org_scope(org_id):
        _lock(org_id)
        _check_name(name)
        _check_parent(None, parent_id)
        slug = free_slug(name, lambda slug: Team.objects.filter(slug=slug).exists(), fallback="team")
        team = Team.objects.create(org_id=org_id, name=name.strip(), slug=slug, parent_id=parent_id)
        _tell(team, "team.created", after={"name": team.name, "slug": slug, "parent_id": parent_id})
        publish(type="team.created", org_id=org_id, data={"team_id": str(team.pk), "name": team.name})
        return selectors.team_info(team)


@transaction.atomic
def update_team(*, org_id: UUID, team_id: UUID, changes: dict[str, Any]) -> TeamInfo:
    """Change ``name`` or ``parent_id``.

    :class:`Conflict` for a team below itself (``team_cycle``), for a part of a part and for a part that has parts
    (``team_nesting``).
    """
    with org_scope(org_id):
        _lock(org_id)
        team = _team(team_id)
        if "name" in changes:
            _check_name(changes["name"])
        if "parent_id" in changes:
            _check_parent(team_id, changes["parent_id"])
        if "name" in changes:
            changes = {**changes, "name": changes["name"].strip()}
        changes = {name: value for name, value in changes.items() if getattr(team, name) != value}
        if not changes:
            return selectors.team_info(team)
        before = {name: getattr(team, name) for name in changes}
        for name, value in changes.items():
            setattr(team, name, value)
        team.save()
        _tell(team, "team.updated", before=before, after=changes)
        publish(type="team.updated", org_id=org_id, data={"team_id": str(team_id), "changed": sorted(changes)})
        return selectors.team_info(team)


@transaction.atomic
def delete_team(*, org_id: UUID, team_id: UUID) -> None:
    """Delete a team; what stood below it stands alone, and usage counted for it keeps its id."""
    with org_scope(org_id):
        _lock(org_id)
        team = _team(team_id)
        _tell(team, "team.deleted", before={"name": team.name})
        publish(type="team.deleted", org_id=org_id, data={"team_id": str(team_id)})
        team.delete()


@transaction.atomic
def add_team_member(
    *, org_id: UUID, team_id: UUID, user_id: UUID, is_primary: bool | None = None, by_user_id: UUID | None = None
) -> None:
    """Put a member of the organisation into a team; repeating it is harmless.

    A person's first team is their primary one; ``is_primary=True`` makes this one so in place of the other. Who puts
    them there (``by_user_id``; None: the system) must hold the rights that come with it.
    """
    with org_scope(org_id):
        _lock(org_id)
        team = _team(team_id)
        if accounts.role_of(org_id=org_id, user_id=user_id) is None:
            raise NotFound("They are not a member of the organisation")
        check_place(org_id, team_id, accounts.capabilities_for(org_id=org_id, user_id=user_id), by_user_id)
        others = TeamMembership.objects.filter(user_id=user_id, is_primary=True).exclude(team_id=team_id)
        primary = not others.exists() if is_primary is None else is_primary
        if primary:
            others.update(is_primary=False)
        membership = TeamMembership.objects.filter(team_id=team_id, user_id=user_id).first()
        if membership is None:
            TeamMembership.objects.create(org_id=org_id, team_id=team_id, user_id=user_id, is_primary=primary)
        elif is_primary is not None and membership.is_primary != primary:
            TeamMembership.objects.filter(pk=membership.pk).update(is_primary=primary)
        else:
            return
        _tell(team, "team.member_added", after={"user_id": user_id, "is_primary": primary})
        publish(type="team.member_added", org_id=org_id, data={"team_id": str(team_id), "user_id": str(user_id)})


@transaction.atomic
def remove_team_member(*, org_id: UUID, team_id: UUID, user_id: UUID) -> None:
    """Take a person out of a team."""
    with org_scope(org_id):
        _lock(org_id)
        team = _team(team_id)
        deleted, _ = TeamMembership.objects.filter(team_id=team_id, user_id=user_id).delete()
        if not deleted:
            raise NotFound("They are not in this team")
        _tell(team, "team.member_removed", before={"user_id": user_id})
        publish(type="team.member_removed", org_id=org_id, data={"team_id": str(team_id), "user_id": str(user_id)})


def _lock(org_id: UUID) -> None:
    """One write of an organisation's teams at a time: names, trees and primary teams are weighed against each other."""
    lock_org("teams", org_id)


def _team(team_id: UUID) -> Team:
    team: Team | None = Team.objects.filter(pk=team_id).first()
    if team is None:
        raise NotFound()
    return team


def _check_name(name: str) -> None:
    if not name.strip():
        raise ValidationFailed(
            "The team is not valid", errors=[{"pointer": "/name", "detail": "This may not be blank"}]
        )


def _check_parent(team_id: UUID | None, parent_id: UUID | None) -> None:
    """Teams are nested one level: a part of a team has no parts. The database holds them to it, too."""
    if parent_id is None:
        return
    parents = dict(Team.objects.values_list("id", "parent_id"))
    if parent_id not in parents:
        raise ValidationFailed(
            "The team is not valid", errors=[{"pointer": "/parent_id", "detail": "There is no such team"}]
        )
    if team_id is not None and team_id in (parent_id, parents[parent_id]):
        raise Conflict("A team cannot stand below itself", code="team_cycle")
    if parents[parent_id] is not None:
        raise Conflict("That team is part of another one itself; teams are nested one level", code="team_nesting")
    if team_id is not None and team_id in parents.values():
        raise Conflict("This team has parts of its own; teams are nested one level", code="team_nesting")


def _tell(team: Team, action: str, **details: Any) -> None:
    record(action=action, org_id=team.org_id, target_type="team", target_id=team.pk, target_label=team.name, **details)
