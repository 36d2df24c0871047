"""Who may do what in an organisation, and which roles they may give.

What roles hold is in :mod:`apps.accounts.capabilities`; a person holds what their role does, no more. Rights on single
projects and teams are added by those apps.
"""

from collections.abc import Iterable
from uuid import UUID

from apps.accounts import role_selectors, selectors
from apps.accounts.capabilities import (
    BUILT_IN_WORDS,
    CAPABILITIES,
    GROUPS,
    OWNER_ONLY,
    PERMISSIONS,
    ROLE_CAPABILITIES,
    Permission,
)
from apps.accounts.factors import factor_refusal
from apps.accounts.models import OrgStatus
from apps.core.contracts import Actor
from apps.core.errors import MindWeaveError, PermissionDenied

__all__ = [
    "BUILT_IN_WORDS",
    "CAPABILITIES",
    "GROUPS",
    "OWNER_ONLY",
    "PERMISSIONS",
    "ROLE_CAPABILITIES",
    "Permission",
    "RolePermissions",
    "capabilities_of_role",
    "may_give",
    "require_above",
]


def capabilities_of_role(*, org_id: UUID, role: str) -> frozenset[str]:
    """What a role may do in an organisation; nothing for one that does not exist. Built-in ones cost no query."""
    found = role_selectors.role_find(org_id=org_id, role=role)
    return found.capabilities if found else frozenset()


def may_give(*, org_id: UUID, by_user_id: UUID, role: str) -> bool:
    """Whether a person may give or take a role: only where they hold all that it holds. Owners hold everything.

    A role that does not exist nobody may give. Whether they may manage members at all is another question.
    """
    found = role_selectors.role_find(org_id=org_id, role=role)
    held = role_selectors.capabilities_for(org_id=org_id, user_id=by_user_id)
    return found is not None and bool(held) and found.capabilities <= held


def require_above(*, org_id: UUID, by_user_id: UUID | None, capabilities: Iterable[str]) -> None:
    """Refuse a person who lacks any of ``capabilities`` in the organisation; ``by_user_id`` None is the system."""
    if by_user_id is None:
        return
    held = role_selectors.capabilities_for(org_id=org_id, user_id=by_user_id)
    if not held or not frozenset(capabilities) <= held:
        raise PermissionDenied("This role is above your own", code="role_ceiling")


class RolePermissions:
    """Fills ``core.ports.permissions`` out of memberships."""

    def held(self, actor: Actor, org_id: UUID) -> frozenset[str] | None:
        if actor.kind != "user" or actor.id is None:
            return None
        found = role_selectors.membership_get(org_id=org_id, user_id=actor.id)
        return found.capabilities if found else None

    def enter(self, actor: Actor, org_id: UUID) -> tuple[frozenset[str], MindWeaveError | None] | None:
        if actor.kind != "user" or actor.id is None:
            return None
        found = role_selectors.membership_and_gate(org_id=org_id, user_id=actor.id)
        if found is None:
            return None
        membership, gate = found
        return membership.capabilities, self._refusal(actor, org_id, *gate)

    def check(self, actor: Actor, capability: str, org_id: UUID) -> bool:
        if capability not in CAPABILITIES:
            raise ValueError(f"{capability!r} is not a capability")
        return capability in (self.held(actor, org_id) or ())

    def is_member(self, actor: Actor, org_id: UUID) -> bool:
        return self.held(actor, org_id) is not None

    def org_is_active(self, org_id: UUID) -> bool:
        return selectors.org_gate(org_id)[0] == OrgStatus.ACTIVE

    def entry_refusal(self, actor: Actor, org_id: UUID) -> MindWeaveError | None:
        return self._refusal(actor, org_id, *selectors.org_gate(org_id))

    @staticmethod
    def _refusal(actor: Actor, org_id: UUID, status: str | None, requires_mfa: bool) -> MindWeaveError | None:
        if status != OrgStatus.ACTIVE:
            return PermissionDenied("This organisation is suspended", code="org_suspended")
        return factor_refusal(actor, org_id=org_id, requires_mfa=requires_mfa)

    def default_org_id(self, actor: Actor) -> UUID | None:
        return selectors.default_org_id(actor.id) if actor.kind == "user" and actor.id else None
