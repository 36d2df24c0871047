"""News for open pages: that there is something to read, never what."""

from uuid import UUID

from apps.core.groups import group_send

__all__ = ["news_group", "send_news"]


def news_group(org_id: UUID) -> str:
    """The channel group of everybody who has a page of the organisation open; it hears ``notify.news``."""
    return f"notify.org.{org_id.hex}"


def send_news(org_id: UUID) -> None:
    """Have the open pages of an organisation look again."""
    group_send(news_group(org_id), {"type": "notify.news"})
