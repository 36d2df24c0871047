"""Serializers that take nothing they do not know."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

__all__ = ["StrictSerializer"]


class StrictSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """Refuses unknown fields, each with its own pointer, and NUL characters, which PostgreSQL cannot hold."""

    refuses_unknown = True  # the OpenAPI document says so too

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            writable = {name for name, field in self.fields.items() if not field.read_only}
            unknown = {str(name): ["this field is not known here"] for name in data if name not in writable}
            if unknown:
                raise serializers.ValidationError(unknown)
        return super().to_internal_value(data)
