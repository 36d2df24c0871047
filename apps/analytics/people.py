"""Names of the people that usage is counted for: members, and those telemetry named without a member's address."""

from collections.abc import Iterable
from uuid import UUID

from apps.identity.selectors import users_by_ids
from apps.usage.selectors import unclaimed_people

__all__ = ["person_names"]


def person_names(org_id: UUID, ids: Iterable[UUID]) -> dict[UUID, str]:
    """The names of those that are known; the others are left out."""
    wanted = set(ids)
    named = {user_id: user.label for user_id, user in users_by_ids(wanted).items()}
    unknown = wanted - named.keys()
    return named | (unclaimed_people(org_id, unknown) if unknown else {})
