"""What travels out of the trail."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

__all__ = ["AuditFilter", "Broken", "Verified"]


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries: each field narrows, None leaves open. ``start`` is in, ``end`` is out.

    ``action`` is a name, or a family such as ``project.*``; ``ip`` is one address, in any of its spellings.
    """

    action: str | None = None
    actor_id: UUID | None = None
    target_type: str | None = None
    target_id: str | None = None
    correlation_id: str | None = None
    ip: str | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """The first thing that is not as it was sealed: ``altered``, ``missing``, ``inserted``, ``reordered`` or
    ``bad_signature``. An entry that is gone has no id, one that was never sealed no position.
    """

    position: int | None
    entry_id: UUID | None
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification found: entries of the chain in ``[from_position, position]`` are as they were sealed.

    ``next`` is where to go on, where the time was up; ``complete`` says that the end that was asked for was reached.
    """

    chain_id: UUID
    from_position: int
    position: int
    entries: int
    checkpoints: int
    first_at: datetime | None = None
    last_at: datetime | None = None
    complete: bool = False
    next: tuple[int, bytes] | None = None
    broken: Broken | None = None

    @property
    def is_whole(self) -> bool:
        return self.broken is None
