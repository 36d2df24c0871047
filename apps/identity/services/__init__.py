"""Writes of identity: registering, signing in and out, refresh tokens, signing keys."""

from apps.identity.services.ending import end_all_sessions, end_session, logout, logout_web, prune_sign_ins
from apps.identity.services.passwords import check_password
from apps.identity.services.people import register, registration_problems
from apps.identity.services.signing_in import (
    MfaRequired,
    login,
    login_web,
    start_sign_in,
    valid_second_factor,
    verify_second_factor,
)
from apps.identity.services.tokens import as_body, refresh, rotate_signing_key

__all__ = [
    "MfaRequired",
    "as_body",
    "check_password",
    "end_all_sessions",
    "end_session",
    "login",
    "login_web",
    "logout",
    "logout_web",
    "prune_sign_ins",
    "refresh",
    "register",
    "registration_problems",
    "rotate_signing_key",
    "start_sign_in",
    "valid_second_factor",
    "verify_second_factor",
]
