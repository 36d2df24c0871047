"""Values that travel into and out of the usage engine."""

from dataclasses import dataclass, field
from typing import Annotated, Literal
from uuid import UUID

import msgspec

__all__ = [
    "EVENT_TYPES",
    "CacheCreation",
    "EventCore",
    "EventIn",
    "IngestResult",
    "PersonRef",
    "Rejection",
    "ServerToolUse",
    "TelemetryEvent",
]

EVENT_TYPES = ("api_call", "mcp_tool", "session")

Count = Annotated[int, msgspec.Meta(ge=0, le=2_000_000_000)]
Name = Annotated[str, msgspec.Meta(max_length=200)]
Word = Annotated[str, msgspec.Meta(max_length=64)]
Reference = Annotated[str, msgspec.Meta(max_length=256)]


class CacheCreation(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Cache-write tokens by how long the entry lives."""

    ephemeral_5m_input_tokens: Count = 0
    ephemeral_1h_input_tokens: Count = 0


class ServerToolUse(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Uses of tools that run at the provider."""

    web_search_requests: Count = 0
    web_fetch_requests: Count = 0


class EventCore(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """The fields that most events have and no others: a batch of such events is read at two thirds of the cost.

    Each means what :class:`EventIn` says.
    """

    # In the order in which clients write them: the decoder expects the next field to be the next one here.
    event_id: str
    timestamp: str
    org_id: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    event_type: Literal["api_call", "mcp_tool", "session"]
    model: Name | None = None
    input_tokens: Count | None = 0
    output_tokens: Count | None = 0
    latency_ms: Count | None = None
    cost_usd: float | int | str | None = None
    cache_read_input_tokens: Count | None = 0
    cache_creation_input_tokens: Count | None = 0
    session_id: Reference | None = None
    request_id: Reference | None = None
    status: Literal["ok", "error"] | None = "ok"
    metadata: msgspec.Raw = msgspec.Raw(b"")


class EventIn(EventCore, forbid_unknown_fields=True, kw_only=True, gc=False):
    """One event as it is sent. Tokens are counts, ``latency_ms`` milliseconds, ``cost_usd`` the sender's own figure.

    ``event_id`` (a UUID) and ``timestamp`` (RFC 3339) stay strings here: a batch of them is read as one column.
    ``cache_creation_input_tokens`` is the total of both kinds of cache write; what the split leaves over counts
    as the 5-minute kind. ``metadata`` is a JSON object, kept as it came: at most 16 KiB, at
    most 64 levels deep.
    """

    cache_creation: CacheCreation | None = None
    server_tool_use: ServerToolUse | None = None
    service_tier: Word | None = None
    inference_geo: Word | None = None
    speed: Word | None = None
    error_type: Name | None = None
    stop_reason: Word | None = None
    mcp_server: Name | None = None
    mcp_tool: Name | None = None
    source: Word | None = None


class TelemetryEvent(EventIn, forbid_unknown_fields=True, kw_only=True, gc=False):
    """An event from telemetry, which names people by e-mail; never decoded from a public body.

    ``user_email`` is matched to a member's verified address, else it stands for an unclaimed person.
    ``user_name`` labels somebody without an address (an installation's hash, an agent). ``trust_cost`` makes the
    sender's figure the cost, where it knows what the event does not tell.
    """

    user_email: str | None = None
    user_name: str | None = None
    trust_cost: bool = False


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one event was not taken: ``index`` in the batch, a stable ``code``, a sentence, a JSON pointer."""

    index: int
    event_id: str | None
    code: str
    detail: str
    pointer: str

    def as_json(self) -> dict[str, object]:
        return {
            "index": self.index,
            "event_id": self.event_id,
            "code": self.code,
            "detail": self.detail,
            "pointer": self.pointer,
        }


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What became of a batch: ``accepted`` events are committed; ``duplicates`` are those inside the batch."""

    accepted: int = 0
    duplicates: int = 0
    rejected: list[Rejection] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PersonRef:
    """A person named by telemetry and unknown to the organisation: ``id`` is derived from org and name."""

    id: UUID
    email: str
    name: str
