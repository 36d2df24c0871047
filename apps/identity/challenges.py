"""What is begun in one request and finished once in a later one, within minutes."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.core.clock import now
from apps.core.crypto import new_token, token_digest, token_digests
from apps.identity.models import Challenge

__all__ = ["LIFETIME", "Begun", "begin", "finish", "look", "prune_challenges"]

LIFETIME = timedelta(minutes=5)
_PURPOSE = "challenge"


@dataclass(frozen=True, slots=True)
class Begun:
    """What was begun: for whom (None: nobody known yet), and what its finish is held against."""

    user_id: UUID | None
    data: dict[str, Any]


def begin(*, purpose: str, data: dict[str, Any], user_id: UUID | None = None, lifetime: timedelta = LIFETIME) -> str:
    """Remember ``data`` for ``lifetime``; returns the token that finishes it."""
    token = new_token()
    Challenge.objects.create(
        digest=token_digest(token, _PURPOSE), purpose=purpose, user_id=user_id, data=data, expires_at=now() + lifetime
    )
    return token


def look(*, purpose: str, token: str) -> Begun | None:
    """What the token began, left as it is; None for one that is unknown, used, too old or of another purpose."""
    row = _live(purpose, token).first()
    return Begun(row.user_id, row.data) if row else None


def finish(*, purpose: str, token: str) -> Begun | None:
    """The same, used up by asking: of two that ask at once one is answered."""
    with transaction.atomic():
        row = _live(purpose, token).select_for_update().first()
        if row is None:
            return None
        row.delete()
        return Begun(row.user_id, row.data)


def _live(purpose: str, token: str) -> Any:
    digests = token_digests(token[:200], _PURPOSE)
    return Challenge.objects.filter(digest__in=digests, purpose=purpose, expires_at__gt=now())


def prune_challenges() -> int:
    """Delete those that nobody finished in time; returns how many."""
    done, _ = Challenge.objects.filter(expires_at__lt=now()).delete()
    return done
