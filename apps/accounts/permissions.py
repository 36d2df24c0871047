"""Which role may do what.

A capability is ``thing.verb``. The table is the whole truth; the port ``core.ports.permissions`` asks it.
"""

from typing import Final
from uuid import UUID

from apps.accounts import selectors
from apps.core.contracts import Actor

__all__ = ["CAPABILITIES", "ROLE_CAPABILITIES", "RolePermissions", "capabilities_of", "outranks"]

CAPABILITIES: Final[frozenset[str]] = frozenset(
    {
        "org.read",
        "org.update",
        "org.delete",
        "member.read",
        "member.manage",
        "team.read",
        "team.manage",
        "project.read",
        "project.manage",
        "key.read",
        "key.manage",
        "usage.read",
        "usage.import",
        "price.read",
        "price.manage",
        "audit.read",
        "audit.manage",
        "access.review",
        "role.manage",
        "sso.manage",
        "settings.manage",
        "billing.read",
        "billing.manage",
        "view.save",
        "view.manage",
    }
)
_READS: Final = frozenset(
    {"org.read", "member.read", "team.read", "project.read", "key.read", "usage.read", "price.read", "view.save"}
)

ROLE_CAPABILITIES: Final[dict[str, frozenset[str]]] = {
    "owner": CAPABILITIES,
    "admin": CAPABILITIES - {"org.delete"},
    "billing": frozenset({"org.read", "usage.read", "price.read", "billing.read", "billing.manage", "view.save"}),
    "developer": _READS | {"key.manage"},
    "viewer": _READS,
}
# Nobody gives, takes or changes a role above their own.
_RANK: Final = {"owner": 3, "admin": 2, "billing": 1, "developer": 1, "viewer": 0}


def capabilities_of(role: str | None) -> frozenset[str]:
    """What a role may do; nothing for no role."""
    return ROLE_CAPABILITIES.get(role or "", frozenset())


def outranks(role: str, other: str) -> bool:
    """Whether holders of ``role`` may give or take ``other``."""
    return _RANK[role] >= _RANK[other]


class RolePermissions:
    """Fills ``core.ports.permissions`` out of memberships."""

    def check(self, actor: Actor, capability: str, org_id: UUID) -> bool:
        if capability not in CAPABILITIES:
            raise ValueError(f"{capability!r} is not a capability")
        if actor.kind != "user" or actor.id is None:
            return False
        return capability in capabilities_of(selectors.role_of(org_id=org_id, user_id=actor.id))

    def is_member(self, actor: Actor, org_id: UUID) -> bool:
        return (
            actor.kind == "user"
            and actor.id is not None
            and (selectors.role_of(org_id=org_id, user_id=actor.id) is not None)
        )

    def org_is_active(self, org_id: UUID) -> bool:
        org = selectors.org_find(org_id)
        return org is not None and org.status == "active"

    def default_org_id(self, actor: Actor) -> UUID | None:
        return selectors.default_org_id(actor.id) if actor.kind == "user" and actor.id else None
