"""What of saved views travels."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

__all__ = ["ViewInfo"]


@dataclass(frozen=True, slots=True)
class ViewInfo:
    """A saved view as one person sees it; ``owner_id`` is None once its owner has left."""

    id: UUID
    page: str
    name: str
    query: str
    is_shared: bool
    is_default: bool
    owner_id: UUID | None
    owner_name: str
    created_at: datetime
    updated_at: datetime
