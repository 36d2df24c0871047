"""The newest event of a project, for the page that waits for its first."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import connection

from apps.usage.store import org_number

__all__ = ["FirstEvent", "first_event", "has_usage"]

_NEWEST = """
SELECT e.ts, w.event_type, w.model, w.mcp_server, w.mcp_tool, w.source, w.status,
       e.input_tokens, e.output_tokens, e.latency_ms, e.cost_nano
FROM usage_event e JOIN usage_what w ON w.id = e.what
WHERE e.org = %s AND e.who IN (SELECT id FROM usage_who WHERE org = %s AND project_id = %s)
ORDER BY e.ts DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class FirstEvent:
    """An event as the page shows it; ``latency_ms`` None where it said nothing of it."""

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
    with connection.cursor() as cursor:
        cursor.execute(_NEWEST, [number, number, project_id])
        row = cursor.fetchone()
    if row is None:
        return None
    at, event_type, model, server, tool, source, status, tokens_in, tokens_out, latency, nano = row
    named = model or " ".join(filter(None, (server, tool)))
    return FirstEvent(
        at=at,
        what=f"{event_type}, {named}" if named else event_type,
        source=source,
        status=status,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        latency_ms=latency if latency >= 0 else None,
        cost=Decimal(nano).scaleb(-9),
    )
