"""What travels on the bus: the envelope of the specification, section 3.3."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

__all__ = ["TOPICS", "Envelope", "NewEvent"]

TOPICS: Final = ("usage.events", "analytics.results", "notifications", "audit.log", "billing.events")


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to publish: its type, its data, and where it belongs (see ``services.publish``)."""

    type: str
    data: Mapping[str, Any]
    org_id: UUID | None
    key: str | None = None
    user_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """An event as handlers get it.

    ``key`` is what order is kept for, ``topic`` the stream; both travel beside the envelope, as with Kafka.
    ``metadata`` holds ``org_id``, ``user_id`` and ``traceparent`` where they are known.
    """

    id: UUID
    type: str
    source: str
    timestamp: datetime
    version: str
    correlation_id: str
    data: Mapping[str, Any]
    topic: str
    key: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def org_id(self) -> UUID | None:
        """The organisation that the event is about; handlers run in its scope."""
        raw = self.metadata.get("org_id")
        return UUID(raw) if raw else None

    @property
    def user_id(self) -> UUID | None:
        """The person who caused the event, or whom it is about."""
        raw = self.metadata.get("user_id")
        return UUID(raw) if raw else None

    @property
    def traceparent(self) -> str | None:
        """The W3C trace context of the work that published it."""
        return self.metadata.get("traceparent")

    def as_dict(self) -> dict[str, Any]:
        """The envelope of the specification, ready for JSON."""
        return {
            "id": str(self.id),
            "type": self.type,
            "source": self.source,
            "timestamp": self.timestamp.isoformat().replace("+00:00", "Z"),
            "version": self.version,
            "correlation_id": self.correlation_id,
            "data": dict(self.data),
            "metadata": dict(self.metadata),
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], *, topic: str, key: str) -> "Envelope":
        """The inverse of :meth:`as_dict`."""
        return cls(
            id=UUID(raw["id"]),
            type=raw["type"],
            source=raw["source"],
            timestamp=datetime.fromisoformat(raw["timestamp"]),
            version=raw["version"],
            correlation_id=raw["correlation_id"],
            data=raw["data"],
            metadata=raw.get("metadata", {}),
            topic=topic,
            key=key,
        )
