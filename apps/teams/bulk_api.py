"""``POST /orgs/{id}/members/bulk``: several members changed at once."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import ApiView, StrictSerializer
from apps.core.errors import FieldError, NotAuthenticated, ValidationFailed
from apps.teams import services
from apps.teams.bulk import MOST_AT_ONCE

__all__ = ["MembersBulk"]

# What is done → what it needs besides the people, and what it may have.
_PARTS: dict[str, tuple[str, frozenset[str]]] = {
    "change_role": ("role", frozenset({"role"})),
    "add_to_team": ("team_id", frozenset({"team_id"})),
    "remove": ("", frozenset({"keys_to"})),
}


class BulkSerializer(StrictSerializer):
    action = serializers.ChoiceField([(name, name) for name in _PARTS])
    user_ids = serializers.ListField(child=serializers.UUIDField(), min_length=1, max_length=MOST_AT_ONCE)
    role = serializers.CharField(max_length=60, required=False, help_text="Of `change_role`: the role they get.")
    team_id = serializers.UUIDField(required=False, help_text="Of `add_to_team`: the team they come into.")
    keys_to = serializers.UUIDField(
        required=False, help_text="Of `remove`: the member who takes their keys over; without one they are revoked."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        needed, may = _PARTS[attrs["action"]]
        errors: list[FieldError] = [
            {"pointer": f"/{name}", "detail": f"not a part of {attrs['action']}"}
            for name in ("role", "team_id", "keys_to")
            if name in attrs and name not in may
        ]
        if needed and needed not in attrs:
            errors.append({"pointer": f"/{needed}", "detail": f"{attrs['action']} needs it"})
        if errors:
            raise ValidationFailed("This cannot be done", errors=errors)
        return attrs


class BulkRowSerializer(serializers.Serializer):  # type: ignore[type-arg]
    user_id = serializers.UUIDField()
    outcome = serializers.ChoiceField(
        [("changed", "changed"), ("unchanged", "unchanged")], help_text="`unchanged`: it was so already."
    )


class BulkResultSerializer(serializers.Serializer):  # type: ignore[type-arg]
    data = BulkRowSerializer(many=True)  # type: ignore[assignment]


class MembersBulk(ApiView):
    capabilities = {"POST": "member.manage"}

    @extend_schema(tags=["Members"], request=BulkSerializer, responses={200: BulkResultSerializer})
    def post(self, request: Request, org_id: UUID) -> Response:
        """Change up to 100 members at once: their role (`change_role`), a team (`add_to_team`, which needs
        `team.manage` too), or the end of their membership (`remove`). All or none: where one cannot be changed the
        answer is 409 `bulk_refused`, whose `errors` point at each of them. Sent again it changes nothing more."""
        wanted = self.valid(BulkSerializer)
        action, user_ids = wanted.pop("action"), wanted.pop("user_ids")
        if self.actor.id is None:
            raise NotAuthenticated()
        common: dict[str, Any] = {"org_id": org_id, "user_ids": user_ids, "by_user_id": self.actor.id}
        if action == "change_role":
            changed = services.change_member_roles(**common, **wanted)
        elif action == "add_to_team":
            self.require("team.manage")
            changed = services.add_members_to_team(**common, **wanted)
        else:
            changed = services.remove_members(**common, **wanted)
        rows = [{"user_id": one, "outcome": "changed" if one in changed else "unchanged"} for one in user_ids]
        return Response(BulkResultSerializer({"data": rows}).data)
