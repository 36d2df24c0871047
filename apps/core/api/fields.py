"""Serializer fields that endpoints share."""

from typing import Any

from rest_framework import serializers

__all__ = ["NAME_LENGTH", "PageSerializer", "name_field", "page_of"]

NAME_LENGTH = 120


def name_field(**kwargs: Any) -> serializers.CharField:
    """A name that people give: 1 to 120 characters, trimmed."""
    return serializers.CharField(min_length=1, max_length=NAME_LENGTH, **kwargs)


class PageSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """Base of documented pages; see :func:`page_of`."""

    next_cursor = serializers.CharField(allow_null=True, help_text="Send it as `cursor` for the next page.")


def page_of(item: type[serializers.Serializer], name: str) -> type[PageSerializer]:  # type: ignore[type-arg]
    """The serializer of a page of ``item``, for the OpenAPI document."""
    return type(name, (PageSerializer,), {"data": item(many=True)})
