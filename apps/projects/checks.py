"""What the fields of projects and keys must be; each refusal names its field."""

from collections.abc import Sequence
from uuid import UUID

from apps.accounts import selectors as accounts
from apps.core.errors import FieldError, PermissionDenied, ValidationFailed
from apps.projects.contracts import SCOPES
from apps.projects.networks import MAX_NETWORKS, canonical_network
from apps.projects.permissions import may
from apps.projects.rules import project_settings_get
from apps.teams import selectors as teams

__all__ = [
    "check_environment",
    "check_name",
    "check_networks",
    "check_owner",
    "check_scopes",
    "check_team",
    "invalid",
]


def invalid(what: str, pointer: str, detail: str) -> ValidationFailed:
    """The refusal of one field of ``what``."""
    errors: list[FieldError] = [{"pointer": pointer, "detail": detail}]
    return ValidationFailed(f"The {what} is not valid", errors=errors)


def check_name(name: str, what: str) -> None:
    if not name.strip():
        raise invalid(what, "/name", "This may not be blank")


def check_team(org_id: UUID, team_id: UUID | None, what: str = "project") -> None:
    if team_id is not None and not teams.team_list(org_id).filter(pk=team_id).exists():
        raise invalid(what, "/team_id", "There is no such team")


def check_owner(org_id: UUID, project_id: UUID, owner_id: UUID | None, by_user_id: UUID | None) -> None:
    """Refuse an owner who is no member, and one that ``by_user_id`` may not name.

    What a key sends counts as its owner's, so only who manages the project may name somebody else.
    """
    if owner_id is None:
        return
    if accounts.role_of(org_id=org_id, user_id=owner_id) is None:
        raise invalid("key", "/owner_id", "They are not a member of the organisation")
    if by_user_id in (None, owner_id):
        return
    if not may(org_id=org_id, user_id=by_user_id, capability="project.manage", project_id=project_id):
        raise PermissionDenied("You may make keys of your own and service accounts", code="not_your_key")


def check_scopes(scopes: Sequence[str]) -> None:
    if not scopes:
        raise invalid("key", "/scopes", "A key needs at least one scope")
    for index, scope in enumerate(scopes):
        if scope not in SCOPES:
            raise invalid("key", f"/scopes/{index}", f"one of {', '.join(SCOPES)}")


def check_environment(org_id: UUID, project_id: UUID, environment: str) -> None:
    if not environment:
        return
    known = project_settings_get(org_id=org_id, project_id=project_id).environments
    if environment not in known:
        raise invalid("key", "/environment", f"one of {', '.join(known)}" if known else "The project has none")


def check_networks(networks: Sequence[str]) -> list[str]:
    """The networks in their one spelling, each once, in order."""
    if len(networks) > MAX_NETWORKS:
        raise invalid("key", "/allowed_ips", f"At most {MAX_NETWORKS} networks")
    found: dict[str, None] = {}
    for index, text in enumerate(networks):
        try:
            found[canonical_network(text)] = None
        except ValueError as error:
            raise invalid("key", f"/allowed_ips/{index}", str(error)) from error
    return list(found)
