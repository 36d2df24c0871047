"""What people are told inside the product: each kind hears events and says it in words.

An app registers its kinds in ``AppConfig.ready``; nothing changes them later. The bell, the drawer, the history and the
retention come with them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

from apps.events.contracts import Envelope
from apps.events.registry import subscribe
from apps.notify import services
from apps.notify.contracts import Draft

__all__ = ["Kind", "icons", "register_kind"]

Words = Callable[[Envelope], Iterable[Draft]]
# Kind → its icon, for the pages.
icons: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Kind:
    """``words`` puts an event of one of ``types`` into words, for one audience or several, or for none.

    An event of no organisation is told to those that ``orgs`` names.
    """

    name: str
    types: tuple[str, ...]
    icon: str
    words: Words
    orgs: Callable[[Envelope], Iterable[UUID]] | None = None


def register_kind(kind: Kind) -> None:
    """Have a kind told from now on; its subscription is ``notify.tell_<name>``."""

    def handle(envelope: Envelope) -> None:
        drafts = list(kind.words(envelope))
        if not drafts:
            return
        if envelope.org_id is not None:
            orgs: Iterable[UUID] = [envelope.org_id]
        else:
            orgs = kind.orgs(envelope) if kind.orgs else []
        services.tell(org_ids=orgs, kind=kind.name, drafts=drafts, event_id=envelope.id)

    icons[kind.name] = kind.icon
    subscribe(name=f"notify.tell_{kind.name}", types=kind.types, handler=handle)
