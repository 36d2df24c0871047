"""Writes of identity: registering, signing in and out, refresh tokens, signing keys."""

from apps.identity.services.addresses import (
    ask_new_address,
    ask_verification,
    send_verification,
    tell_registered,
    verify_address,
)
from apps.identity.services.ending import end_all_sessions, end_session, logout, logout_web, prune_sign_ins
from apps.identity.services.passwords import (
    ask_reset,
    change_password,
    check_password,
    reset_password,
    reset_token_is_live,
    send_reset,
)
from apps.identity.services.people import register, registration_problems, sign_up, update_profile
from apps.identity.services.privacy import erase_person, export_person
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
    "ask_new_address",
    "ask_reset",
    "ask_verification",
    "change_password",
    "check_password",
    "end_all_sessions",
    "end_session",
    "erase_person",
    "export_person",
    "login",
    "login_web",
    "logout",
    "logout_web",
    "prune_sign_ins",
    "refresh",
    "register",
    "registration_problems",
    "reset_password",
    "reset_token_is_live",
    "rotate_signing_key",
    "send_reset",
    "send_verification",
    "sign_up",
    "start_sign_in",
    "tell_registered",
    "update_profile",
    "valid_second_factor",
    "verify_address",
    "verify_second_factor",
]
