"""What of notifications travels to other apps."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

__all__ = ["Draft", "Note"]


@dataclass(frozen=True, slots=True)
class Draft:
    """A notification to be: words, a path below the organisation's own, and who may read it.

    ``recipient_id`` narrows it to one person, ``except_id`` leaves one out; ``once`` names what it is about where it is
    told only once (as long as it is kept), else each event is told.
    """

    title: str
    body: str = ""
    link: str = ""
    tone: str = "info"
    capability: str = ""
    recipient_id: UUID | None = None
    except_id: UUID | None = None
    once: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A notification as one person sees it."""

    id: UUID
    kind: str
    tone: str
    icon: str
    title: str
    body: str
    link: str
    created_at: datetime
    is_read: bool
