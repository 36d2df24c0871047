"""The reading door of the usage engine."""

from apps.usage.selectors.aggregate import (
    DIMENSIONS,
    GRANULARITIES,
    Metrics,
    UsageAnswer,
    UsageRow,
    tag_keys,
    usage_aggregate,
)
from apps.usage.selectors.people import active_people, unclaimed_people
from apps.usage.selectors.raw import EVENT_FIELDS, EventRow, event_search
from apps.usage.selectors.sessions import SESSION_FILTERS, SessionRow, session_get, session_list
from apps.usage.store import as_of

__all__ = [
    "DIMENSIONS",
    "EVENT_FIELDS",
    "GRANULARITIES",
    "SESSION_FILTERS",
    "EventRow",
    "Metrics",
    "SessionRow",
    "UsageAnswer",
    "UsageRow",
    "active_people",
    "as_of",
    "event_search",
    "session_get",
    "session_list",
    "tag_keys",
    "unclaimed_people",
    "usage_aggregate",
]
