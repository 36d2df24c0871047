"""What identity asks of higher apps."""

from typing import Literal, Protocol

from apps.core.errors import MindWeaveError
from apps.core.ports import Port

__all__ = ["LoginPolicy", "SignInMethod", "login_policy"]

# Every way in that is not an organisation's own single sign-on.
SignInMethod = Literal["password", "passkey", "oauth"]


class LoginPolicy(Protocol):
    """How a person must sign in (filled by sso). Every way in asks, after the credential was found right."""

    def refusal(self, email: str, method: SignInMethod) -> MindWeaveError | None:
        """Why ``method`` is not enough for this address (an enforced single sign-on), or None where it is."""


class _AllWaysOpen:
    def refusal(self, email: str, method: SignInMethod) -> MindWeaveError | None:
        return None


login_policy: Port[LoginPolicy] = Port("login_policy", _AllWaysOpen())
