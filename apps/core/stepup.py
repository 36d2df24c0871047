"""Step-up: what is sensitive wants a credential that was shown a short while ago (RFC 9470).

The answer is 401, not 403: the caller may do it, and is told how by a challenge (``insufficient_user_authentication``
with the greatest age that is taken), as RFC 9470 has it. Programs tell it from a sign-in that is over by its code.
"""

from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from django.conf import settings

from apps.core.clock import now
from apps.core.contracts import Actor
from apps.core.errors import NotAuthenticated, PermissionDenied
from apps.core.ports import Port

__all__ = ["Proofs", "StepUpRequired", "is_fresh", "proofs", "require_fresh"]


class Proofs(Protocol):
    """What sign-ins know (filled by identity)."""

    def shown_at(self, session_id: UUID) -> datetime | None:
        """When a credential was last shown in a sign-in that goes on, asked anew."""


class _Unknown:
    def shown_at(self, session_id: UUID) -> datetime | None:
        return None


proofs: Port[Proofs] = Port("proofs", _Unknown())


class StepUpRequired(NotAuthenticated):
    """401 ``step_up_required``: the person is known, and must show a credential again."""

    code, title = "step_up_required", "Confirm that it is you"

    def __init__(self) -> None:
        minutes: int = settings.STEP_UP_MINUTES
        challenge = (
            'Bearer realm="mindweave", error="insufficient_user_authentication", '
            f'error_description="A more recent sign-in is needed", max_age="{minutes * 60}"'
        )
        super().__init__(
            f"This needs a credential that you showed in the last {minutes} minutes: send one to /auth/step-up, then "
            "repeat the request",
            extra={"max_age": minutes * 60},
            headers={"WWW-Authenticate": challenge},
        )


def is_fresh(actor: Actor) -> bool:
    """Whether a person showed a credential within ``STEP_UP_MINUTES``. When is not known, they did not.

    Sign-ins are remembered for a moment by each process: before somebody is refused, the book is asked anew.
    """
    if actor.impersonator_id is not None:
        return False
    if _is_recent(actor.authenticated_at):
        return True
    return actor.session_id is not None and _is_recent(proofs.get().shown_at(actor.session_id))


def _is_recent(moment: datetime | None) -> bool:
    return moment is not None and now() - moment <= timedelta(minutes=settings.STEP_UP_MINUTES)


def require_fresh(actor: Actor) -> None:
    """Refuse whoever did not show a credential a short while ago: keys and people in another's place altogether."""
    if actor.kind == "key":
        raise PermissionDenied("API keys cannot do this; a signed-in person can", code="keys_not_allowed")
    if actor.impersonator_id is not None:
        raise PermissionDenied("Nobody may do this in another's name", code="impersonation_personal")
    if not is_fresh(actor):
        raise StepUpRequired()
