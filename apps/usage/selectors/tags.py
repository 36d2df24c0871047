"""The metadata keys that are counted as tags."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count

from apps.core.tenancy import org_scope
from apps.usage.models import TagKey, TagValue

__all__ = ["TagKeyInfo", "tag_key_list"]


@dataclass(frozen=True, slots=True)
class TagKeyInfo:
    """A tag key with the number of values seen under it."""

    key: str
    values: int
    created_at: datetime


def tag_key_list(org_id: UUID) -> list[TagKeyInfo]:
    """The tag keys of an organisation, by name."""
    with org_scope(org_id):
        keys = list(TagKey.objects.order_by("key"))
        counts = TagValue.objects.filter(key__in=[key.key for key in keys]).order_by().values_list("key")
        values = dict(counts.annotate(Count("id")))
    return [TagKeyInfo(key.key, values.get(key.key, 0), key.created_at) for key in keys]
