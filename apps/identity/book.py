"""The book of sign-ins: whether one still goes on, asked by every request of a signed-in person.

Each process remembers a row for less than a second, so that a sign-in that ends anywhere is dead everywhere once that
has passed, and a page with twenty requests asks once.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.db import connection
from django.db.models import Q, QuerySet

from apps.core.clock import now
from apps.core.database import later
from apps.identity.devices import country_of, device_of_agent
from apps.identity.models import SignIn, User

__all__ = ["HELD", "Facts", "facts_of", "forget_sessions", "hold", "live_ones", "live_sign_in", "open_sign_in",
           "shown_at", "sign_in_of_session"]  # fmt: skip

# In a cookie session: its row in the book, and when a credential was last shown in it.
# Not taken: the digest of the session's key in the row. Keys change with every rotation, and each would have to tell
# the book; an id in the session's data goes along by itself.
HELD = "sign_in"
_CACHE_SECONDS = 0.8
_CACHE_SIZE = 20_000
_USED_EVERY = timedelta(minutes=1)
# Whoever was deactivated, or got another password, since their row was read is not signed in: the statement waits for
# who changes them, and looks again.
_INSERT = (
    "WITH person AS"
    " (UPDATE identity_user SET last_login = %s WHERE id = %s AND is_active AND password = %s RETURNING id)"
    " INSERT INTO identity_signin (id, user_id, kind, created_at, last_used_at, expires_at, authenticated_at, methods,"
    " ip, user_agent, device, country, end_reason)"
    " SELECT %s, person.id, %s, %s, %s, %s, %s::timestamptz, %s::text[], %s::inet, %s, %s, %s, '' FROM person"
)
_live: dict[UUID, tuple[float, SignIn | None]] = {}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a request knows of the sign-in that it came by (``request.sign_in``)."""

    id: UUID
    authenticated_at: datetime | None
    methods: frozenset[str]


def facts_of(row: SignIn) -> Facts:
    return Facts(row.pk, row.authenticated_at, frozenset(row.methods))


def forget_sessions() -> None:
    """Ask the database again on the next request of each sign-in, so that an end made here is seen here at once."""
    _live.clear()


def live_sign_in(sign_in_id: UUID, *, shown_since: float = 0.0, used: bool = True) -> SignIn | None:
    """A sign-in that goes on, with its person; None for one that ended, ran out, or is of somebody deactivated.

    At most one query each 0.8 s. ``shown_since`` (seconds since 1970) is when the caller knows that a credential was
    shown: a row remembered from before that is read again. ``used`` whether asking counts as use: a socket that is
    merely open must not keep an idle sign-in alive.
    """
    moment = time.monotonic()
    found = _live.get(sign_in_id)
    if found is None or found[0] <= moment or (found[1] is not None and _is_older(found[1], shown_since)):
        row = SignIn.objects.select_related("user").filter(pk=sign_in_id).first()
        alive = row is not None and row.is_live(now()) and row.user.is_active
        if row is not None and alive and used:
            _note_use(row)
        if len(_live) >= _CACHE_SIZE:
            _live.clear()
        found = _live[sign_in_id] = (moment + _CACHE_SECONDS, row if alive else None)
    return found[1]


def _is_older(row: SignIn, shown_since: float) -> bool:
    return shown_since > (row.authenticated_at.timestamp() if row.authenticated_at else 0.0)


def _note_use(row: SignIn) -> None:
    """Write down that it was used, once a minute at most whatever the number of processes."""
    moment = now()
    if row.last_used_at <= moment - _USED_EVERY:
        due = SignIn.objects.filter(pk=row.pk, last_used_at__lte=moment - _USED_EVERY)
        due.update(last_used_at=moment)
        row.last_used_at = moment


def sign_in_of_session(session: Any, *, used: bool = True) -> SignIn | None:
    """The live row of a cookie session's person; None where nobody is signed in, or no longer."""
    held, user_id = session.get(HELD), session.get(SESSION_KEY)
    if not held or not user_id:
        return None
    row = live_sign_in(UUID(held["id"]), shown_since=held["at"], used=used)
    return row if row is not None and row.kind == SignIn.Kind.WEB and str(row.user_id) == str(user_id) else None


def shown_at(sign_in_id: UUID) -> datetime | None:
    """When a credential was last shown in a sign-in, asked anew: another process may have noted it a moment ago."""
    row = SignIn.objects.filter(pk=sign_in_id).first()
    return row.authenticated_at if row is not None and row.is_live(now()) else None


def live_ones(user_id: UUID) -> QuerySet[SignIn]:
    """The sign-ins of a person that go on, last used first."""
    moment = now()
    in_use = Q(kind=SignIn.Kind.API) | Q(last_used_at__gt=moment - settings.SESSION_IDLE)
    return SignIn.objects.filter(in_use, user_id=user_id, ended_at=None, expires_at__gt=moment).order_by(
        "-last_used_at", "-id"
    )


def open_sign_in(
    user: User, *, kind: str, methods: list[str], ip: str | None, user_agent: str, shown: bool = True
) -> SignIn:
    """Enter a sign-in in the book with the caller's transaction; ``shown`` whether a credential was shown just now.

    Nothing is entered for who is deactivated, or has another password, by the time that it is: refresh tokens of it are
    then refused by the database (``IntegrityError``), and a session that names it is nobody's.
    """
    moment = now()
    longest = settings.SESSION_LONGEST if kind == SignIn.Kind.WEB else settings.JWT_REFRESH_LIFETIME
    row = SignIn(
        user=user,
        kind=kind,
        methods=methods,
        authenticated_at=moment if shown else None,
        expires_at=moment + longest,
        ip=ip,
        country=country_of(ip),
        user_agent=user_agent[:300],
        device=device_of_agent(user_agent),
    )
    later(
        _INSERT,
        [
            row.created_at, user.pk, user.password,
            row.pk, kind, row.created_at, row.last_used_at, row.expires_at, row.authenticated_at, methods, row.ip,
            row.user_agent, row.device, row.country,
        ],
    )  # fmt: skip
    row._state.adding, row._state.db = False, connection.alias
    return row


def hold(session: Any, row: SignIn) -> None:
    """Let a cookie session name its row."""
    session[HELD] = {"id": str(row.pk), "at": row.authenticated_at.timestamp() if row.authenticated_at else 0.0}
