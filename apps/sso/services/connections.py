"""Connections to identity providers: made, changed, tested, enabled."""

from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction

from apps.core.clock import now
from apps.core.errors import Conflict, FieldError, NotFound, ValidationFailed
from apps.core.tenancy import org_scope
from apps.sso.contracts import Arrival, ConnectionInfo
from apps.sso.models import Connection, ConnectionKind
from apps.sso.roles import check_role
from apps.sso.saml.certificates import checked_certificates, new_key_pair
from apps.sso.selectors import connection_info
from apps.sso.services.enforcement import relax
from apps.sso.telling import tell_connection

__all__ = [
    "create_connection",
    "delete_connection",
    "disable_connection",
    "enable_connection",
    "keep_test",
    "update_connection",
]

_COMMON = ("name", "creates_members", "default_role", "groups_claim")
_OIDC = (*_COMMON, "issuer", "client_id", "client_secret", "scopes", "needs_auth_time")
_SAML = (
    *_COMMON, "idp_entity_id", "idp_sso_url", "idp_certificates", "idp_metadata_url", "subject_attribute",
    "email_attribute", "signs_requests", "allows_unsolicited",
)  # fmt: skip
# What decides who is let in: after a change of it, the last test says nothing any more.
_DECIDING = {"issuer", "client_id", "idp_entity_id", "idp_sso_url", "subject_attribute", "email_attribute"}
# Issuers whose ID tokens do not say when somebody signed in there, unless that was switched on at the provider.
_SAYS_NO_TIME = {"https://accounts.google.com"}
_MOST = 20


def _invalid(errors: list[FieldError]) -> ValidationFailed:
    return ValidationFailed("The connection is not valid", errors=errors)


@transaction.atomic
def create_connection(*, org_id: UUID, kind: str, name: str, values: dict[str, Any]) -> ConnectionInfo:
    """Make a connection, not enabled yet. ``values`` are fields of its kind; what is missing can follow later.

    Whether confirmations want the time of the sign-in follows from the issuer where it is not said.
    """
    if kind not in ConnectionKind.values:
        raise _invalid([{"pointer": "/kind", "detail": f"one of {', '.join(ConnectionKind.values)}"}])
    with org_scope(org_id):
        if Connection.objects.count() >= _MOST:
            raise Conflict(f"An organisation has at most {_MOST} connections", code="too_many_connections")
        connection = Connection(org_id=org_id, kind=kind, name=name)
        if kind == ConnectionKind.SAML:
            connection.sp_key, connection.sp_certificate = new_key_pair()
        values = _with_the_issuers_way(connection, values)
        _assign(connection, {"name": name, **values})
        _save(connection)
        tell_connection(connection, "sso.connection_created", after={"kind": kind, **_told(connection, values)})
        return connection_info(connection)


@transaction.atomic
def update_connection(*, org_id: UUID, connection_id: UUID, changes: dict[str, Any]) -> ConnectionInfo:
    """Change a connection. An empty ``client_secret`` keeps the one that is there.

    Where it is changed who is asked (issuer, entity id, client), the test of before counts no more, so an enforced one
    is no longer enforced: nobody is locked out by a slip.
    """
    if changes.get("client_secret") == "":
        changes = {name: value for name, value in changes.items() if name != "client_secret"}
    with org_scope(org_id):
        connection = _locked(connection_id)
        changes = _with_the_issuers_way(connection, changes)
        before = {name: getattr(connection, name, None) for name in changes}
        _assign(connection, changes)
        changed = [name for name in changes if getattr(connection, name) != before[name]]
        if not changed:
            return connection_info(connection)
        if connection.is_enabled and (missing := _missing(connection)):
            raise _invalid(missing)
        if _DECIDING & set(changed):
            connection.tested_at = connection.test_answer = None
            if connection.is_enforced:
                relax(connection, reason="the connection leads somewhere else now")
        if "idp_metadata_url" in changed:
            connection.metadata_checked_at = connection.metadata_failing_since = connection.metadata_told_at = None
            connection.metadata_problem = ""
        _save(connection)
        tell_connection(
            connection, "sso.connection_updated", data={"changed": sorted(changed)},
            before={name: before[name] for name in changed}, after=_told(connection, changed),
        )  # fmt: skip
        return connection_info(connection)


@transaction.atomic
def delete_connection(*, org_id: UUID, connection_id: UUID) -> None:
    """Delete a connection with the identities that came by it; its people keep their membership.

    An enforced one is refused with :class:`Conflict`.
    """
    with org_scope(org_id):
        connection = _locked(connection_id)
        if connection.is_enforced:
            raise Conflict("It is enforced: end that first", code="connection_enforced")
        tell_connection(connection, "sso.connection_deleted", before={"kind": connection.kind})
        connection.delete()


@transaction.atomic
def enable_connection(*, org_id: UUID, connection_id: UUID) -> ConnectionInfo:
    """Let people sign in by it; :class:`ValidationFailed` names what is missing."""
    return _set_enabled(org_id, connection_id, enabled=True)


