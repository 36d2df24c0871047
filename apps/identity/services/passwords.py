"""Passwords: whether one is right."""

from django.contrib.auth.hashers import make_password

from apps.audit.services import record_refusal
from apps.core.errors import NotAuthenticated
from apps.core.ratelimit import Limit, enforce, give_back
from apps.identity.models import User, normalise_email
from apps.identity.ports import login_policy

__all__ = ["check_password"]

# An address that somebody tries again and again is slowed down for the network that tries, not for its owner elsewhere;
# the second limit slows a spray over many addresses from one network. A right password gives its use back, so an office
# that signs in on Monday morning counts nothing.
_PER_IDENTITY = Limit("login", 10, 300)
_PER_NETWORK = Limit("login-network", 300, 300)
_WRONG = "The e-mail address or the password is not right"


def check_password(*, email: str, password: str, ip: str | None) -> User:
    """The person whose password this is; the same refusal and the same work whether the address exists or not.

    Raises :class:`NotAuthenticated`, :class:`RateLimited`, or what the login policy says.
    """
    email = normalise_email(email)
    network, identity = ip or "local", f"{email}\x00{ip}"
    enforce(_PER_IDENTITY, identity, detail="Too many wrong passwords for this address from your network")
    enforce(_PER_NETWORK, network, detail="Too many wrong passwords from your network")
    user = User.objects.filter(email=email).first()
    if user is None:
        make_password(password)  # as slow as a real check, so that the time tells nothing
        known = False
    else:
        known = user.check_password(password) and user.is_active
    if user is None or not known:
        record_refusal(
            action="user.login_refused", org_id=None, target_type="user",
            target_id=user.pk if user else "unknown", target_label=email, key=email,
        )  # fmt: skip
        raise NotAuthenticated(_WRONG, code="invalid_credentials")
    give_back(_PER_IDENTITY, identity)
    give_back(_PER_NETWORK, network)
    if refusal := login_policy.get().refusal(email, "password"):
        raise refusal
    return user
