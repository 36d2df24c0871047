"""The newest event of a project, for the page that waits for its first."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from apps.usage.selectors.raw import event_search
from apps.usage.store import org_number

__all__ = ["FirstEvent", "first_event", "has_usage"]


@dataclass(frozen=True, slots=True)
class FirstEvent:
    """An event as the page shows it; ``latency_ms`` None where it said nothing of it."""

    id: UUID
    at: datetime
    what: str
    source: str
    status: str
    input_tokens: int
    output_tokens: int
    latency_ms: int | None
    cost: Decimal


def has_usage(org_id: UUID) -> bool:
    """Whether anything was ever counted for the organisation."""
    return org_number(org_id) is not None


def first_event(org_id: UUID, project_id: UUID) -> FirstEvent | None:
    """The newest event of a project among those kept in full, or None."""
    number = org_number(org_id)
    if number is None:
        return None
    found = event_search(org_id=org_id, filters={"project": [str(project_id)]}, limit=1)
    if not found:
        return None
    event = found[0].body
    named = event["model"] or " ".join(filter(None, (event["mcp_server"], event["mcp_tool"])))
    return FirstEvent(
        id=found[0].event_id,
        at=found[0].at,
        what=f"{event['event_type']}, {named}" if named else event["event_type"],
        source=event["source"] or "",
        status=event["status"],
        input_tokens=event["input_tokens"],
        output_tokens=event["output_tokens"],
        latency_ms=event["latency_ms"],
        cost=Decimal(event["cost_usd"] or 0),
    )
