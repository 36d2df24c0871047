"""Signing in with a security key or a passkey; every way in asks the login policy after the credential was right."""

from typing import Any

from apps.core.ratelimit import Limit, enforce
from apps.identity import services, webauthn
from apps.identity.contracts import TokenPair
from apps.identity.first_step import person_of_mfa_token
from apps.identity.models import User
from apps.identity.ports import SignInMethod, login_policy

__all__ = ["ask_policy", "begin_passkey", "begin_second_factor", "finish_passkey", "login_passkey", "verify_second_key"]

_PER_NETWORK = Limit("passkey", 300, 300)


def ask_policy(user: User, method: SignInMethod) -> None:
    """Raise what the login policy says against this way in."""
    if refusal := login_policy.get().refusal(user.email, method):
        raise refusal


def begin_passkey(*, ip: str | None) -> dict[str, Any]:
    """What a browser needs to ask somebody for a passkey; limited for the network, since nobody is known yet."""
    enforce(_PER_NETWORK, ip or "local", detail="Too many sign-ins from your network")
    return webauthn.begin_passkey()


def finish_passkey(*, challenge_token: str, credential: dict[str, Any]) -> User:
    """Whose passkey it is, and may sign in by it."""
    user = webauthn.finish_passkey(token=challenge_token, credential=credential)
    ask_policy(user, "passkey")
    return user


def login_passkey(
    *, challenge_token: str, credential: dict[str, Any], ip: str | None = None, user_agent: str = ""
) -> TokenPair:
    """Sign in over the API with a passkey alone: it is two factors, the device and what unlocks it."""
    user = finish_passkey(challenge_token=challenge_token, credential=credential)
    return services.start_sign_in(user, method="passkey", ip=ip, user_agent=user_agent)


def begin_second_factor(*, mfa_token: str) -> dict[str, Any]:
    """What a browser needs to ask somebody whose password was right for their security key."""
    return webauthn.begin_proof(user=person_of_mfa_token(mfa_token))


def verify_second_key(
    *, mfa_token: str, challenge_token: str, credential: dict[str, Any], ip: str | None = None, user_agent: str = ""
) -> TokenPair:
    """Finish a sign-in with a security key or a passkey as its second factor."""
    user = person_of_mfa_token(mfa_token)
    webauthn.finish_proof(user=user, token=challenge_token, credential=credential)
    return services.start_sign_in(user, method="password+mfa", ip=ip, user_agent=user_agent)