@transaction.atomic
def disable_connection(*, org_id: UUID, connection_id: UUID) -> ConnectionInfo:
    """Let nobody sign in by it any more; an enforced one is refused with :class:`Conflict`."""
    return _set_enabled(org_id, connection_id, enabled=False)


def _set_enabled(org_id: UUID, connection_id: UUID, *, enabled: bool) -> ConnectionInfo:
    with org_scope(org_id):
        connection = _locked(connection_id)
        if connection.is_enabled == enabled:
            return connection_info(connection)
        if enabled and (missing := _missing(connection)):
            raise _invalid(missing)
        if not enabled and connection.is_enforced:
            raise Conflict("It is enforced: end that first", code="connection_enforced")
        connection.is_enabled = enabled
        connection.save(update_fields=["is_enabled", "updated_at"])
        tell_connection(
            connection, "sso.connection_enabled" if enabled else "sso.connection_disabled",
            before={"is_enabled": not enabled}, after={"is_enabled": enabled},
        )  # fmt: skip
        return connection_info(connection)


@transaction.atomic
def keep_test(*, connection: Connection, arrival: Arrival) -> None:
    """Keep what a test sign-in brought, for the page that shows it; nobody is signed in by it."""
    with org_scope(connection.org_id):
        answer = {
            "subject": arrival.subject,
            "email": arrival.email,
            "name": arrival.name,
            "groups": None if arrival.groups is None else list(arrival.groups),
            "claims": arrival.claims,
        }
        row = _locked(connection.pk)
        row.test_answer, row.tested_at = answer, now()
        row.save(update_fields=["test_answer", "tested_at", "updated_at"])
        tell_connection(row, "sso.connection_tested")


# ---------------------------------------------------------------- what a connection must be
def _with_the_issuers_way(connection: Connection, values: dict[str, Any]) -> dict[str, Any]:
    """``values``, and with another issuer whether it says when people signed in, where that is not said by them."""
    issuer = values.get("issuer")
    if not isinstance(issuer, str) or "needs_auth_time" in values:
        return values
    says_it, said_it = (each.strip() not in _SAYS_NO_TIME for each in (issuer, connection.issuer))
    # Between issuers of one kind, what is set stays: it was somebody's wish.
    return values if says_it == said_it else {**values, "needs_auth_time": says_it}


def _assign(connection: Connection, values: dict[str, Any]) -> None:
    known = _OIDC if connection.kind == ConnectionKind.OIDC else _SAML
    errors: list[FieldError] = [
        {"pointer": f"/{name}", "detail": f"not a setting of {ConnectionKind(connection.kind).label}"}
        for name in values
        if name not in known
    ]
    if errors:
        raise _invalid(errors)
    for name, value in values.items():
        setattr(connection, name, value.strip() if isinstance(value, str) else value)
    if not connection.name:
        errors.append({"pointer": "/name", "detail": "This may not be blank"})
    for name in ("issuer", "idp_sso_url", "idp_metadata_url"):
        if problem := _url_problem(getattr(connection, name)):
            errors.append({"pointer": f"/{name}", "detail": problem})
    if "scopes" in values and "openid" not in connection.scopes.split():
        errors.append({"pointer": "/scopes", "detail": "openid is one of them"})
    if errors:
        raise _invalid(errors)
    check_role(connection.org_id, connection.default_role, "/default_role")
    if "idp_certificates" in values:
        connection.idp_certificates = checked_certificates(values["idp_certificates"])


def _url_problem(url: str) -> str:
    if not url:
        return ""
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.username or parts.fragment:
        return "An https address is wanted"
    if parts.scheme == "http" and parts.hostname not in settings.OUTBOUND_ALLOWED_HOSTS:
        return "Only https is safe here"
    return ""


def _missing(connection: Connection) -> list[FieldError]:
    """What a connection needs before anybody can sign in by it."""
    if connection.kind == ConnectionKind.OIDC:
        wanted = ("issuer", "client_id", "client_secret")
    else:
        wanted = ("idp_entity_id", "idp_sso_url", "idp_certificates")
    return [
        {"pointer": f"/{name}", "detail": "This is needed before it can be used"}
        for name in wanted
        if not getattr(connection, name)
    ]


def _told(connection: Connection, names: Any) -> dict[str, Any]:
    return {name: getattr(connection, name) for name in names if name != "client_secret"} | (
        {"client_secret": "set"} if "client_secret" in names else {}
    )


def _save(connection: Connection) -> None:
    try:
        with transaction.atomic():
            connection.save()
    except IntegrityError as error:
        raise Conflict("A connection of this name is here already", code="connection_exists") from error


def _locked(connection_id: UUID) -> Connection:
    found: Connection | None = Connection.objects.select_for_update().filter(pk=connection_id).first()
    if found is None:
        raise NotFound()
    return found
