"""Writes of single sign-on and provisioning."""

from apps.sso.services.connections import (
    create_connection,
    delete_connection,
    disable_connection,
    enable_connection,
    keep_test,
    update_connection,
)
from apps.sso.services.domains import add_domain, recheck_domain, remove_domain, verify_domain
from apps.sso.services.enforcement import (
    add_break_glass,
    enforce_connection,
    forget_told_sign_ins,
    note_sign_in,
    relax_connection,
    remove_break_glass,
)
from apps.sso.services.groups import create_scim_group, delete_scim_group, update_scim_group
from apps.sso.services.log import note_scim_request, prune_scim_requests
from apps.sso.services.mappings import add_mapping, apply_mappings, remove_mapping
from apps.sso.services.metadata import refresh_metadata, renew_certificates
from apps.sso.services.provisioning import create_scim_user, delete_scim_user, update_scim_user
from apps.sso.services.sign_in import (
    accept_arrival,
    confirm_by_provider,
    forget_assertions,
    note_refusal,
    receive_assertion,
    sign_in,
    take_assertion,
)
from apps.sso.services.tokens import authenticate_scim_token, create_scim_token, revoke_scim_token

__all__ = [
    "accept_arrival",
    "add_break_glass",
    "add_domain",
    "add_mapping",
    "apply_mappings",
    "authenticate_scim_token",
    "confirm_by_provider",
    "create_connection",
    "create_scim_group",
    "create_scim_token",
    "create_scim_user",
    "delete_connection",
    "delete_scim_group",
    "delete_scim_user",
    "disable_connection",
    "enable_connection",
    "enforce_connection",
    "forget_assertions",
    "forget_told_sign_ins",
    "keep_test",
    "note_refusal",
    "note_scim_request",
    "note_sign_in",
    "prune_scim_requests",
    "receive_assertion",
    "recheck_domain",
    "refresh_metadata",
    "relax_connection",
    "remove_break_glass",
    "remove_domain",
    "remove_mapping",
    "renew_certificates",
    "revoke_scim_token",
    "sign_in",
    "take_assertion",
    "update_connection",
    "update_scim_group",
    "update_scim_user",
    "verify_domain",
]
