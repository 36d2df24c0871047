"""What groups of the provider give here, and the giving of it."""

from collections.abc import Iterable
from uuid import UUID

from django.db import IntegrityError, transaction

from apps.accounts import selectors as accounts
from apps.accounts import services as members
from apps.core.database import lock_org
from apps.core.errors import Conflict, MindWeaveError, NotFound, ValidationFailed
from apps.core.tenancy import org_scope
from apps.sso.models import Connection, ExternalIdentity, GroupMapping, ScimGroup, ScimGroupMember
from apps.sso.roles import OWNER, check_role, highest
from apps.sso.telling import tell
from apps.teams import selectors as teams
from apps.teams import services as places

__all__ = ["add_mapping", "apply_mappings", "default_role", "remove_mapping"]

_MOST = 500


@transaction.atomic
def add_mapping(*, org_id: UUID, group: str, role: str = "", team_id: UUID | None = None) -> UUID:
    """Have a group give a role, a place in a team, or both; never the role of owner. Returns the mapping's id.

    It takes effect for each person at their next sign-in or the next word of provisioning.
    """
    group = group.strip()
    if not group:
        raise ValidationFailed("The mapping is not valid", errors=[{"pointer": "/group", "detail": "Name the group"}])
    if not role and team_id is None:
        detail = "A role, a team, or both"
        raise ValidationFailed("The mapping is not valid", errors=[{"pointer": "/role", "detail": detail}])
    with org_scope(org_id):
        lock_org("sso", org_id)
        if role:
            check_role(org_id, role, "/role")
        if team_id is not None and team_id not in teams.team_names(org_id):
            detail = "There is no such team"
            raise ValidationFailed("The mapping is not valid", errors=[{"pointer": "/team_id", "detail": detail}])
        if GroupMapping.objects.count() >= _MOST:
            raise Conflict(f"An organisation has at most {_MOST} mappings", code="too_many_mappings")
        try:
            with transaction.atomic():
                row = GroupMapping.objects.create(org_id=org_id, group=group, role=role, team_id=team_id)
        except IntegrityError as error:
            raise Conflict("This is mapped already", code="mapping_exists") from error
        _tell(row, "sso.mapping_added", after={"group": group, "role": role, "team_id": team_id})
        made: UUID = row.pk
        return made


@transaction.atomic
def remove_mapping(*, org_id: UUID, mapping_id: UUID) -> None:
    """Have a group give this no more. What people have by it they keep until somebody takes it."""
    with org_scope(org_id):
        lock_org("sso", org_id)
        row: GroupMapping | None = GroupMapping.objects.filter(pk=mapping_id).first()
        if row is None:
            raise NotFound()
        _tell(row, "sso.mapping_removed", before={"group": row.group, "role": row.role, "team_id": row.team_id})
        row.delete()


def _tell(row: GroupMapping, action: str, **details: object) -> None:
    tell(
        action, org_id=row.org_id, target="sso_mapping", target_id=row.pk, label=row.group,
        data={"mapping_id": str(row.pk), "group": row.group}, **details,
    )  # fmt: skip


# ---------------------------------------------------------------- the giving
@transaction.atomic
def apply_mappings(*, org_id: UUID, user_ids: Iterable[UUID]) -> None:
    """Give and take what mappings govern, for members; others are left alone.

    Governed are the teams that some mapping names, and the role where some mapping gives one: of the roles of a
    person's groups the one that may do most, else the default role. Owners keep their role: it is given and taken by
    owners alone, so that no provider makes an owner or unmakes the last.
    """
    with org_scope(org_id):
        rows = list(GroupMapping.objects.all())
        if not rows:
            return
        for user_id in user_ids:
            role = accounts.role_of(org_id=org_id, user_id=user_id)
            if role is not None:
                _apply(org_id, user_id, role, rows)


def _apply(org_id: UUID, user_id: UUID, role: str, rows: list[GroupMapping]) -> None:
    groups = groups_of(user_id)
    if role != OWNER and any(row.role for row in rows):
        given = highest(org_id, (row.role for row in rows if row.group in groups and row.role))
        members.change_member_role(org_id=org_id, user_id=user_id, role=given or default_role(org_id))
    governed = {row.team_id for row in rows if row.team_id}
    wanted = {row.team_id for row in rows if row.team_id and row.group in groups}
    present = {team_id for team_id, _, _ in teams.teams_of(org_id, [user_id]).get(user_id, [])}
    for team_id in sorted(wanted - present):
        places.add_team_member(org_id=org_id, team_id=team_id, user_id=user_id)
    for team_id in sorted((governed - wanted) & present):
        places.remove_team_member(org_id=org_id, team_id=team_id, user_id=user_id)


def groups_of(user_id: UUID) -> set[str]:
    """The groups a person is in, of the scope's organisation: those pushed, and those told at their last sign-in.

    Of a group that is pushed, pushing alone says who is in it: what a sign-in told may be long ago.
    """
    told: set[str] = set()
    for groups in ExternalIdentity.objects.filter(user_id=user_id).values_list("groups", flat=True):
        told |= set(groups)
    pushed = set(ScimGroup.objects.filter(display_name__in=told).values_list("display_name", flat=True))
    inside = ScimGroupMember.objects.filter(member__user_id=user_id, member__is_active=True)
    return (told - pushed) | set(inside.values_list("group__display_name", flat=True))


def default_role(org_id: UUID) -> str:
    """The role of whoever joins by the provider and has none by their groups: the first enabled connection's."""
    rows = Connection.objects.filter(is_enabled=True).order_by("-is_enforced", "created_at")
    role: str = rows.values_list("default_role", flat=True).first() or "developer"
    try:
        check_role(org_id, role, "/default_role")
    except MindWeaveError:
        return "viewer"  # a role that was deleted since: who joins looks, until somebody says what else
    return role
