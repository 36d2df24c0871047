"""Reads of single sign-on."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection as database
from django.db.models import F, Q, QuerySet

from apps.accounts import selectors as accounts
from apps.core.clock import now
from apps.core.errors import NotFound
from apps.core.tenancy import org_scope, system_scope
from apps.identity.provisioned import person_has_second_factor
from apps.sso.contracts import ConnectionInfo, DomainInfo, ScimTokenInfo
from apps.sso.dns import CHALLENGE, PREFIX
from apps.sso.models import (
    BreakGlass,
    Connection,
    ConnectionKind,
    Domain,
    ExternalIdentity,
    GroupMapping,
    ScimGroup,
    ScimRequest,
    ScimToken,
    ScimUser,
)

__all__ = [
    "IS_OF_VERIFIED_DOMAIN",
    "affected_members",
    "break_glass_among",
    "break_glass_ids",
    "connection_find",
    "connection_for_confirmation",
    "connection_for_domain",
    "connection_for_org",
    "connection_get",
    "connection_info",
    "connection_list",
    "domain_info",
    "domain_list",
    "domain_of",
    "enforced_connection",
    "is_fit_for_break_glass",
    "is_of_verified_domain",
    "mapping_list",
    "may_break_glass",
    "metadata_due",
    "our_addresses",
    "provisioned_counts",
    "pushed_groups",
    "request_list",
    "scim_token_info",
    "scim_tokens",
    "verified_domains",
]

_OIDC = ("issuer", "client_id", "scopes", "groups_claim", "needs_auth_time")
_SAML = (
    "idp_entity_id", "idp_sso_url", "idp_certificates", "idp_metadata_url", "subject_attribute", "email_attribute",
    "groups_claim", "signs_requests", "allows_unsolicited",
)  # fmt: skip


# How often metadata are fetched again, and how soon after a failure: a little less than the clock of the job.
METADATA_EVERY = timedelta(hours=6) - timedelta(minutes=5)
METADATA_RETRY = timedelta(minutes=55)
_MOST_DUE = 200
# Whether a domain is somebody's.
IS_OF_VERIFIED_DOMAIN = "EXISTS (SELECT 1 FROM sso_domain WHERE name = %s AND verified_at IS NOT NULL)"


# ---------------------------------------------------------------- domains
def domain_of(email: str) -> str:
    """What stands behind the last @ of an address, as domains are kept; empty where there is none."""
    _, at, domain = email.strip().lower().rpartition("@")
    if not at:
        return ""
    try:
        return domain.encode("idna").decode() if not domain.isascii() else domain
    except UnicodeError:
        return ""


def domain_info(domain: Domain) -> DomainInfo:
    """The contract of a row."""
    return DomainInfo(
        id=domain.pk,
        org_id=domain.org_id,
        name=domain.name,
        record=f"{CHALLENGE}.{domain.name}",
        value=f"{PREFIX}{domain.token}",
        verified_at=domain.verified_at,
        checked_at=domain.checked_at,
        failing_since=domain.failing_since,
    )


def domain_list(org_id: UUID) -> QuerySet[Domain]:
    """The domains of an organisation (rows, for this app's own views)."""
    with org_scope(org_id):
        rows: QuerySet[Domain] = Domain.objects.all()
    return rows


def verified_domains(org_id: UUID) -> frozenset[str]:
    """The names of an organisation's proved domains."""
    return frozenset(domain_list(org_id).filter(verified_at__isnull=False).values_list("name", flat=True))


def is_of_verified_domain(*, org_id: UUID, email: str) -> bool:
    """Whether an address is of a domain that the organisation proved."""
    return domain_list(org_id).filter(verified_at__isnull=False, name=domain_of(email)).exists()


# ---------------------------------------------------------------- connections
def connection_info(connection: Connection) -> ConnectionInfo:
    """The contract of a row."""
    names = _OIDC if connection.kind == ConnectionKind.OIDC else _SAML
    shown: dict[str, Any] = {name: getattr(connection, name) for name in names}
    return ConnectionInfo(
        id=connection.pk,
        org_id=connection.org_id,
        name=connection.name,
        kind=connection.kind,
        is_enabled=connection.is_enabled,
        is_enforced=connection.is_enforced,
        creates_members=connection.creates_members,
        default_role=connection.default_role,
        last_used_at=connection.last_used_at,
        tested_at=connection.tested_at,
        metadata_checked_at=connection.metadata_checked_at,
        metadata_failing_since=connection.metadata_failing_since,
        metadata_problem=connection.metadata_problem,
        created_at=connection.created_at,
        settings={**shown, **our_addresses(connection)},
    )


def our_addresses(connection: Connection) -> dict[str, str]:
    """What the provider has to be told of us."""
    base = settings.PUBLIC_URL.rstrip("/")
    start = f"{base}/sso/{connection.pk}/start"
    if connection.kind == ConnectionKind.OIDC:
        return {"login_url": start, "redirect_uri": f"{base}/sso/callback"}
    saml = f"{base}/sso/{connection.pk}/saml"
    return {"login_url": start, "acs_url": f"{saml}/acs", "entity_id": f"{saml}/metadata"}


def connection_list(org_id: UUID) -> QuerySet[Connection]:
    """The connections of an organisation, without their secrets (rows, for this app's own views)."""
    with org_scope(org_id):
        rows: QuerySet[Connection] = Connection.objects.defer("client_secret", "sp_key", "test_answer")
    return rows


def connection_get(*, org_id: UUID, connection_id: UUID) -> Connection:
    """A connection of the organisation; :class:`NotFound` otherwise."""
    with org_scope(org_id):
        found: Connection | None = Connection.objects.filter(pk=connection_id).first()
    if found is None:
        raise NotFound()
    return found


def connection_find(connection_id: UUID) -> Connection | None:
    """A connection by its id alone: what a path of signing in names before anybody is known."""
    with system_scope("a path of signing in names a connection without its organisation"):
        found: Connection | None = Connection.objects.filter(pk=connection_id).first()
    return found


def connection_for_domain(email: str) -> Connection | None:
    """The connection by which an address signs in: the enforced one of its domain's organisation, else its first."""
    with system_scope("an address is all that is known of who signs in"):
        org_id = Domain.objects.filter(name=domain_of(email), verified_at__isnull=False).values_list(
            "org_id", flat=True
        )
        found: Connection | None = (
            Connection.objects.filter(org_id__in=org_id, is_enabled=True).order_by("-is_enforced", "created_at").first()
        )
    return found if found is not None and _is_open(found.org_id) else None


def connection_for_confirmation(user_id: UUID) -> Connection | None:
    """The connection by which somebody last signed in, of those that are on; None where they never did by any."""
    with system_scope("a person confirms that it is them without naming an organisation"):
        identity: ExternalIdentity | None = (
            ExternalIdentity.objects.filter(user_id=user_id, connection__is_enabled=True)
            .select_related("connection")
            .order_by("-last_used_at")
            .first()
        )
    if identity is None or not _is_open(identity.org_id):
        return None
    found: Connection = identity.connection
    return found


def connection_for_org(slug: str) -> Connection | None:
    """The connection by which people of the organisation sign in, by the organisation's short name; None without."""
    org_id = accounts.org_by_name(slug)
    if org_id is None or not _is_open(org_id):
        return None
    rows = connection_list(org_id).filter(is_enabled=True).order_by("-is_enforced", "created_at")
    return rows.first()


def _is_open(org_id: UUID) -> bool:
    org = accounts.org_find(org_id)
    return org is not None and org.status == "active"


def enforced_connection(email: str) -> Connection | None:
    """The connection that people of this address's domain must sign in by; None where they are free."""
    # Asked with every password, and most domains are nobody's: that much costs a fifth of the whole question.
    with database.cursor() as cursor:
        cursor.execute(f"SELECT {IS_OF_VERIFIED_DOMAIN}", [domain_of(email)])
        if not cursor.fetchone()[0]:
            return None
    found = connection_for_domain(email)
    return found if found is not None and found.is_enforced else None


def break_glass_ids(org_id: UUID) -> set[UUID]:
    """Who may sign in without the provider."""
    with org_scope(org_id):
        return set(BreakGlass.objects.values_list("user_id", flat=True))


def break_glass_among(user_ids: Iterable[UUID]) -> set[UUID]:
    """Those who may sign in without the provider of some organisation."""
    with system_scope("people sign in without naming an organisation"):
        return set(BreakGlass.objects.filter(user_id__in=set(user_ids)).values_list("user_id", flat=True))


def may_break_glass(*, org_id: UUID, user_id: UUID) -> bool:
    """Whether somebody may sign in without the provider: chosen for it, still an owner, with a second factor."""
    return user_id in break_glass_ids(org_id) and is_fit_for_break_glass(org_id=org_id, user_id=user_id)


def is_fit_for_break_glass(*, org_id: UUID, user_id: UUID) -> bool:
    """Whether somebody could be a break-glass owner: an owner with a second factor."""
    return accounts.role_of(org_id=org_id, user_id=user_id) == "owner" and person_has_second_factor(user_id)


def affected_members(org_id: UUID) -> list[Any]:
    """The members who would have to sign in by the provider: of a verified domain, and no break-glass owner."""
    domains, spared = verified_domains(org_id), break_glass_ids(org_id)
    return [
        member
        for member in accounts.member_infos(org_id)
        if domain_of(member.email) in domains and member.user_id not in spared
    ]


def metadata_due() -> list[tuple[UUID, UUID]]:
    """The organisations and ids of connections whose metadata are to be fetched again, the longest due first.

    Those that are on and were not asked for six hours, or an hour where that failed. The caller stands in a system
    scope.
    """
    moment = now()
    rows = Connection.objects.filter(
        Q(metadata_checked_at=None)
        | Q(metadata_checked_at__lte=moment - METADATA_EVERY)
        | Q(metadata_failing_since__isnull=False, metadata_checked_at__lte=moment - METADATA_RETRY),
        kind=ConnectionKind.SAML, is_enabled=True,
    ).exclude(idp_metadata_url="")  # fmt: skip
    rows = rows.order_by(F("metadata_checked_at").asc(nulls_first=True), "pk")
    return list(rows.values_list("org_id", "pk")[:_MOST_DUE])


# ---------------------------------------------------------------- groups
def mapping_list(org_id: UUID) -> QuerySet[GroupMapping]:
    """What groups give in an organisation (rows, for this app's own views)."""
    with org_scope(org_id):
        rows: QuerySet[GroupMapping] = GroupMapping.objects.select_related("team")
    return rows


def pushed_groups(org_id: UUID) -> list[str]:
    """The names of the groups that the provider pushed."""
    with org_scope(org_id):
        return list(ScimGroup.objects.order_by("display_name").values_list("display_name", flat=True))


# ---------------------------------------------------------------- provisioning
def scim_token_info(token: ScimToken) -> ScimTokenInfo:
    """The contract of a row."""
    if token.revoked_at is not None:
        state = "revoked"
    else:
        state = "expired" if token.expires_at is not None and token.expires_at <= now() else "works"
    return ScimTokenInfo(
        id=token.pk,
        org_id=token.org_id,
        name=token.name,
        prefix=token.prefix,
        state=state,
        created_at=token.created_at,
        expires_at=token.expires_at,
        revoked_at=token.revoked_at,
        last_used_at=token.last_used_at,
    )


def scim_tokens(org_id: UUID) -> QuerySet[ScimToken]:
    """The tokens of provisioning of an organisation (rows, for this app's own views)."""
    with org_scope(org_id):
        rows: QuerySet[ScimToken] = ScimToken.objects.all()
    return rows


def request_list(org_id: UUID) -> QuerySet[ScimRequest]:
    """What provisioning asked of late, newest first (rows, for this app's own views)."""
    with org_scope(org_id):
        rows: QuerySet[ScimRequest] = ScimRequest.objects.select_related("token").order_by("-at", "-id")
    return rows


def provisioned_counts(org_id: UUID) -> dict[str, int]:
    """How many people and groups the provider provisioned."""
    with org_scope(org_id):
        return {
            "people": ScimUser.objects.filter(is_active=True).count(),
            "inactive": ScimUser.objects.filter(is_active=False).count(),
            "groups": ScimGroup.objects.count(),
        }
