"""Which roles there are to give, and who may give them."""

from collections.abc import Iterable
from uuid import UUID

from apps.accounts import selectors
from apps.accounts.permissions import ROLE_CAPABILITIES, outranks
from apps.core.errors import PermissionDenied

__all__ = ["giveable_roles", "require_may_give", "role_exists"]


def role_exists(*, org_id: UUID, role: str) -> bool:
    """Whether members of the organisation may hold ``role``."""
    return role in ROLE_CAPABILITIES


def giveable_roles(*, org_id: UUID, own: str) -> list[str]:
    """The roles that a holder of ``own`` may give, the highest first."""
    return [role for role in ROLE_CAPABILITIES if outranks(own, role)]


def require_may_give(*, org_id: UUID, by_user_id: UUID | None, roles: Iterable[str]) -> None:
    """Nobody gives or takes a role above their own (``role_ceiling``); ``by_user_id`` None is the system."""
    if by_user_id is None:
        return
    own = selectors.role_of(org_id=org_id, user_id=by_user_id)
    if own is None or not all(outranks(own, role) for role in roles):
        raise PermissionDenied("This role is above your own", code="role_ceiling")
