"""What projects knows for an access review: what members were given on projects, and the keys that work."""

from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from django.db.models import Q

from apps.accounts.grants import words_here
from apps.core.access import BATCH, AccessEntry, AccessFacts, Given
from apps.core.clock import now
from apps.core.tenancy import org_scope
from apps.projects.contracts import SCOPE_WORDS
from apps.projects.grants import rights_in_projects, rights_of_teams
from apps.projects.models import ApiKey
from apps.teams.selectors import teams_of

__all__ = ["key_entries", "project_facts", "service_account_entries"]


def project_facts(org_id: UUID, user_ids: Sequence[UUID]) -> Mapping[UUID, AccessFacts]:
    """What they were given themselves and by their teams; three queries for all of them."""
    own, by_team = rights_in_projects(org_id, user_ids), rights_of_teams(org_id)
    teams = teams_of(org_id, user_ids) if by_team else {}
    found: dict[UUID, AccessFacts] = {}
    for user_id in user_ids:
        given = [_given(f"project {name}", held) for name, held in own.get(user_id, ())]
        for team_id, team, _ in teams.get(user_id, ()):
            given += [_given(f"project {name} by {team}", held) for name, held in by_team.get(team_id, ())]
        if given:
            found[user_id] = AccessFacts(on=tuple(given))
    return found


def _given(what: str, held: tuple[str, ...]) -> Given:
    return Given(what, held, tuple(map(words_here, held)))


def key_entries(org_id: UUID, after: UUID | None) -> Iterator[AccessEntry]:
    """Keys that work and count as somebody's."""
    return _keys(org_id, after, Q(owner_id__isnull=False))


def service_account_entries(org_id: UUID, after: UUID | None) -> Iterator[AccessEntry]:
    """Keys that work and are nobody's: service accounts."""
    return _keys(org_id, after, Q(owner_id__isnull=True))


def _keys(org_id: UUID, after: UUID | None, which: Q) -> Iterator[AccessEntry]:
    while True:
        moment = now()
        alive = (Q(revoked_at=None) | Q(revoked_at__gt=moment)) & (Q(expires_at=None) | Q(expires_at__gt=moment))
        with org_scope(org_id):
            rows = ApiKey.objects.select_related("project", "owner", "team")
            rows = rows.filter(which, alive, project__archived_at=None).order_by("id")
            batch = list((rows.filter(id__gt=after) if after else rows)[:BATCH])
        for key in batch:
            owner = key.owner.name or key.owner.email if key.owner else "nobody: a service account"
            yield AccessEntry(
                id=key.pk,
                name=f"{key.name} ({key.prefix}…)",
                note=f"{owner}, project {key.project.name}",
                may=tuple(key.scopes),
                words=tuple(SCOPE_WORDS[scope] for scope in key.scopes),
                teams=(key.team.name,) if key.team else (),
                administers="admin" in key.scopes,
                since=key.created_at,
                last_used_at=key.last_used_at,
                expires_at=key.expires_at,
                link=f"projects/{key.project.slug}",
            )
        if len(batch) < BATCH:
            return
        after = batch[-1].pk
