"""The named permissions, in words and by group, and what each built-in role holds of them.

A capability is ``thing.verb``. A role is a set of capabilities, and of two roles the one that holds all of the other's
stands above it: there is no other order. This table is the whole truth; it knows no organisation and asks no database.
"""

from dataclasses import dataclass
from typing import Final

__all__ = [
    "BUILT_IN_WORDS",
    "CAPABILITIES",
    "GROUPS",
    "OWNER_ONLY",
    "PERMISSIONS",
    "ROLE_CAPABILITIES",
    "Permission",
    "held_of",
]


@dataclass(frozen=True, slots=True)
class Permission:
    """A capability, the group it is shown in, and what its holder may do, as the end of "May …"."""

    name: str
    group: str
    words: str

    @property
    def said(self) -> str:
        """The words on their own, as a label."""
        return self.words[0].upper() + self.words[1:]


PERMISSIONS: Final[tuple[Permission, ...]] = (
    Permission("org.read", "Organisation", "see the organisation, its settings and its notifications"),
    Permission("org.update", "Organisation", "change the organisation's name, time zone and other settings"),
    Permission("settings.manage", "Organisation", "choose what usage is grouped by, and hear when counting is delayed"),
    Permission("org.delete", "Organisation", "delete the organisation"),
    Permission("member.read", "People", "see who belongs to the organisation"),
    Permission("member.manage", "People", "add, invite and remove members, and give them roles"),
    Permission("role.manage", "People", "make, change and delete roles"),
    Permission("team.read", "People", "see teams and who is in them"),
    Permission("team.manage", "People", "make, change and delete teams, and say who is in them"),
    Permission("project.read", "Projects and keys", "see projects"),
    Permission("project.manage", "Projects and keys", "make, change and archive projects, and manage all their keys"),
    Permission("key.read", "Projects and keys", "see the keys of projects, never the keys' secrets"),
    Permission(
        "key.manage", "Projects and keys", "manage keys of their teams' projects and of projects without a team"
    ),
    Permission("usage.read", "Usage and costs", "see usage, costs, sessions and events"),
    Permission("usage.import", "Usage and costs", "import usage from files"),
    Permission("price.read", "Usage and costs", "see prices"),
    Permission("price.manage", "Usage and costs", "set prices and have usage priced anew"),
    Permission("view.save", "Usage and costs", "save views for themselves"),
    Permission("view.manage", "Usage and costs", "share views, and change those of others"),
    Permission("access.review", "Security", "see who can do what, and confirm it"),
    Permission("audit.read", "Security", "read and verify the audit trail"),
    Permission("audit.manage", "Security", "say how long the audit trail is kept and where it is sent"),
    Permission("sso.manage", "Security", "set up single sign-on and provisioning"),
    Permission("billing.read", "Billing", "see the plan and invoices"),
    Permission("billing.manage", "Billing", "change the plan and how it is paid"),
)  # fmt: skip

CAPABILITIES: Final[frozenset[str]] = frozenset(each.name for each in PERMISSIONS)
# Never part of a role that somebody makes.
OWNER_ONLY: Final[frozenset[str]] = frozenset({"org.delete"})

# Group → its permissions, in the order of the table.
GROUPS: Final[dict[str, list[Permission]]] = {}
for _each in PERMISSIONS:
    GROUPS.setdefault(_each.group, []).append(_each)

_READS: Final = frozenset(
    {"org.read", "member.read", "team.read", "project.read", "key.read", "usage.read", "price.read", "view.save"}
)

ROLE_CAPABILITIES: Final[dict[str, frozenset[str]]] = {
    "owner": CAPABILITIES,
    "admin": CAPABILITIES - OWNER_ONLY,
    "billing": frozenset({"org.read", "usage.read", "price.read", "billing.read", "billing.manage", "view.save"}),
    "developer": _READS | {"key.manage"},
    "viewer": _READS,
}

# What each built-in role may do, in a line.
BUILT_IN_WORDS: Final[dict[str, str]] = {
    "owner": "Everything, deleting the organisation too",
    "admin": "Everything but deleting the organisation",
    "billing": "Usage, prices and bills",
    "developer": "Usage, and the keys of their teams' projects",
    "viewer": "Looks at usage, changes nothing",
}


def held_of(role: str | None, custom: list[str] | None) -> frozenset[str]:
    """What a role may do: a built-in one by this table, another by its row's list; nothing for no role.

    A permission that no longer exists counts for nothing, nor does one of owners alone.
    """
    if role in ROLE_CAPABILITIES:
        return ROLE_CAPABILITIES[role]
    return frozenset(custom or ()) & (CAPABILITIES - OWNER_ONLY)
