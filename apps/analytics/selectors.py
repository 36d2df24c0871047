"""Reads of analytics: what pages and the API ask usage for."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from apps.accounts.selectors import org_get
from apps.usage import selectors as usage
from apps.usage.selectors import UsageAnswer

__all__ = ["usage_query"]


def usage_query(
    *,
    org_id: UUID,
    start: datetime,
    end: datetime,
    timezone: str | None = None,
    granularity: str = "none",
    group_by: Sequence[str] = (),
    filters: Mapping[str, Sequence[str]] | None = None,
) -> UsageAnswer:
    """Usage of ``[start, end)`` in ``timezone`` (by default the organisation's); see ``usage.selectors``."""
    own = org_get(org_id).timezone
    return usage.usage_aggregate(
        org_id=org_id,
        start=start,
        end=end,
        timezone=timezone or own,
        org_timezone=own,
        granularity=granularity,
        group_by=group_by,
        filters=filters,
    )
