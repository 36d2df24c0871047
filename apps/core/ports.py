"""Ports: what a lower app needs from a higher one, filled in ``AppConfig.ready`` of the app that knows.

Each has a default that is safe without its filler: nothing is permitted, nothing is limited by a plan.
"""

from typing import Generic, Protocol, TypeVar
from uuid import UUID

from apps.core.contracts import Actor
from apps.core.errors import MindWeaveError, PermissionDenied

__all__ = ["Permissions", "PlanLimits", "Port", "Refusals", "permissions", "plan_limits", "refusals"]

T = TypeVar("T")


class Permissions(Protocol):
    """Who may do what in an organisation (filled by accounts)."""

    def held(self, actor: Actor, org_id: UUID) -> frozenset[str] | None:
        """All that ``actor`` may do in the organisation; None where its existence may not be told to them."""

    def enter(self, actor: Actor, org_id: UUID) -> tuple[frozenset[str], MindWeaveError | None] | None:
        """:meth:`held` and :meth:`entry_refusal` of a person, read at one moment."""

    def check(self, actor: Actor, capability: str, org_id: UUID) -> bool:
        """Whether ``actor`` holds ``capability`` in the organisation."""

    def is_member(self, actor: Actor, org_id: UUID) -> bool:
        """Whether the organisation's existence may be told to ``actor``."""

    def org_is_active(self, org_id: UUID) -> bool:
        """Whether the organisation exists and is neither suspended nor deleted."""

    def entry_refusal(self, actor: Actor, org_id: UUID) -> MindWeaveError | None:
        """Why a member or key does not enter the organisation now (suspended, no second factor), or None."""

    def default_org_id(self, actor: Actor) -> UUID | None:
        """The organisation meant when a request names none."""


class PlanLimits(Protocol):
    """What an organisation's plan allows (filled by billing)."""

    def limit(self, org_id: UUID, name: str) -> int | None:
        """The limit of ``name`` (``projects``, ``seats``, ``events_per_month``…), or None for no limit."""


class Refusals(Protocol):
    """Who hears of what was refused (filled by audit)."""

    def __call__(self, *, error: MindWeaveError, method: str, route: str, org_id: UUID | None) -> None:
        """``error`` answers a request of ``method`` to ``route`` (its pattern, not its path) in an organisation."""


def _unheard(*, error: MindWeaveError, method: str, route: str, org_id: UUID | None) -> None:
    """Without a filler nobody hears of it."""


class _DenyAll:
    def held(self, actor: Actor, org_id: UUID) -> frozenset[str] | None:
        return None

    def enter(self, actor: Actor, org_id: UUID) -> tuple[frozenset[str], MindWeaveError | None] | None:
        return None

    def check(self, actor: Actor, capability: str, org_id: UUID) -> bool:
        return False

    def is_member(self, actor: Actor, org_id: UUID) -> bool:
        return False

    def org_is_active(self, org_id: UUID) -> bool:
        return False

    def entry_refusal(self, actor: Actor, org_id: UUID) -> MindWeaveError | None:
        return PermissionDenied()

    def default_org_id(self, actor: Actor) -> UUID | None:
        return None


class _Unlimited:
    def limit(self, org_id: UUID, name: str) -> int | None:
        return None


class Port(Generic[T]):
    """A place where a higher app puts its implementation: ``port.set(impl)`` once, ``port.get()`` everywhere."""

    def __init__(self, name: str, default: T) -> None:
        self.name = name
        self._impl = default

    def set(self, impl: T) -> None:
        self._impl = impl

    def get(self) -> T:
        return self._impl


permissions: Port[Permissions] = Port("permissions", _DenyAll())
plan_limits: Port[PlanLimits] = Port("plan_limits", _Unlimited())
refusals: Port[Refusals] = Port("refusals", _unheard)
