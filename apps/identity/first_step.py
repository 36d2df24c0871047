"""Between the two steps of a sign-in: whose first factor was right, and whether it still is."""

from apps.core.crypto import constant_time_equal
from apps.core.errors import NotAuthenticated
from apps.identity import jwt
from apps.identity.models import User
from apps.identity.ports import SignInMethod, login_policy

__all__ = ["ask_again", "first_factor_of", "person_of_mfa_token"]


def person_of_mfa_token(mfa_token: str) -> User:
    """Whose password was right a moment ago and is their password still; :class:`NotAuthenticated` otherwise, or what
    the login policy says by now.
    """
    too_late = NotAuthenticated("The sign-in took too long; start again", code="invalid_token")
    try:
        user_id, shown = jwt.verify_mfa_token(mfa_token)
    except jwt.InvalidToken as error:
        raise too_late from error
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is None or not constant_time_equal(shown, first_factor_of(user)):
        raise too_late
    ask_again(user, "password")
    return user


def ask_again(user: User, method: str) -> None:
    """Ask the login policy before the second step too: a single sign-on may be enforced since the first."""
    way: SignInMethod = "oauth" if method.startswith("oauth") else "password"
    if refusal := login_policy.get().refusal(user.email, way):
        raise refusal


def first_factor_of(user: User) -> str:
    """What stands for the password that somebody has now: between two steps of a sign-in it must not have changed."""
    return user.get_session_auth_hash()[:16]
