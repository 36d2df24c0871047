"""`/projects/{id}/settings`, `/orgs/{id}/key-policy`, and where keys that leaked are reported."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import ApiView, StrictSerializer
from apps.core.etags import etag
from apps.core.ratelimit import Limit
from apps.core.tenancy import require_org_id
from apps.projects import selectors, services
from apps.projects.access import OfProject
from apps.projects.api import IF_MATCH
from apps.projects.contracts import LEAKED, METADATA, OUTSIDE
from apps.projects.settings_writes import LONGEST_LIFE_DAYS

__all__ = ["KeyPolicyDetail", "LeakedKeys", "SettingsDetail"]

_MOST_REPORTED = 100


def _texts(help_text: str, **kwargs: Any) -> serializers.ListField:
    return serializers.ListField(child=serializers.CharField(max_length=200), help_text=help_text, **kwargs)


class SettingsChangesSerializer(StrictSerializer):
    """Each given whole; what is left out stays."""

    allowed_models = _texts("Patterns of model names, `*` for any characters. Empty: every model.", required=False)
    allowed_sources = _texts(
        "What `source` may be; `sdk` stands for events that name none. Empty: every source.", required=False
    )
    outside = serializers.ChoiceField(
        OUTSIDE,
        required=False,
        help_text="An event outside these: `report` counts it and tells of it, `refuse` rejects.",
    )
    raw_retention_days = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=400,
        help_text="For events that come from now on. None: as long as the organisation says; never longer.",
    )  # fmt: skip
    metadata = serializers.ChoiceField(
        METADATA, required=False, help_text="`keep` it, keep what is a tag key (`tags`), or `drop` it."
    )
    metadata_drop = _texts("Keys of metadata that are dropped.", required=False)
    metadata_hash = _texts("Keys of metadata whose values are kept as a hash of this project.", required=False)
    email_attribution = serializers.BooleanField(
        required=False, help_text="Whether telemetry's e-mail addresses find the person; else it is the key's owner."
    )
    default_tags = serializers.DictField(
        child=serializers.CharField(max_length=200), required=False, help_text="Values for events that lack these tags."
    )
    environments = _texts("What keys may be of.", required=False)


class SettingsSerializer(serializers.Serializer):  # type: ignore[type-arg]
    project_id = serializers.UUIDField()
    allowed_models = _texts("Patterns of model names, `*` for any characters. Empty: every model.")
    allowed_sources = _texts("Empty: every source.")
    outside = serializers.ChoiceField(OUTSIDE)
    raw_retention_days = serializers.IntegerField(allow_null=True)
    metadata = serializers.ChoiceField(METADATA)
    metadata_drop = _texts("Keys of metadata that are dropped.")
    metadata_hash = _texts("Keys of metadata whose values are hashed.")
    email_attribution = serializers.BooleanField()
    default_tags = serializers.DictField(child=serializers.CharField())
    environments = _texts("What keys may be of.")
    updated_at = serializers.DateTimeField(allow_null=True)


class KeyPolicyChangesSerializer(StrictSerializer):
    max_life_days = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=LONGEST_LIFE_DAYS,
        help_text="The longest that a new key may live. None: for ever.",
    )  # fmt: skip
    leaked_keys = serializers.ChoiceField(
        LEAKED, required=False, help_text="What becomes of a key that is reported leaked. It is told of in either case."
    )


class KeyPolicySerializer(serializers.Serializer):  # type: ignore[type-arg]
    max_life_days = serializers.IntegerField(allow_null=True)
    leaked_keys = serializers.ChoiceField(LEAKED)


class LeakedKeySerializer(serializers.Serializer):  # type: ignore[type-arg]
    """One finding, in the form in which GitHub's secret scanning sends it; fields beyond these are left unread."""

    token = serializers.CharField(max_length=200, help_text="The whole key.")
    type = serializers.CharField(max_length=100, required=False, allow_blank=True, default="")
    url = serializers.CharField(
        max_length=2000, required=False, allow_blank=True, allow_null=True, default="", help_text="Where it was found."
    )


class SettingsDetail(OfProject):
    capabilities = {"GET": "project.read", "PATCH": "project.manage"}
    scopes = {"GET": "read"}

    @extend_schema(tags=["Projects"], responses={200: SettingsSerializer})
    def get(self, request: Request, project_id: UUID) -> Response:
        """What a project asks of its events, and its environments; the ETag names this version."""
        found = selectors.project_settings_get(org_id=require_org_id(), project_id=project_id)
        return Response(SettingsSerializer(found).data, headers={"ETag": etag(found.version)})

    @extend_schema(
        tags=["Projects"], request=SettingsChangesSerializer, responses={200: SettingsSerializer}, parameters=[IF_MATCH]
    )
    def patch(self, request: Request, project_id: UUID) -> Response:
        """Change settings; every process obeys within a second. What was counted stays as it was."""
        changed = services.update_project_settings(
            org_id=require_org_id(),
            project_id=project_id,
            changes=self.valid(SettingsChangesSerializer),
            if_match=request.headers.get("If-Match"),
        )
        return Response(SettingsSerializer(changed).data, headers={"ETag": etag(changed.version)})


class KeyPolicyDetail(ApiView):
    capabilities = {"GET": "key.read", "PATCH": "settings.manage"}

    @extend_schema(tags=["Keys"], responses={200: KeyPolicySerializer})
    def get(self, request: Request, org_id: UUID) -> Response:
        """What the organisation asks of all its keys; the ETag names this version."""
        found = selectors.key_policy_get(org_id)
        return Response(KeyPolicySerializer(found).data, headers={"ETag": etag(found.version)})

    @extend_schema(
        tags=["Keys"], request=KeyPolicyChangesSerializer, responses={200: KeyPolicySerializer}, parameters=[IF_MATCH]
    )
    def patch(self, request: Request, org_id: UUID) -> Response:
        """Change what is asked of keys; those that exist stay as they are."""
        changed = services.update_key_policy(
            org_id=org_id, changes=self.valid(KeyPolicyChangesSerializer), if_match=request.headers.get("If-Match")
        )
        return Response(KeyPolicySerializer(changed).data, headers={"ETag": etag(changed.version)})


class LeakedKeys(ApiView):
    public = frozenset({"POST"})
    org_required = False
    limit = Limit("leaked-keys", 30, 60)
    # A scanner's finding may come twice; the second changes nothing.
    idempotent = False

    @extend_schema(
        tags=["Keys"],
        request=LeakedKeySerializer(many=True),
        responses={
            202: OpenApiResponse(description="Taken; what became of each is told to its owner and admins alone")
        },
    )
    def post(self, request: Request) -> Response:
        """Report keys that were found where they should not be: whoever holds a key may.

        The answer is the same whether there are such keys or not.
        """
        found = self.valid(LeakedKeySerializer, many=True, max_length=_MOST_REPORTED)
        services.report_leaked_keys(found=[(item["token"], item["url"] or "") for item in found])  # type: ignore[index]
        return Response({"received": len(found)}, status=202)
