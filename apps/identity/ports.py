"""What identity asks of higher apps."""

from typing import Protocol

from apps.core.errors import MindWeaveError
from apps.core.ports import Port

__all__ = ["LoginPolicy", "login_policy"]


class LoginPolicy(Protocol):
    """How a person must sign in (filled by sso)."""

    def password_refusal(self, email: str) -> MindWeaveError | None:
        """Why a password is not enough for this address (an enforced single sign-on), or None where it is."""


class _PasswordsWelcome:
    def password_refusal(self, email: str) -> MindWeaveError | None:
        return None


login_policy: Port[LoginPolicy] = Port("login_policy", _PasswordsWelcome())
