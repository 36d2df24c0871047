"""Refusals of the usage engine."""

from apps.core.errors import RateLimited

__all__ = ["InboxFull"]


class InboxFull(RateLimited):
    """429: what was accepted before is not counted yet; nothing of this request was taken."""

    code, title = "inbox_full", "The inbox is full"
