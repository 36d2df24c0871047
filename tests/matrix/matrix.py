"""The permission matrix: who may do what on every route.

One row a route and method. ``roles`` are those who get ``ok``; every other role of the organisation gets 403, a member
of another organisation 404, nobody 401 (a page: the way to the login). ``scope`` is what an API key needs; without it a
key gets 403, and where it is empty every key does. ``public`` routes answer everybody alike.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.cast import Cast

__all__ = ["ALL", "ROWS", "Row"]

# Two more hold roles that the organisation made (see ``conftest.py``): "custom" what every built-in role does and the
# import of usage, "granted" the same without the import, and rights on the cast's project and team alone.
ALL = ("owner", "admin", "developer", "billing", "viewer", "custom", "granted")
READERS = ("owner", "admin", "developer", "viewer")
ADMINS = ("owner", "admin")
KEYS = ("owner", "admin", "developer")
IMPORTERS = (*ADMINS, "custom")
# Of the cast's project and team, and of the lists that show what one may see.
GRANTED_READERS = (*READERS, "granted")
GRANTED_ADMINS = (*ADMINS, "granted")
GRANTED_KEYS = (*KEYS, "granted")

Path = Callable[[Cast, dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """``path`` gives the arguments of the route; ``ok`` is the status of who may; ``org`` whether it is of one."""

    method: str
    route: str
    roles: tuple[str, ...] = ()
    ok: int = 200
    scope: str = ""
    path: Path = field(default=lambda cast, made: {})
    body: Any = None
    query: str = ""
    public: bool = False
    page: bool = False
    org: bool = True
    # Open to a token of provisioning of the organisation, and to nothing else.
    scim: bool = False

    @property
    def id(self) -> str:
        return f"{self.method} {self.route}"


def org(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"org_id": cast.org.id}


def slug(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"slug": cast.org.slug}


def project(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"project_id": cast.project.id}


def key(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"project_id": cast.project.id, "key_id": made["key"].id}


def team(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"team_id": cast.team.id}


def project_grant(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"project_id": cast.project.id, "grantee_id": cast.dora.id}


def team_grant(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"team_id": cast.team.id, "user_id": cast.dora.id}


def member(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"org_id": cast.org.id, "user_id": cast.dora.id}


def page_project(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"slug": cast.org.slug, "project_slug": cast.project.slug}


def role(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"org_id": cast.org.id, "role_id": made["role"]}


def view(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"org_id": cast.org.id, "view_id": made["view"]}


def page_view(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"slug": cast.org.slug, "view_id": made["view"]}


def page_notification(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"slug": cast.org.slug, "notification_id": made["notification"]}


def page_event(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"slug": cast.org.slug, "event_id": "01a209e4-215f-7371-be17-514d2bfae41c"}


def page_import(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"slug": cast.org.slug, "import_id": NOBODY}


def page_member(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"slug": cast.org.slug, "user_id": cast.dora.id}


def page_role(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"slug": cast.org.slug, "role_id": made["role"]}


def page_project_grant(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {**page_project(cast, made), "grantee_id": cast.dora.id}


def page_team_grant(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {**page_team(cast, made), "user_id": cast.dora.id}


def page_team(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"slug": cast.org.slug, "team_slug": cast.team.slug}


def page_key(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {**page_project(cast, made), "key_id": made["key"].id}


def invitation(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"org_id": cast.org.id, "invitation_id": made["invitation"]}


def page_invitation(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"slug": cast.org.slug, "invitation_id": made["invitation"]}


def nothing(name: str) -> Callable[[Cast, dict[str, Any]], dict[str, Any]]:
    """A path to something that does not exist."""
    return lambda cast, made: {name: "01a209e4-215f-7371-be17-514d2bfae41c"}


GROUP_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Group"
NOBODY = "01a209e4-215f-7371-be17-514d2bfae41c"


def sso(name: str, key: str) -> Path:
    return lambda cast, made: {"org_id": cast.org.id, name: made[key]}


def sso_nothing(name: str) -> Path:
    return lambda cast, made: {"org_id": cast.org.id, name: NOBODY}


def page_sso(name: str, key: str) -> Path:
    return lambda cast, made: {"slug": cast.org.slug, name: made[key]}


def page_sso_nothing(name: str) -> Path:
    return lambda cast, made: {"slug": cast.org.slug, name: NOBODY}


def scim_user(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"scim_user_id": made["scim_user"]}


def scim_group(cast: Cast, made: dict[str, Any]) -> dict[str, Any]:
    return {"group_id": made["scim_group"]}


SCIM_PATCH = {"Operations": [{"op": "replace", "value": {"externalId": "00u9"}}]}

ROWS = (
    # --- identity
    Row("POST", "auth-login", public=True, ok=400, body={}),
    Row("POST", "auth-mfa-verify", public=True, ok=400, body={}),
    Row("POST", "auth-refresh", public=True, ok=400, body={}),
    Row("POST", "auth-register", public=True, ok=400, body={}),
    Row("POST", "auth-forgot", public=True, ok=400, body={}),
    Row("POST", "auth-reset", public=True, ok=400, body={}),
    Row("POST", "auth-verify-email", public=True, ok=400, body={}),
    Row("POST", "auth-verify-email-resend", public=True, ok=400, body={}),
    Row("POST", "auth-password", ALL, 400, org=False, body={}),
    Row("POST", "auth-email", ALL, 400, org=False, body={}),
    Row("GET", "auth-sessions", ALL, org=False),
    Row("DELETE", "auth-sessions", ALL, org=False),
    Row("DELETE", "auth-session", ALL, 404, org=False, path=nothing("session_id")),
    Row("PATCH", "auth-me", ALL, org=False, body={}),
    Row("POST", "auth-logout", ALL, 204, org=False),
    Row("GET", "auth-me", ALL, org=False),
    # --- a person's data: the owner of the cast's organisation is its last
    Row("POST", "auth-me-export", ALL, org=False),
    Row("DELETE", "auth-me", ALL, org=False, ok=-1),
    Row("GET", "jwks", public=True),
    # --- second factors, passkeys and step-up: everybody's own
    Row("POST", "auth-mfa-verify-begin", public=True, ok=400, body={}),
    Row("POST", "auth-passkey-begin", public=True),
    Row("POST", "auth-passkey", public=True, ok=400, body={}),
    Row("POST", "auth-mfa-enable", ALL, org=False, body={}),
    Row("GET", "auth-factors", ALL, org=False),
    Row("PATCH", "auth-factor", ALL, 404, path=nothing("factor_id"), org=False, body={"name": "Blue key"}),
    Row("DELETE", "auth-factor", ALL, 404, path=nothing("factor_id"), org=False),
    Row("POST", "auth-recovery-codes", ALL, 409, org=False),
    Row("POST", "auth-webauthn-begin", ALL, org=False, body={"kind": "passkey"}),
    Row("POST", "auth-webauthn", ALL, 400, org=False, body={}),
    Row("POST", "auth-step-up", ALL, 400, org=False, body={}),
    Row("POST", "auth-step-up-begin", ALL, 409, org=False),
    Row("GET", "user-detail", READERS, scope="read", path=lambda cast, made: {"user_id": cast.bob.id}),
    # --- organisations and members
    Row("GET", "org-list", ALL, org=False),
    Row("POST", "org-list", ALL, 201, body={"name": "Another"}, org=False),
    Row("GET", "org-detail", ALL, scope="read", path=org),
    Row("PATCH", "org-detail", ADMINS, path=org, body={"name": "Renamed"}),
    Row("DELETE", "org-detail", ("owner",), 204, path=org),
    # An organisation that is not deleted is not restored; who could is told so, and nobody else.
    Row("POST", "org-restore", ("owner",), 409, path=org, org=False),
    Row("POST", "org-transfer", ("owner",), 400, path=org, body={}),
    Row("GET", "org-export", ("owner",), 404, path=org),
    Row("POST", "org-export", ("owner",), 202, path=org),
    Row("GET", "org-export-file", ALL, 404, path=nothing("export_id"), org=False),
    Row("PUT", "org-default", ALL, 204, path=org),
    Row("GET", "member-list", READERS, scope="read", path=org),
    Row("POST", "member-list", ADMINS, 201, path=org, body={"email": "charlie@example.com", "role": "viewer"}),
    Row("PATCH", "member-detail", ADMINS, path=member, body={"role": "developer"}),
    # Anybody may leave: Dora, the viewer, is the member that this path names.
    Row("DELETE", "member-detail", (*ADMINS, "viewer"), 204, path=member),
    # --- roles
    Row("GET", "role-list", READERS, scope="read", path=org),
    Row("POST", "role-list", ADMINS, 201, path=org, body={"name": "Reader", "capabilities": ["usage.read"]}),
    Row("GET", "role-detail", READERS, scope="read", path=role),
    Row("PATCH", "role-detail", ADMINS, path=role, body={"name": "Renamed"}),
    Row("DELETE", "role-detail", ADMINS, 204, path=role),
    Row("GET", "permission-list", READERS, scope="read", path=org),
    # --- the access review
    Row("GET", "access-list", ADMINS, path=org),
    Row("GET", "access-csv", ADMINS, path=org),
    Row("GET", "access-reviews", ADMINS, path=org),
    Row("POST", "access-reviews", ADMINS, 201, path=org, body={"note": "Looked through"}),
    # --- teams
    Row("GET", "team-list", GRANTED_READERS, scope="read", path=org),
    Row("POST", "team-list", ADMINS, 201, path=org, body={"name": "Warp"}),
    Row("GET", "team-detail", GRANTED_READERS, scope="read", path=team),
    Row("PATCH", "team-detail", GRANTED_ADMINS, path=team, body={"name": "Weft"}),
    Row("DELETE", "team-detail", GRANTED_ADMINS, 204, path=team),
    Row("PUT", "team-member", GRANTED_ADMINS, 204, path=team_grant, body={}),
    Row("DELETE", "team-member", GRANTED_ADMINS, 204, path=lambda c, m: {"team_id": c.team.id, "user_id": c.bob.id}),
    # --- invitations (one was sent a while ago, so that it can be sent again)
    Row("GET", "invitation-list", ADMINS, path=org),
    Row("POST", "invitation-list", ADMINS, 201, path=org, body={"email": "new@example.com", "role": "viewer"}),
    Row("POST", "invitation-file", ADMINS, path=org, body={"csv": "new@example.com,viewer"}),
    Row("DELETE", "invitation-detail", ADMINS, 204, path=invitation),
    Row("POST", "invitation-resend", ADMINS, path=invitation),
    Row("GET", "invitation-token", public=True, ok=404, path=lambda cast, made: {"token": "unknown"}),
    Row("POST", "invitation-accept", ALL, 404, org=False, path=lambda cast, made: {"token": "unknown"}),
    # --- projects and keys (a developer manages the keys of their team's projects: the cast's project is Bob's team's)
    Row("GET", "project-list", GRANTED_READERS, scope="read", path=org),
    Row("POST", "project-list", ADMINS, 201, path=org, body={"name": "Shuttle"}),
    Row("GET", "project-detail", GRANTED_READERS, scope="read", path=project),
    Row("PATCH", "project-detail", GRANTED_ADMINS, path=project, body={"name": "Renamed"}),
    Row("DELETE", "project-detail", GRANTED_ADMINS, 204, path=project),
    Row("POST", "project-unarchive", GRANTED_ADMINS, path=project),
    Row("GET", "project-settings", GRANTED_READERS, scope="read", path=project),
    Row("PATCH", "project-settings", GRANTED_ADMINS, path=project, body={"outside": "refuse"}),
    Row("GET", "key-policy", READERS, path=org),
    Row("PATCH", "key-policy", ADMINS, path=org, body={"max_life_days": 90}),
    Row("POST", "keys-leaked", public=True, ok=400, body={}),
    Row("GET", "key-detail", GRANTED_READERS, path=key),
    Row("PATCH", "key-detail", KEYS, path=key, body={"name": "renamed"}),
    Row("GET", "key-list", GRANTED_READERS, path=project),
    Row("POST", "key-list", GRANTED_KEYS, 201, path=project, body={"name": "ci", "scopes": ["ingest"]}),
    Row("DELETE", "key-detail", GRANTED_KEYS, 204, path=key),
    Row("POST", "key-rotate", KEYS, 201, path=key, body={}),
    # --- rights on one project and on one team
    Row("GET", "project-grants", GRANTED_ADMINS, path=project),
    Row("PUT", "project-grant", GRANTED_ADMINS, path=project_grant, body={"capabilities": ["project.read"]}),
    Row("DELETE", "project-grant", GRANTED_ADMINS, 204, path=project_grant),
    Row("GET", "team-grants", GRANTED_ADMINS, path=team),
    Row("PUT", "team-grant", GRANTED_ADMINS, path=team_grant, body={"capabilities": ["team.read"]}),
    Row("DELETE", "team-grant", GRANTED_ADMINS, 204, path=team_grant),
    # --- audit
    Row("GET", "audit-list", ADMINS, path=lambda cast, made: {}),
    Row("GET", "audit-detail", ADMINS, 404, path=lambda cast, made: {"entry_id": cast.org.id}),
    Row("GET", "audit-verify", ADMINS, path=lambda cast, made: {}),
    Row("GET", "audit-export", ADMINS, path=lambda cast, made: {}),
    Row("GET", "audit-exports", ADMINS, path=lambda c, m: {}),
    Row("POST", "audit-exports", ADMINS, 400, path=lambda c, m: {}, body={"format": "parchment"}),
    Row("GET", "audit-export-detail", ADMINS, 404, path=lambda c, m: {"export_id": c.org.id}),
    Row("GET", "audit-export-file", ADMINS, 404, path=lambda c, m: {"export_id": c.org.id}),
    Row("GET", "audit-retention", ADMINS, path=lambda c, m: {}),
    Row("PUT", "audit-retention", ADMINS, path=lambda c, m: {}, body={"days": 180}),
    Row("GET", "audit-keys", public=True),
    Row("GET", "audit-streams", ADMINS, path=lambda c, m: {}),
    Row("POST", "audit-streams", ADMINS, 201, path=lambda c, m: {}, body={"name": "SIEM", "url": "https://siem.test/"}),
    Row("GET", "audit-stream", ADMINS, 404, path=lambda c, m: {"stream_id": c.org.id}),
    Row("PATCH", "audit-stream", ADMINS, 404, path=lambda c, m: {"stream_id": c.org.id}, body={"name": "SIEM"}),
    Row("DELETE", "audit-stream", ADMINS, 404, path=lambda c, m: {"stream_id": c.org.id}),
    Row("POST", "audit-stream-test", ADMINS, 404, path=lambda c, m: {"stream_id": c.org.id}),
    Row("POST", "audit-stream-secret", ADMINS, 404, path=lambda c, m: {"stream_id": c.org.id}),
    # --- usage and analytics
    Row("POST", "usage-events", scope="ingest", ok=400, body={"events": []}),
    Row("GET", "usage-events", ALL, scope="read"),
    Row("GET", "usage-sessions", ALL, scope="read"),
    Row("GET", "usage-session", ALL, 404, scope="read", path=lambda cast, made: {"session_id": "nobody/ever"}),
    Row("GET", "usage-metrics", public=True, ok=403),
    Row("GET", "usage-event", ALL, 404, scope="read", path=nothing("event_id")),
    Row("GET", "usage-reprices", ALL),
    Row("POST", "usage-reprices", ADMINS, 202, body={"model": "claude-opus-5"}),
    Row("GET", "usage-reprice", ALL, 404, path=nothing("reprice_id")),
    Row("GET", "usage-imports", IMPORTERS, scope="backfill"),
    Row("POST", "usage-imports", IMPORTERS, 400, scope="backfill", query="?format=xml"),
    Row("GET", "usage-import", IMPORTERS, 404, scope="backfill", path=nothing("import_id")),
    Row("GET", "usage-import-errors", IMPORTERS, 404, scope="backfill", path=nothing("import_id")),
    Row("POST", "usage-import-cancel", IMPORTERS, 404, scope="backfill", path=nothing("import_id")),
    Row("POST", "usage-import-resume", IMPORTERS, 404, scope="backfill", path=nothing("import_id")),
    Row("POST", "usage-track", scope="ingest", ok=400, body={}),
    Row("GET", "usage-health", public=True),
    Row("POST", "otlp-logs", scope="ingest", body={}),
    Row("POST", "otlp-metrics", scope="ingest", body={}),
    Row("POST", "otlp-traces", scope="ingest", body={}),
    Row("GET", "analytics-usage", ALL, scope="read"),
    Row("GET", "org-usage", ALL, scope="read", path=org),
    # --- saved views (the one that the paths name is the owner's, and shared)
    Row("GET", "view-list", ALL, scope="read", path=org),
    Row("POST", "view-list", ALL, 201, path=org, body={"page": "usage", "name": "Mine", "query": "by=team"}),
    Row("GET", "view-detail", ALL, scope="read", path=view),
    Row("PATCH", "view-detail", ADMINS, path=view, body={"name": "Renamed"}),
    Row("DELETE", "view-detail", ADMINS, 204, path=view),
    # --- provisioning (SCIM): a token of provisioning alone, of its own organisation
    Row("GET", "scim-config", scim=True),
    Row("GET", "scim-resource-types", scim=True),
    Row("GET", "scim-resource-type", scim=True, path=lambda cast, made: {"name": "User"}),
    Row("GET", "scim-schemas", scim=True),
    Row("GET", "scim-schema", scim=True, path=lambda cast, made: {"name": GROUP_SCHEMA}),
    Row("GET", "scim-users", scim=True),
    Row("POST", "scim-users", scim=True, ok=201, body={"userName": "bob@example.com"}),
    Row("GET", "scim-user", scim=True, path=scim_user),
    Row("PUT", "scim-user", scim=True, path=scim_user, body={"userName": "dora@example.com"}),
    Row("PATCH", "scim-user", scim=True, path=scim_user, body=SCIM_PATCH),
    Row("DELETE", "scim-user", scim=True, ok=204, path=scim_user),
    Row("GET", "scim-groups", scim=True),
    Row("POST", "scim-groups", scim=True, ok=201, body={"displayName": "Spinners"}),
    Row("GET", "scim-group", scim=True, path=scim_group),
    Row("PUT", "scim-group", scim=True, path=scim_group, body={"displayName": "Weavers"}),
    Row("PATCH", "scim-group", scim=True, path=scim_group, body=SCIM_PATCH),
    Row("DELETE", "scim-group", scim=True, ok=204, path=scim_group),
    # What SCIM knows and is not offered: no page, but no part of the document either.
    *(
        Row(method, "scim-unknown", scim=True, page=True, ok=501, path=lambda cast, made: {"rest": "Me"}, body={})
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    ),
    # --- several members at once
    Row(
        "POST", "members-bulk", ADMINS, path=org,
        body={"action": "remove", "user_ids": ["00000000-0000-7000-8000-000000000000"]},
    ),
    Row("POST", "members_bulk", ADMINS, page=True, path=slug, ok=302),
    # --- imports, their pages
    Row("GET", "imports", IMPORTERS, page=True, path=slug),
    Row("POST", "import_upload", IMPORTERS, 302, page=True, path=slug, body={}),
    Row("GET", "import", IMPORTERS, 404, page=True, path=page_import),
    Row("POST", "import_cancel", IMPORTERS, 404, page=True, path=page_import),
    Row("POST", "import_resume", IMPORTERS, 404, page=True, path=page_import),
    # --- single sign-on over the API
    Row("GET", "sso-domains", ADMINS, path=org),
    Row("POST", "sso-domains", ADMINS, 201, path=org, body={"name": "looms.example"}),
    Row("DELETE", "sso-domain", ADMINS, 204, path=sso("domain_id", "domain")),
    Row("POST", "sso-domain-verify", ADMINS, 404, path=sso_nothing("domain_id")),
    Row("GET", "sso-connections", ADMINS, path=org),
    Row("POST", "sso-connections", ADMINS, 201, path=org, body={"kind": "oidc", "name": "Entra"}),
    Row("GET", "sso-connection", ADMINS, path=sso("connection_id", "connection")),
    Row("PATCH", "sso-connection", ADMINS, path=sso("connection_id", "connection"), body={"name": "Renamed"}),
    Row("DELETE", "sso-connection", ADMINS, 204, path=sso("connection_id", "connection")),
    Row(
        "POST", "sso-connection-act", ADMINS,
        path=lambda c, m: {"org_id": c.org.id, "connection_id": m["connection"], "act": "disable"},
    ),
    Row("GET", "sso-break-glass", ADMINS, path=org),
    Row("PUT", "sso-break-glass-owner", ADMINS, 409, path=member),
    Row("DELETE", "sso-break-glass-owner", ADMINS, 404, path=member),
    Row("GET", "sso-mappings", ADMINS, path=org),
    Row("POST", "sso-mappings", ADMINS, 201, path=org, body={"group": "Looms", "role": "viewer"}),
    Row("DELETE", "sso-mapping", ADMINS, 204, path=sso("mapping_id", "mapping")),
    Row("GET", "sso-scim-tokens", ADMINS, path=org),
    Row("POST", "sso-scim-tokens", ADMINS, 201, path=org, body={"name": "Okta"}),
    Row("DELETE", "sso-scim-token", ADMINS, 204, path=sso("token_id", "scim_token")),
    Row("GET", "sso-scim-log", ADMINS, path=org),
    # --- single sign-on, its pages
    Row("GET", "sso_settings", ADMINS, page=True, path=slug),
    Row("POST", "sso_settings", ADMINS, page=True, path=slug, ok=-1, body={"name": "looms.example"}),
    Row("POST", "sso_domain_verify", ADMINS, 404, page=True, path=page_sso_nothing("domain_id")),
    Row("POST", "sso_domain_remove", ADMINS, page=True, ok=-1, path=page_sso("domain_id", "domain")),
    Row("POST", "sso_break_glass_add", ADMINS, page=True, path=slug, ok=-1),
    Row("POST", "sso_break_glass_remove", ADMINS, 404, page=True, path=page_member),
    Row("GET", "sso_connection_new", ADMINS, page=True, path=lambda c, m: {"slug": c.org.slug, "kind": "saml"}),
    Row(
        "POST", "sso_connection_new", ADMINS, page=True, ok=-1, body={"name": "Entra"},
        path=lambda c, m: {"slug": c.org.slug, "kind": "oidc"},
    ),
    Row("GET", "sso_connection", ADMINS, page=True, path=page_sso("connection_id", "connection")),
    Row(
        "POST", "sso_connection", ADMINS, page=True, ok=-1, body={"name": "Renamed"},
        path=page_sso("connection_id", "connection"),
    ),
    Row("POST", "sso_connection_metadata", ADMINS, page=True, ok=-1, path=page_sso("connection_id", "connection")),
    Row(
        "POST", "sso_connection_act", ADMINS, page=True, ok=-1,
        path=lambda c, m: {"slug": c.org.slug, "connection_id": m["connection"], "act": "delete"},
    ),
    Row("GET", "sso_groups", ADMINS, page=True, path=slug),
    Row("POST", "sso_groups", ADMINS, page=True, path=slug, ok=-1, body={"group": "Looms", "role": "viewer"}),
    Row("POST", "sso_group_remove", ADMINS, page=True, ok=-1, path=page_sso("mapping_id", "mapping")),
    Row("GET", "sso_provisioning", ADMINS, page=True, path=slug),
    Row("POST", "sso_provisioning", ADMINS, page=True, path=slug, ok=-1, body={"name": "Okta", "once": "a"}),
    Row("POST", "sso_token_revoke", ADMINS, page=True, ok=-1, path=page_sso("token_id", "scim_token")),
    # --- signing in by a provider
    Row("GET", "sso_login", public=True, page=True),
    Row("GET", "sso_start", public=True, page=True, ok=404, path=lambda cast, made: {"name": "nobody"}),
    Row("GET", "sso_confirm", ALL, page=True, org=False, ok=302),
    Row("GET", "sso_callback", public=True, page=True, ok=403),
    Row("GET", "sso_saml_metadata", public=True, page=True, ok=404, path=nothing("connection_id")),
    Row("POST", "sso_saml_acs", public=True, page=True, ok=404, path=nothing("connection_id")),
    Row("GET", "sso_saml_finish", public=True, page=True, ok=404, path=nothing("connection_id")),
    # --- operations
    Row("GET", "health-live", public=True),
    Row("GET", "health-ready", public=True),
    Row("GET", "metrics", public=True, ok=403),
    Row("GET", "openapi", public=True),
    Row("GET", "docs", public=True, page=True),
    Row("GET", "guide", public=True, page=True),
    Row("GET", "guide_bare", public=True, page=True, ok=-1),
    Row("GET", "guide_page", public=True, page=True, path=lambda cast, made: {"slug": "usage"}),
    Row("GET", "guide_image", public=True, page=True, path=lambda cast, made: {"name": "usage.webp"}),
    # --- pages outside an organisation
    Row("GET", "login", public=True, page=True, ok=-1),
    Row("GET", "signup", public=True, page=True, ok=-1),
    Row("GET", "login_code", public=True, page=True, ok=-1),
    Row("GET", "start", public=True, page=True, ok=-1),
    Row("GET", "logout", public=True, page=True, ok=-1),
    # --- confirming who one is, and factors
    Row("GET", "account_confirm", ALL, page=True, org=False),
    Row("GET", "forgot", public=True, page=True),
    Row("POST", "forgot", public=True, ok=400, page=True, body={"email": "x"}),
    Row("GET", "reset", public=True, ok=404, page=True),
    Row("POST", "reset", public=True, ok=404, page=True, body={}),
    Row("GET", "reset_link", public=True, ok=302, page=True, path=lambda c, m: {"token": "x"}),
    Row("GET", "verify", public=True, page=True),
    Row("POST", "verify", public=True, ok=404, page=True, body={}),
    Row("GET", "verify_link", public=True, ok=302, page=True, path=lambda c, m: {"token": "x"}),
    Row("GET", "account", ALL, page=True, org=False),
    Row("POST", "account", ALL, 400, page=True, org=False, body={"name": ""}),
    Row("GET", "account_address", ALL, page=True, org=False),
    Row("POST", "account_address", ALL, 400, page=True, org=False, body={"email": "x"}),
    Row("POST", "account_address_resend", ALL, 302, page=True, org=False),
    Row("GET", "account_password", ALL, page=True, org=False),
    Row("POST", "account_password", ALL, 400, page=True, org=False, body={"new_password": "x"}),
    Row("GET", "account_sessions", ALL, page=True, org=False),
    Row("POST", "account_sessions_end", ALL, 302, page=True, org=False),
    Row("POST", "account_session_end", ALL, 302, page=True, org=False, path=nothing("session_id")),
    # --- a person's data
    Row("GET", "account_privacy", ALL, page=True, org=False),
    Row("POST", "account_privacy", ALL, 400, page=True, org=False, body={"confirm": "x"}),
    Row("POST", "account_privacy_export", ALL, page=True, org=False),
    Row("GET", "account_erased", public=True, page=True),
    Row("GET", "account_security", ALL, page=True, org=False),
    Row("GET", "account_app", ALL, page=True, org=False),
    Row("GET", "account_key", ALL, page=True, org=False, path=lambda c, m: {"kind": "passkey"}),
    Row("GET", "account_recovery_codes", ALL, page=True, org=False, ok=-1),
    Row("GET", "account_factor_remove", ALL, 404, page=True, org=False, path=nothing("factor_id")),
    Row("POST", "account_factor_rename", ALL, 404, page=True, org=False, path=nothing("factor_id"), body={"name": "x"}),
    Row("POST", "login_passkey", public=True, page=True, ok=400),
    Row("GET", "oauth_start", public=True, page=True, ok=404, path=lambda c, m: {"provider": "google"}),
    Row("GET", "oauth_callback", public=True, page=True, ok=-1),
    Row("GET", "account_provider_link", ALL, page=True, org=False, ok=-1),
    Row("POST", "account_provider_unlink", ALL, 404, page=True, org=False, path=lambda c, m: {"provider": "none"}),
    Row("GET", "dev_mailbox", public=True, page=True),
    Row("GET", "components", public=True, page=True),
    Row("GET", "invite_link", public=True, page=True, ok=-1, path=lambda cast, made: {"token": "unknown"}),
    Row("GET", "invite", public=True, page=True, ok=404),
    Row("POST", "invite", public=True, page=True, ok=404),
    Row("GET", "welcome", ALL, page=True, org=False, ok=-1),
    Row("GET", "account_organisations", ALL, page=True, org=False),
    Row("POST", "organisation_default", ALL, page=True, org=False, ok=-1, path=org),
    Row("POST", "organisation_restore", ("owner",), page=True, org=False, ok=-1, path=org),
    Row("POST", "impersonation_end", ALL, 404, page=True, org=False),
    # --- pages of an organisation
    Row("GET", "home", ALL, page=True, path=slug),
    Row("GET", "home_csv", ALL, page=True, path=lambda c, m: {"slug": c.org.slug, "panel": "days"}),
    Row("GET", "usage", ALL, page=True, path=slug),
    Row("GET", "usage_csv", ALL, page=True, path=slug),
    Row("GET", "costs", ALL, page=True, path=slug),
    Row("GET", "costs_csv", ALL, page=True, path=lambda c, m: {"slug": c.org.slug, "part": "models"}),
    Row("GET", "sessions", ALL, page=True, path=slug),
    Row("GET", "sessions_csv", ALL, page=True, path=slug),
    Row("GET", "session", ALL, 404, page=True, path=slug),
    Row("GET", "events", ALL, page=True, path=slug),
    Row("GET", "events_csv", ALL, page=True, path=slug),
    Row("GET", "event", ALL, 404, page=True, path=page_event),
    Row("GET", "live", ALL, page=True, path=slug),
    Row("GET", "views", ALL, page=True, path=slug),
    Row("POST", "views", ALL, page=True, path=slug, ok=-1, body={"page": "usage", "name": "Mine"}),
    Row("POST", "view_change", ADMINS, page=True, path=page_view, ok=-1, body={"name": "Renamed"}),
    Row("POST", "view_delete", ADMINS, page=True, path=page_view, ok=-1),
    Row("GET", "search", ALL, page=True, path=slug, query="?q=loom"),
    Row("GET", "search_list", ALL, page=True, path=slug, query="?q=loom"),
    Row("GET", "notifications", ALL, page=True, path=slug),
    Row("GET", "notifications_drawer", ALL, page=True, path=slug),
    Row("GET", "notifications_unread", ALL, page=True, path=slug),
    Row("POST", "notifications_read", ALL, page=True, path=slug, ok=-1),
    Row("POST", "notification_read", ALL, page=True, path=page_notification, ok=-1),
    Row("GET", "keyboard", ALL, page=True, path=slug),
    Row("GET", "first_run", ALL, page=True, path=slug, ok=-1),
    Row("GET", "first_event", ALL, page=True, path=page_project, ok=-1),
    Row("GET", "projects", GRANTED_READERS, page=True, path=slug),
    Row("POST", "projects", ADMINS, page=True, path=slug, ok=-1, body={"name": "Shuttle"}),
    Row("GET", "project", GRANTED_READERS, page=True, path=page_project),
    Row(
        "POST", "project", GRANTED_KEYS, page=True, path=page_project, ok=-1, body={"name": "ci", "scopes": ["ingest"]}
    ),
    Row(
        "POST", "key_revoke", GRANTED_KEYS, page=True, ok=-1,
        path=lambda c, m: {"slug": c.org.slug, "project_slug": c.project.slug, "key_id": m["key"].id},
    ),
    Row("POST", "key_rotate", KEYS, page=True, ok=-1, path=page_key, body={"once": "a"}),
    Row("GET", "key", GRANTED_READERS, page=True, path=page_key),
    Row("POST", "key", KEYS, page=True, path=page_key, ok=-1, body={"name": "renamed"}),
    Row("GET", "project_usage", GRANTED_READERS, page=True, path=page_project),
    Row("GET", "project_settings", GRANTED_READERS, page=True, path=page_project),
    Row("POST", "project_settings", GRANTED_ADMINS, page=True, path=page_project, ok=-1, body={"outside": "refuse"}),
    Row("POST", "project_edit", GRANTED_ADMINS, page=True, path=page_project, ok=-1, body={"name": "Renamed"}),
    Row("POST", "project_archive", GRANTED_ADMINS, page=True, path=page_project, ok=-1),
    Row("POST", "project_unarchive", GRANTED_ADMINS, page=True, path=page_project, ok=-1),
    Row("GET", "keys", READERS, page=True, path=slug),
    Row("POST", "keys", ADMINS, page=True, path=slug, ok=-1, body={"max_life_days": "90", "leaked_keys": "flag"}),
    Row("GET", "keys_csv", READERS, page=True, path=slug),
    Row("GET", "connect", READERS, page=True, path=slug),
    Row("POST", "connect", KEYS, page=True, path=slug, ok=-1, body={"name": "laptop", "once": "a"}),
    Row("GET", "connect_event", READERS, page=True, path=page_project, ok=-1),
    # --- settings
    Row("GET", "settings", ALL, page=True, path=slug),
    Row("POST", "settings", ADMINS, page=True, path=slug, ok=-1, body={"name": "Renamed", "timezone": "UTC"}),
    Row("GET", "settings_danger", ALL, page=True, path=slug),
    Row("POST", "settings_transfer", ("owner",), page=True, path=slug, ok=-1, body={"user_id": "x"}),
    Row("POST", "settings_export", ("owner",), page=True, path=slug, ok=-1),
    Row("GET", "settings_security", ALL, page=True, path=slug),
    Row("POST", "settings_security_change", ADMINS, page=True, path=slug, ok=-1, body={"requires_mfa": "0"}),
    Row("POST", "settings_audit_retention", ADMINS, page=True, path=slug, ok=-1, body={"days": "180"}),
    Row("POST", "settings_leave", ALL, page=True, path=slug, ok=-1),
    Row("POST", "settings_delete", ("owner",), page=True, path=slug, ok=-1, body={"confirm": "wonder-looms"}),
    Row("GET", "audit", ADMINS, page=True, path=slug),
    Row("GET", "audit_export", ADMINS, page=True, path=slug),
    Row("GET", "audit_exports", ADMINS, page=True, path=slug),
    Row("POST", "audit_exports", ADMINS, page=True, path=slug, body={"format": "parchment"}, ok=-1),
    Row("GET", "audit_export_file", ADMINS, 404, page=True,
        path=lambda c, m: {"slug": c.org.slug, "export_id": c.org.id}),
    Row("GET", "audit_streams", ADMINS, page=True, path=slug),
    Row("POST", "audit_streams", ADMINS, 400, page=True, path=slug, body={"name": "SIEM", "url": "nowhere"}),
    Row("POST", "audit_stream_act", ADMINS, 404, page=True,
        path=lambda c, m: {"slug": c.org.slug, "stream_id": c.org.id, "act": "pause"}),
    Row("POST", "audit_verify", ADMINS, page=True, path=slug, ok=-1),
    Row("GET", "audit_entry", ADMINS, 404, page=True, path=lambda c, m: {"slug": c.org.slug, "entry_id": c.org.id}),
    Row("GET", "members", READERS, page=True, path=slug),
    Row("POST", "members", ADMINS, page=True, path=slug, ok=-1, body={"email": "x@example.com", "role": "viewer"}),
    Row("GET", "invitations", ADMINS, page=True, path=slug),
    Row("GET", "invite_many", ADMINS, page=True, path=slug),
    Row("POST", "invite_many", ADMINS, page=True, path=slug, ok=-1, body={"csv": "new@example.com", "role": "viewer"}),
    Row("POST", "invitation_resend", ADMINS, page=True, path=page_invitation, ok=-1),
    Row("POST", "invitation_revoke", ADMINS, page=True, path=page_invitation, ok=-1),
    Row("GET", "member", READERS, page=True, path=page_member),
    Row("POST", "member", ADMINS, page=True, path=page_member, ok=-1, body={"role": "developer"}),
    Row("POST", "member_remove", ADMINS, page=True, path=page_member, ok=-1),
    Row("GET", "roles", READERS, page=True, path=slug),
    Row("GET", "role_new", ADMINS, page=True, path=slug),
    Row(
        "POST", "role_new", ADMINS, page=True, path=slug, ok=-1, body={"name": "Reader", "group3": ["usage.read"]},
    ),
    Row("GET", "role", READERS, page=True, path=page_role),
    Row("POST", "role", ADMINS, page=True, path=page_role, ok=-1, body={"name": "Reader", "group3": ["usage.read"]}),
    Row("POST", "role_delete", ADMINS, page=True, path=page_role, ok=-1),
    Row("GET", "access_review", ADMINS, page=True, path=slug),
    Row("POST", "access_review", ADMINS, page=True, path=slug, ok=-1, body={"next_due": "2000-01-01"}),
    Row("GET", "access_review_csv", ADMINS, page=True, path=slug),
    Row("GET", "project_access", GRANTED_ADMINS, page=True, path=page_project),
    Row("POST", "project_access", GRANTED_ADMINS, page=True, path=page_project, ok=-1),
    Row("POST", "project_access_end", GRANTED_ADMINS, page=True, path=page_project_grant, ok=-1),
    Row("POST", "team_access_give", GRANTED_ADMINS, page=True, path=page_team, ok=-1),
    Row("POST", "team_access_end", GRANTED_ADMINS, page=True, path=page_team_grant, ok=-1),
    Row("GET", "teams", GRANTED_READERS, page=True, path=slug),
    Row("POST", "teams", ADMINS, page=True, path=slug, ok=-1, body={"name": "Warp", "once": "a"}),
    Row("GET", "team", GRANTED_READERS, page=True, path=page_team),
    Row("POST", "team", GRANTED_ADMINS, page=True, path=page_team, ok=-1, body={"name": "Weft"}),
    Row("POST", "team_delete", GRANTED_ADMINS, page=True, path=page_team, ok=-1),
    Row("POST", "team_member_add", GRANTED_ADMINS, page=True, path=page_team, ok=-1),
    Row(
        "POST", "team_member_primary", GRANTED_ADMINS, page=True, ok=-1,
        path=lambda c, m: {"slug": c.org.slug, "team_slug": c.team.slug, "user_id": c.bob.id},
    ),
    Row(
        "POST", "team_member_remove", GRANTED_ADMINS, page=True, ok=-1,
        path=lambda c, m: {"slug": c.org.slug, "team_slug": c.team.slug, "user_id": c.bob.id},
    ),
    Row("GET", "tags", ALL, page=True, path=slug),
    Row("POST", "tags", ADMINS, page=True, path=slug, ok=-1, body={"key": "cost_center"}),
    Row(
        "POST", "tag_remove", ADMINS, page=True, path=slug, ok=-1, body={"key": "region"},
    ),
    Row("GET", "prices", ALL, page=True, path=slug),
    Row("POST", "prices", ADMINS, page=True, path=slug, ok=-1, body={"model": "x"}),
    Row(
        "POST", "price_end", ADMINS, page=True, ok=-1,
        path=lambda c, m: {"slug": c.org.slug, "price_id": m["price"]},
    ),
)  # fmt: skip

# Routes without a row, each with its reason.
EXCUSED = {
    "dev_mail": "a mail of the development mailbox: as its list, in development only",
    "dev_mail_html": "the same",
}
