"""Sign-ins that were begun in this browser and wait for the provider's answer.

They are kept in the session, so that only the browser that asked can take an answer up: an answer that somebody else
obtained, and has a victim's browser deliver, fits nothing there.
"""

from dataclasses import asdict, dataclass
from uuid import UUID

from django.http import HttpRequest

from apps.core.clock import now

__all__ = ["Pending", "remember", "take"]

_KEY = "sso_pending"
_SECONDS = 600
_MOST = 5


@dataclass(frozen=True, slots=True)
class Pending:
    """One begun sign-in. ``tester`` is the person who only tests the connection; nobody is signed in then.

    ``confirmer`` is the signed-in person who shows the provider a credential again.
    """

    connection_id: str
    next: str = ""
    nonce: str = ""
    verifier: str = ""
    tester: str = ""
    confirmer: str = ""
    at: float = 0.0

    @property
    def connection(self) -> UUID:
        return UUID(self.connection_id)


def remember(request: HttpRequest, key: str, pending: Pending) -> None:
    """Keep a begun sign-in under what its answer will name: the state, or the request's id. The newest few stay."""
    kept: dict[str, dict[str, object]] = request.session.get(_KEY, {})
    entry = {**asdict(pending), "at": now().timestamp()}
    request.session[_KEY] = dict([*list(kept.items())[-(_MOST - 1) :], (key, entry)])


def take(request: HttpRequest, key: str) -> Pending | None:
    """The begun sign-in that an answer names, once; None where this browser began none, or over ten minutes ago."""
    kept: dict[str, dict[str, object]] = dict(request.session.get(_KEY, {}))
    entry = kept.pop(key, None) if key else None
    if entry is None:
        return None
    request.session[_KEY] = kept
    found = Pending(**entry)  # type: ignore[arg-type]
    return found if now().timestamp() - found.at <= _SECONDS else None
