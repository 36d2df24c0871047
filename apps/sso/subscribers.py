"""What single sign-on hears of others."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from apps.events.contracts import Envelope
from apps.events.registry import subscribe
from apps.sso import selectors, services

__all__ = ["register"]


def _signed_in(envelope: Envelope) -> None:
    """Alarm where a break-glass owner went round the provider."""
    services.note_sign_in(user_id=UUID(envelope.data["user_id"]), method=envelope.data["method"], event_id=envelope.id)


def _pick(sign_ins: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Those of owners who may go round a provider: of hardly any."""
    owners = selectors.break_glass_among({UUID(each["user_id"]) for each in sign_ins})
    return [UUID(each["user_id"]) in owners for each in sign_ins]


def register() -> None:
    """Hear from now on."""
    subscribe(name="sso.watch_break_glass", types=("user.login",), handler=_signed_in, picks=_pick)
