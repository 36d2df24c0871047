"""Reads of people and of how they are signed in."""

from collections.abc import Iterable
from functools import cache
from uuid import UUID

from allauth.mfa.models import Authenticator
from django.contrib.auth.models import AnonymousUser
from django.db import connection

from apps.core.errors import Conflict, NotFound
from apps.identity.book import live_ones
from apps.identity.contracts import FactorInfo, FactorKind, SessionInfo, UserInfo
from apps.identity.models import FactorDevice, User, normalise_email
from apps.identity.ports import login_policy

__all__ = [
    "factor_kind",
    "factor_list",
    "normal_email",
    "person_by_email",
    "recovery_codes_left",
    "session_list",
    "user_by_email",
    "user_find",
    "user_get",
    "user_has_second_factor",
    "user_held",
    "user_info",
    "user_locked",
    "users_by_emails",
    "users_by_ids",
    "users_without_factor",
]

_SECOND_FACTORS = (Authenticator.Type.TOTP.value, Authenticator.Type.WEBAUTHN.value)

# In the order of UserInfo's fields.
_INFO = (
    "SELECT id, email, name, is_active, email_verified_at IS NOT NULL, timezone, default_org_id"
    " FROM identity_user WHERE id = %s"
)


@cache
def _person_query(condition: str) -> tuple[str, list[str]]:
    fields = User._meta.concrete_fields
    names = ", ".join(f'"{field.column}"' for field in fields)
    # Only names of columns and tables are put in, and what the login policy has of its own.
    second = f"SELECT 1 FROM {Authenticator._meta.db_table} WHERE user_id = identity_user.id AND type = ANY(%s)"  # noqa: S608
    statement = f"SELECT {names}, EXISTS ({second}), {condition} FROM identity_user WHERE email = %s"  # noqa: S608
    return statement, [field.attname for field in fields]


def person_by_email(email: str) -> User | None:
    """The row of an address in its normal spelling, for signing in; it knows whether there is a second factor, and
    whether the login policy may have something against a password.
    """
    condition, values = login_policy.get().may_refuse(email)
    statement, names = _person_query(condition)
    with connection.cursor() as cursor:
        cursor.execute(statement, [list(_SECOND_FACTORS), *values, email])
        row = cursor.fetchone()
    if row is None:
        return None
    user = User.from_db(connection.alias, names, row[:-2])
    user.has_second_factor, user.may_be_refused = row[-2:]
    return user


def user_info(user: User) -> UserInfo:
    """The contract of a row."""
    return UserInfo(
        id=user.pk,
        email=user.email,
        name=user.name,
        is_active=user.is_active,
        email_verified=user.email_verified_at is not None,
        timezone=user.timezone,
        default_org_id=user.default_org_id,
    )


def normal_email(email: str) -> str:
    """The one spelling of an address that is stored and compared."""
    return normalise_email(email)


def user_find(user_id: UUID) -> UserInfo | None:
    """A person by id, or None."""
    # The bare statement: who somebody is, is asked with every look at their account.
    with connection.cursor() as cursor:
        cursor.execute(_INFO, [user_id])
        row = cursor.fetchone()
    return UserInfo(*row) if row else None


def user_get(user_id: UUID) -> UserInfo:
    """A person by id; :class:`NotFound` otherwise."""
    found = user_find(user_id)
    if found is None:
        raise NotFound()
    return found


def user_held(user_id: UUID) -> UserInfo:
    """A person who is and stays there until the transaction ends: their erasure waits, or this waits for it.

    Asked for before any lock of an organisation or of what is theirs, as an erasure does it: else two could wait for
    each other. :class:`NotFound` for nobody, :class:`Conflict` (``account_closed``) for a closed account.
    """
    user = user_locked(user_id)
    if user is None:
        raise NotFound()
    if not user.is_active:
        raise Conflict("Their account is closed", code="account_closed")
    return user


def user_locked(user_id: UUID) -> UserInfo | None:
    """:func:`user_held` of somebody in whatever state, a closed account too; None for nobody."""
    user = User.objects.select_for_update(no_key=True).filter(pk=user_id).first()
    return user_info(user) if user else None


def user_by_email(email: str) -> UserInfo | None:
    """A person by address, whatever its case."""
    user = User.objects.filter(email=normalise_email(email)).first()
    return user_info(user) if user else None


def users_by_ids(ids: Iterable[UUID]) -> dict[UUID, UserInfo]:
    """Those of ``ids`` that exist."""
    return {user.pk: user_info(user) for user in User.objects.filter(pk__in=set(ids))}


def users_by_emails(emails: Iterable[str]) -> dict[str, UserInfo]:
    """Those of ``emails`` that exist, by their normal spelling."""
    wanted = {normalise_email(email) for email in emails}
    return {user.email: user_info(user) for user in User.objects.filter(email__in=wanted)}


def user_has_second_factor(user: User | AnonymousUser) -> bool:
    """Whether the person has an authenticator app, a security key or a passkey."""
    if not user.is_authenticated:
        return False
    if isinstance(user, User) and user.has_second_factor is not None:
        return user.has_second_factor
    return bool(Authenticator.objects.filter(user=user, type__in=_SECOND_FACTORS).exists())


def factor_list(user_id: UUID) -> list[FactorInfo]:
    """A person's second factors, oldest first."""
    devices = FactorDevice.objects.filter(user_id=user_id).select_related("authenticator").order_by("pk")
    return [
        FactorInfo(
            id=device.public_id,
            kind=factor_kind(device),
            name=device.name,
            created_at=device.authenticator.created_at,
            last_used_at=device.authenticator.last_used_at,
        )
        for device in devices
    ]


def factor_kind(device: FactorDevice) -> FactorKind:
    """What a factor is in our words."""
    if device.credential_id is None:
        return "totp"
    return "passkey" if device.is_passkey else "security_key"


def recovery_codes_left(user_id: UUID) -> int:
    """How many recovery codes of a person are unused."""
    codes = Authenticator.objects.filter(user_id=user_id, type=Authenticator.Type.RECOVERY_CODES).first()
    return len(codes.wrap().get_unused_codes()) if codes else 0


def users_without_factor(ids: Iterable[UUID]) -> set[UUID]:
    """Those of ``ids`` who have no second factor."""
    wanted = set(ids)
    return wanted - set(FactorDevice.objects.filter(user_id__in=wanted).values_list("user_id", flat=True))


def session_list(*, user_id: UUID, current: UUID | None) -> list[SessionInfo]:
    """Where a person is signed in, the one that asks first, then the last used; at most 100."""
    rows = [
        SessionInfo(
            id=row.pk,
            kind=row.kind,
            device=row.device,
            ip=row.ip,
            country=row.country,
            methods=list(row.methods),
            created_at=row.created_at,
            last_used_at=row.last_used_at,
            expires_at=row.expires_at,
            current=row.pk == current,
        )
        for row in live_ones(user_id)[:100]
    ]
    return sorted(rows, key=lambda row: not row.current)
