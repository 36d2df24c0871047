"""What travels out of the trail."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

__all__ = ["AuditFilter"]


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries: each field narrows, None leaves open. ``start`` is in, ``end`` is out.

    ``action`` is a name, or a family such as ``project.*``.
    """

    action: str | None = None
    actor_id: UUID | None = None
    target_type: str | None = None
    target_id: str | None = None
    correlation_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None
