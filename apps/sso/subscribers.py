"""What single sign-on hears of others."""

from collections.abc import Sequence
from uuid import UUID

from apps.events.contracts import Envelope
from apps.events.registry import subscribe
from apps.sso import selectors, services

__all__ = ["register"]


def _signed_in(envelope: Envelope) -> None:
    """Alarm where a break-glass owner went round the provider."""
    services.note_sign_in(user_id=UUID(envelope.data["user_id"]), method=envelope.data["method"], event_id=envelope.id)


def _pick(sign_ins: Sequence[Envelope]) -> list[bool]:
    """Those of owners who may go round a provider: of hardly any."""
    people = [UUID(each.data["user_id"]) for each in sign_ins]
    owners = selectors.break_glass_among(set(people))
    return [person in owners for person in people]


def register() -> None:
    """Hear from now on."""
    subscribe(name="sso.watch_break_glass", types=("user.login",), handler=_signed_in, picks=_pick)
