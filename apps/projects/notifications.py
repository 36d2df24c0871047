"""What people are told about keys: who manages projects, and whose key it is."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from uuid import UUID

from apps.events.contracts import Envelope
from apps.notify.contracts import Draft
from apps.notify.kinds import Kind, register_kind
from apps.projects import selectors
from apps.projects.models import ApiKey

__all__ = ["register"]

_MANAGERS = "project.manage"


def _key(envelope: Envelope) -> ApiKey | None:
    if envelope.org_id is None:
        return None
    return selectors.key_list(org_id=envelope.org_id).filter(pk=UUID(envelope.data["key_id"])).first()


def _both(key: ApiKey, *, title: str, body: str, tone: str = "info") -> Iterator[Draft]:
    """The same to those who manage projects and to the key's owner, who may not."""
    link = f"projects/{key.project.slug}"
    yield Draft(title=title, body=body, link=link, tone=tone, capability=_MANAGERS, except_id=key.owner_id)
    if key.owner_id is not None:
        yield Draft(title=title, body=body, link=link, tone=tone, recipient_id=key.owner_id)


def _revoked(envelope: Envelope) -> Iterable[Draft]:
    key = _key(envelope)
    if key is not None:
        yield from _both(
            key, title=f"Key {key.name} was revoked", tone="warn",
            body=f"Of project {key.project.name}. What still uses it is refused.",
        )  # fmt: skip


def _rotated(envelope: Envelope) -> Iterable[Draft]:
    key = _key(envelope)
    if key is not None:
        ends = datetime.fromisoformat(envelope.data["ends_at"])
        yield from _both(
            key, title=f"Key {key.name} was replaced",
            body=f"Of project {key.project.name}. The old one ends on {ends.day} {ends:%b, %H:%M} UTC.",
        )  # fmt: skip


def _expiring(envelope: Envelope) -> Iterable[Draft]:
    key = _key(envelope)
    if key is not None and key.revoked_at is None:
        ends = datetime.fromisoformat(envelope.data["expires_at"])
        yield from _both(
            key, title=f"Key {key.name} ends on {ends.day} {ends:%b}", tone="warn",
            body=f"Of project {key.project.name}. Replace it before, or what uses it is refused.",
        )  # fmt: skip


def _leaked(envelope: Envelope) -> Iterable[Draft]:
    key = _key(envelope)
    if key is not None:
        dead = "It is revoked." if envelope.data["revoked"] else "It still works: replace and revoke it now."
        where = f" It was found at {envelope.data['url']}." if envelope.data["url"] else ""
        yield from _both(
            key, title=f"Key {key.name} was reported as leaked", tone="danger",
            body=f"Of project {key.project.name}. {dead}{where}",
        )  # fmt: skip


def register() -> None:
    """Make the kinds known."""
    register_kind(Kind("key_revoked", ("key.revoked",), "key", _revoked))
    register_kind(Kind("key_rotated", ("key.rotated",), "key", _rotated))
    register_kind(Kind("key_leaked", ("key.leaked",), "alert-triangle", _leaked))
    register_kind(Kind("key_expiring", ("key.expiring",), "clock", _expiring))
