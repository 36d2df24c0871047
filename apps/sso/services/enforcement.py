"""Enforced single sign-on: who must sign in by the provider, and who may do without when it fails."""

from datetime import timedelta
from uuid import UUID

from django.db import transaction

from apps.accounts import selectors as accounts
from apps.core.clock import now
from apps.core.database import lock_org
from apps.core.errors import Conflict, NotFound
from apps.core.tenancy import org_scope, system_scope
from apps.identity.provisioned import PROVIDER_METHODS, end_unprovided, person_has_second_factor
from apps.sso import selectors
from apps.sso.models import BreakGlass, Connection, ToldSignIn
from apps.sso.roles import OWNER
from apps.sso.telling import tell, tell_connection

__all__ = [
    "add_break_glass",
    "end_other_sign_ins",
    "enforce_connection",
    "forget_told_sign_ins",
    "note_sign_in",
    "relax",
    "relax_connection",
    "remove_break_glass",
]

# The bus keeps its dead letters, which staff can have delivered again, for 30 days.
_TOLD_KEPT = timedelta(days=45)


@transaction.atomic
def enforce_connection(*, org_id: UUID, connection_id: UUID) -> int:
    """Have the people of the verified domains sign in by this connection alone; returns how many sign-ins ended.

    Wants an enabled connection that a test went through, a verified domain, and a break-glass owner with a second
    factor, so that a provider that fails locks nobody out for good; :class:`Conflict` says which is missing. What they
    signed in by other ways ends.
    """
    with org_scope(org_id):
        lock_org("sso", org_id)
        connection = _locked(connection_id)
        if connection.is_enforced:
            return 0
        if not connection.is_enabled:
            raise Conflict("Enable the connection first", code="connection_disabled")
        if connection.tested_at is None:
            raise Conflict("Let a test sign-in go through first", code="connection_untested")
        if not selectors.verified_domains(org_id):
            raise Conflict("Verify a domain first", code="no_verified_domain")
        if not _fit_ones(org_id):
            raise Conflict(
                "Choose an owner with a second factor who may sign in without the provider", code="no_break_glass_owner"
            )
        for other in Connection.objects.select_for_update().filter(is_enforced=True):
            relax(other, reason="another connection is enforced")
        Connection.objects.filter(pk=connection.pk).update(is_enforced=True)
        connection.is_enforced = True
        tell_connection(connection, "sso.enforced", before={"is_enforced": False}, after={"is_enforced": True})
        return end_other_sign_ins(connection)


@transaction.atomic
def relax_connection(*, org_id: UUID, connection_id: UUID) -> None:
    """Let people sign in in other ways again; repeating it is harmless."""
    with org_scope(org_id):
        lock_org("sso", org_id)
        connection = _locked(connection_id)
        if connection.is_enforced:
            relax(connection)


def relax(connection: Connection, *, reason: str = "") -> None:
    """Take the enforcement of a connection away; inside the caller's transaction and scope."""
    Connection.objects.filter(pk=connection.pk).update(is_enforced=False)
    connection.is_enforced = False
    tell_connection(
        connection, "sso.relaxed", before={"is_enforced": True}, after={"is_enforced": False}, reason=reason
    )


def end_other_sign_ins(connection: Connection, *, only: str | None = None) -> int:
    """End what those who must use the provider signed in by otherwise, of one domain or all; returns how many.

    Inside the caller's transaction.
    """
    return sum(
        end_unprovided(user_id=member.user_id, reason="sso_enforced")
        for member in sorted(selectors.affected_members(connection.org_id), key=lambda member: member.user_id)
        if only is None or selectors.domain_of(member.email) == only
    )


# ---------------------------------------------------------------- break-glass owners
@transaction.atomic
def add_break_glass(*, org_id: UUID, user_id: UUID) -> None:
    """Let an owner sign in without the provider; they need a second factor. Repeating it is harmless."""
    with org_scope(org_id):
        lock_org("sso", org_id)
        if accounts.role_of(org_id=org_id, user_id=user_id) != OWNER:
            raise Conflict("Only an owner can be a break-glass owner", code="not_an_owner")
        if not person_has_second_factor(user_id):
            raise Conflict("They have to enrol a second factor first", code="second_factor_missing")
        _, created = BreakGlass.objects.get_or_create(org_id=org_id, user_id=user_id)
        if created:
            _tell_break_glass(org_id, user_id, "sso.break_glass_added")


@transaction.atomic
def remove_break_glass(*, org_id: UUID, user_id: UUID) -> None:
    """Take an owner's exemption away; the last one who can use it stays while a connection is enforced."""
    with org_scope(org_id):
        lock_org("sso", org_id)
        row = BreakGlass.objects.filter(user_id=user_id).first()
        if row is None:
            raise NotFound()
        if Connection.objects.filter(is_enforced=True).exists() and not _fit_ones(org_id) - {user_id}:
            raise Conflict("While a connection is enforced, one break-glass owner stays", code="last_break_glass")
        row.delete()
        _tell_break_glass(org_id, user_id, "sso.break_glass_removed")


def _fit_ones(org_id: UUID) -> set[UUID]:
    """The break-glass owners who can use it."""
    ids = selectors.break_glass_ids(org_id)
    return {one for one in ids if selectors.is_fit_for_break_glass(org_id=org_id, user_id=one)}


def note_sign_in(*, user_id: UUID, method: str, event_id: UUID) -> int:
    """Alarm the organisations that a break-glass owner went round the provider of; returns how many.

    Each is told once of one sign-in, however often the event that tells of it is delivered.
    """
    if set(method.split("+")) & PROVIDER_METHODS:
        return 0
    with system_scope("a person signs in without naming an organisation"):
        org_ids = list(BreakGlass.objects.filter(user_id=user_id).values_list("org_id", flat=True))
        enforced = list(
            Connection.objects.filter(org_id__in=org_ids, is_enforced=True).values_list("org_id", flat=True)
        )
    told = 0
    for org_id in enforced:
        with org_scope(org_id), transaction.atomic():
            _, is_news = ToldSignIn.objects.get_or_create(org_id=org_id, event_id=event_id)
            if is_news:
                _tell_break_glass(org_id, user_id, "sso.break_glass_used", method=method)
                told += 1
    return told


def forget_told_sign_ins() -> int:
    """Delete what was told so long ago that no delivery of it can come any more; returns how many."""
    deleted, _ = ToldSignIn.objects.filter(at__lt=now() - _TOLD_KEPT).delete()
    return int(deleted)


def _tell_break_glass(org_id: UUID, user_id: UUID, action: str, **more: str) -> None:
    member = next((one for one in accounts.member_infos(org_id) if one.user_id == user_id), None)
    tell(
        action, org_id=org_id, target="user", target_id=user_id, label=member.email if member else "",
        data={"user_id": str(user_id), **more}, after=more or None,
    )  # fmt: skip


def _locked(connection_id: UUID) -> Connection:
    found: Connection | None = Connection.objects.select_for_update().filter(pk=connection_id).first()
    if found is None:
        raise NotFound()
    return found
