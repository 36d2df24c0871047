"""What identity asks of higher apps."""

from typing import Any, Literal, Protocol
from uuid import UUID

from apps.core.errors import MindWeaveError
from apps.core.ports import Port

__all__ = [
    "FactorPolicy",
    "LoginPolicy",
    "OwnOrganizations",
    "SignInMethod",
    "factor_policy",
    "login_policy",
    "own_organizations",
]

# Every way in that is not an organisation's own single sign-on.
SignInMethod = Literal["password", "passkey", "oauth"]


class LoginPolicy(Protocol):
    """How a person must sign in (filled by sso). Every way in asks, after the credential was found right."""

    def refusal(self, email: str, method: SignInMethod) -> MindWeaveError | None:
        """Why ``method`` is not enough for this address (an enforced single sign-on), or None where it is."""

    def may_refuse(self, email: str) -> tuple[str, list[Any]]:
        """A condition in SQL, and its values, that holds wherever :meth:`refusal` could be one.

        It is asked with the person of the address, in one round trip; most often nothing more has to be.
        """


class FactorPolicy(Protocol):
    """Who must keep a second factor (filled by accounts)."""

    def required_by(self, user_id: UUID) -> str:
        """The name of an organisation of theirs that requires one; empty where none does."""


class OwnOrganizations(Protocol):
    """Which organisations a person belongs to (filled by accounts)."""

    def names(self, user_id: UUID) -> list[tuple[UUID, str]]:
        """Their ids and names, by name."""


class _AllWaysOpen:
    def refusal(self, email: str, method: SignInMethod) -> MindWeaveError | None:
        return None

    def may_refuse(self, email: str) -> tuple[str, list[Any]]:
        return "false", []


class _NoneRequired:
    def required_by(self, user_id: UUID) -> str:
        return ""


class _None:
    def names(self, user_id: UUID) -> list[tuple[UUID, str]]:
        return []


own_organizations: Port[OwnOrganizations] = Port("own_organizations", _None())
login_policy: Port[LoginPolicy] = Port("login_policy", _AllWaysOpen())
factor_policy: Port[FactorPolicy] = Port("factor_policy", _NoneRequired())
