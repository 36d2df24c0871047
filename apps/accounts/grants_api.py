"""Serializers of rights on single things, which teams and projects share."""

from rest_framework import serializers

from apps.core.api import StrictSerializer

__all__ = ["GrantListSerializer", "GrantSerializer", "NewGrantSerializer"]


class NewGrantSerializer(StrictSerializer):
    capabilities = serializers.ListField(
        child=serializers.CharField(max_length=40), max_length=20,
        help_text="What they may do with this one beside what their role gives; reading comes with each.",
    )  # fmt: skip


class GrantSerializer(serializers.Serializer):  # type: ignore[type-arg]
    type = serializers.ChoiceField(("user", "team"), source="kind")
    id = serializers.UUIDField(help_text="A member's or a team's.")
    name = serializers.CharField()
    email = serializers.CharField(source="note", help_text="A member's address where they have a name too.")
    capabilities = serializers.ListField(child=serializers.CharField())
    since = serializers.DateTimeField()


class GrantListSerializer(serializers.Serializer):  # type: ignore[type-arg]
    data = GrantSerializer(many=True)  # type: ignore[assignment]
