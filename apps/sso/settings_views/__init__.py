"""Settings → Single sign-on: domains, connections, who is held to them, groups, provisioning."""

from apps.sso.settings_views.connections import connection_act, connection_metadata, connection_new, connection_page
from apps.sso.settings_views.domains import (
    break_glass_add,
    break_glass_remove,
    domain_remove,
    domain_verify,
    overview,
)
from apps.sso.settings_views.groups import group_remove, groups_page
from apps.sso.settings_views.provisioning import provisioning_page, token_revoke

__all__ = [
    "break_glass_add",
    "break_glass_remove",
    "connection_act",
    "connection_metadata",
    "connection_new",
    "connection_page",
    "domain_remove",
    "domain_verify",
    "group_remove",
    "groups_page",
    "overview",
    "provisioning_page",
    "token_revoke",
]
