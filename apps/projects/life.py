"""How long keys may live: the organisation's policy."""

from datetime import datetime, timedelta
from uuid import UUID

from apps.core.clock import now
from apps.projects.checks import invalid
from apps.projects.rules import key_policy_get

__all__ = ["end_within_policy"]


def end_within_policy(org_id: UUID, expires_at: datetime | None, *, cut: bool = False) -> datetime | None:
    """When a new key ends: as asked, or at the longest that the policy allows where nothing was asked.

    One that is asked to live longer is refused, or with ``cut`` shortened.
    """
    days = key_policy_get(org_id).max_life_days
    if days is None:
        return expires_at
    longest = now() + timedelta(days=days)
    if expires_at is None or (cut and expires_at > longest):
        return longest
    # A minute for the clock of whoever counted the days.
    if expires_at > longest + timedelta(minutes=1):
        raise invalid("key", "/expires_at", f"The organisation's keys live {days} days at most")
    return expires_at
