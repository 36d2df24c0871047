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
from apps.usage.selectors.people import unclaimed_people
from apps.usage.store import as_of

__all__ = [
    "DIMENSIONS",
    "GRANULARITIES",
    "Metrics",
    "UsageAnswer",
    "UsageRow",
    "as_of",
    "tag_keys",
    "unclaimed_people",
    "usage_aggregate",
]
