"""The end of sign-ins: here at once, on every other process within a second."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import logout as django_logout
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest

from apps.audit.services import record
from apps.core.clock import now
from apps.core.errors import NotFound
from apps.events.services import publish
from apps.identity.book import forget_sessions, live_ones
from apps.identity.models import RefreshToken, SignIn, User

__all__ = ["end_all_sessions", "end_rows", "end_session", "logout", "logout_web", "prune_sign_ins"]

_KEPT_AFTER_THE_END = timedelta(days=30)


def logout(*, session_id: UUID) -> None:
    """End one sign-in: its refresh tokens now, its access tokens within a second on every process."""
    with transaction.atomic():
        sign_in = SignIn.objects.select_for_update().filter(pk=session_id).first()
        if sign_in is None or sign_in.ended_at is not None:
            return
        user = User.objects.get(pk=sign_in.user_id)
        SignIn.objects.filter(pk=sign_in.pk).update(ended_at=now(), end_reason="logout")
        _signed_out(user)
    forget_sessions()


def logout_web(*, request: HttpRequest) -> None:
    """Close the cookie session, and its sign-in with it."""
    user: Any = request.user
    sign_in = getattr(request, "sign_in", None)
    with transaction.atomic():
        if sign_in is not None:
            logout(session_id=sign_in.id)
        elif isinstance(user, User):
            _signed_out(user)
        django_logout(request)


def _signed_out(user: User) -> None:
    record(action="user.logout", org_id=None, target_type="user", target_id=user.pk, target_label=user.email)
    publish(type="user.logout", org_id=None, user_id=user.pk, data={"user_id": str(user.pk)})


@transaction.atomic
def end_session(*, user_id: UUID, session_id: UUID, reason: str = "ended_by_person") -> None:
    """End one of a person's sign-ins; :class:`NotFound` for one that is not theirs or has ended."""
    user = User.objects.select_for_update(no_key=True).get(pk=user_id)
    row = live_ones(user_id).filter(pk=session_id).first()
    if row is None:
        raise NotFound()
    end_rows([row], user=user, reason=reason)


@transaction.atomic
def end_all_sessions(*, user_id: UUID, reason: str, keep: UUID | None = None) -> int:
    """End every sign-in of a person, in browsers and over the API, except ``keep``; returns how many ended."""
    user = User.objects.select_for_update(no_key=True).get(pk=user_id)
    found = SignIn.objects.filter(user=user, ended_at=None).select_for_update().order_by("pk")
    rows = [row for row in found if row.pk != keep]
    end_rows(rows, user=user, reason=reason)
    return len(rows)


def end_rows(rows: Sequence[SignIn], *, user: User, reason: str) -> None:
    """End sign-ins of one person, in the caller's transaction; says so even where there was none to end."""
    SignIn.objects.filter(pk__in=[row.pk for row in rows]).update(ended_at=now(), end_reason=reason)
    record(
        action="user.session.invalid", org_id=None, target_type="user", target_id=user.pk, target_label=user.email,
        after={"sessions": [str(row.pk) for row in rows]}, reason=reason,
    )  # fmt: skip
    publish(type="user.session.invalid", org_id=None, user_id=user.pk, data={"user_id": str(user.pk), "reason": reason})
    transaction.on_commit(forget_sessions)


def prune_sign_ins() -> dict[str, int]:
    """Delete sign-ins that ended a month ago and web sessions that expired; returns how many of each.

    Of a sign-in that goes on, refresh tokens used longer ago than one lives go too: shown again they are unknown, so
    refused all the same.
    """
    ended = now() - _KEPT_AFTER_THE_END
    sign_ins, _ = SignIn.objects.filter(Q(ended_at__lt=ended) | Q(expires_at__lt=ended)).delete()
    tokens, _ = RefreshToken.objects.filter(used_at__lt=now() - settings.JWT_REFRESH_LIFETIME).delete()
    sessions, _ = Session.objects.filter(expire_date__lt=now()).delete()
    return {"sign_ins": sign_ins, "refresh_tokens": tokens, "sessions": sessions}
