"""What teams knows of members for an access review: which teams they are in, and what they were given on teams."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from apps.accounts.grants import words_here
from apps.core.access import AccessFacts, Given
from apps.teams import selectors
from apps.teams.grants import rights_in_teams

__all__ = ["team_facts"]


def team_facts(org_id: UUID, user_ids: Sequence[UUID]) -> Mapping[UUID, AccessFacts]:
    """Two queries for all of them."""
    teams, rights = selectors.teams_of(org_id, user_ids), rights_in_teams(org_id, user_ids)
    return {
        user_id: AccessFacts(
            teams=tuple(name for _, name, _ in teams.get(user_id, ())),
            on=tuple(
                Given(f"team {name}", held, tuple(map(words_here, held))) for name, held in rights.get(user_id, ())
            ),
        )
        for user_id in user_ids
    }
