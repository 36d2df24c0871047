"""Several members changed at once: all of them, or none."""

from collections.abc import Callable, Collection, Sequence
from uuid import UUID

from django.db import transaction

from apps.accounts import selectors as accounts
from apps.accounts import services as members
from apps.core.errors import FieldError, MindWeaveError, NotFound, ValidationFailed
from apps.teams import selectors
from apps.teams.groups import add_team_member

__all__ = ["MOST_AT_ONCE", "BulkRefused", "add_members_to_team", "change_member_roles", "remove_members"]

# Each is weighed, written down and told by itself.
MOST_AT_ONCE = 100


class BulkRefused(MindWeaveError):
    """Of several members some cannot be changed, so none was; ``errors`` names each of those, and why."""

    status, code, title = 409, "bulk_refused", "Nothing was changed"


@transaction.atomic
def change_member_roles(*, org_id: UUID, user_ids: Sequence[UUID], role: str, by_user_id: UUID) -> set[UUID]:
    """Give members a role, as :func:`apps.accounts.services.change_member_role` does each; returns who had another.

    All or none: :class:`BulkRefused` where one of them is no member, is whoever does it, is above them, or is the last
    owner. Each change is in the trail by itself.
    """
    before = _roles(org_id, user_ids)
    if accounts.role_find(org_id=org_id, role=role) is None:
        raise ValidationFailed(
            "The role is not valid", errors=[{"pointer": "/role", "detail": "There is no such role"}]
        )

    def one(user_id: UUID) -> None:
        members.change_member_role(org_id=org_id, user_id=user_id, role=role, by_user_id=by_user_id)

    _each(user_ids, by_user_id, one)
    return {user_id for user_id in user_ids if before.get(user_id) != role}


@transaction.atomic
def remove_members(
    *, org_id: UUID, user_ids: Sequence[UUID], by_user_id: UUID, keys_to: UUID | None = None
) -> set[UUID]:
    """Remove members, as :func:`apps.accounts.services.remove_member` does each; returns who was one.

    Whoever is none is none already, so repeating it is harmless. Otherwise all or none: :class:`BulkRefused` where one
    of them is whoever does it (who leaves does so by themselves), is above them, or is the last owner.
    """
    if keys_to is not None and keys_to in user_ids:
        detail = "They are to be removed themselves"
        raise ValidationFailed("The keys cannot be handed over", errors=[{"pointer": "/keys_to", "detail": detail}])
    present = _roles(org_id, user_ids)

    def one(user_id: UUID) -> None:
        if user_id in present:
            members.remove_member(org_id=org_id, user_id=user_id, by_user_id=by_user_id, keys_to=keys_to)

    _each(user_ids, by_user_id, one)
    return set(present)


@transaction.atomic
def add_members_to_team(*, org_id: UUID, user_ids: Sequence[UUID], team_id: UUID, by_user_id: UUID | None) -> set[UUID]:
    """Put members into a team, as :func:`add_team_member` does each; returns who was not in it.

    Repeating it is harmless. All or none: :class:`BulkRefused` where one is no member or would come to rights that
    whoever does it lacks; :class:`NotFound` without such a team.
    """
    selectors.team_get(org_id=org_id, team_id=team_id)
    inside = {row.user_id for row in selectors.team_members(org_id=org_id, team_id=team_id)}

    def one(user_id: UUID) -> None:
        add_team_member(org_id=org_id, team_id=team_id, user_id=user_id, by_user_id=by_user_id)

    _each(user_ids, None, one)
    return {user_id for user_id in user_ids if user_id not in inside}


def _roles(org_id: UUID, user_ids: Collection[UUID]) -> dict[UUID, str]:
    rows = accounts.member_list(org_id).filter(user_id__in=user_ids)
    return dict(rows.values_list("user_id", "role"))


def _each(user_ids: Sequence[UUID], by_user_id: UUID | None, work: Callable[[UUID], None]) -> None:
    """Do it to each in one order, so that two that change the same people do not wait for each other."""
    if not user_ids or len(user_ids) > MOST_AT_ONCE or len(set(user_ids)) != len(user_ids):
        detail = f"From 1 to {MOST_AT_ONCE} people, each once"
        raise ValidationFailed("This cannot be done at once", errors=[{"pointer": "/user_ids", "detail": detail}])
    places = {user_id: place for place, user_id in enumerate(user_ids)}
    problems: list[FieldError] = []
    for user_id in sorted(user_ids):
        try:
            if user_id == by_user_id:
                raise BulkRefused("What is done to many is never done to yourself")
            with transaction.atomic():
                work(user_id)
        except NotFound:
            problems.append({"pointer": f"/user_ids/{places[user_id]}", "detail": "They are not a member"})
        except MindWeaveError as error:
            problems.append({"pointer": f"/user_ids/{places[user_id]}", "detail": error.detail or error.title})
    if problems:
        problems.sort(key=lambda problem: int(problem["pointer"].rpartition("/")[2]))
        raise BulkRefused(f"{len(problems)} of {len(user_ids)} cannot be changed", errors=problems)
