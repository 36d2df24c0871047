"""Streams of the audit log over the API."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.audit import selectors, services
from apps.audit.models import AuditStream
from apps.audit.streams import lag_of
from apps.core.api import ApiView, StrictSerializer
from apps.core.api.fields import name_field, page_of
from apps.core.errors import NotFound
from apps.core.pagination import paginate

__all__ = ["StreamDetail", "StreamList", "StreamSecret", "StreamTest"]


class StreamCreateSerializer(StrictSerializer):
    name = name_field()
    url = serializers.CharField(max_length=500)
    format = serializers.ChoiceField(choices=AuditStream.Format.choices, default="json")
    ca_pem = serializers.CharField(max_length=20_000, required=False, help_text="The authority of a private receiver.")
    from_start = serializers.BooleanField(default=False, help_text="From the oldest entry, not from now on.")


class StreamUpdateSerializer(StrictSerializer):
    name = name_field(required=False)
    url = serializers.CharField(max_length=500, required=False)
    format = serializers.ChoiceField(choices=AuditStream.Format.choices, required=False)
    state = serializers.ChoiceField(choices=["active", "paused"], required=False)


class StreamSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    name = serializers.CharField()
    url = serializers.CharField()
    format = serializers.ChoiceField(choices=AuditStream.Format.choices)
    state = serializers.ChoiceField(choices=AuditStream.State.choices)
    position = serializers.IntegerField(help_text="The last position of the chain that was confirmed.")
    lag = serializers.SerializerMethodField(help_text="Sealed entries that were not confirmed yet.")
    sent_at = serializers.DateTimeField(allow_null=True)
    failing_since = serializers.DateTimeField(allow_null=True)
    retry_at = serializers.DateTimeField(allow_null=True)
    last_error = serializers.CharField()
    created_at = serializers.DateTimeField()

    def get_lag(self, stream: AuditStream) -> int:
        head = self.context.get("head")
        return lag_of(stream) if head is None else max(0, head - stream.position)


class StreamMadeSerializer(StreamSerializer):
    secret = serializers.CharField(help_text="Signs a webhook's calls; shown this once.")


class SecretSerializer(serializers.Serializer):  # type: ignore[type-arg]
    secret = serializers.CharField()


class TestedSerializer(serializers.Serializer):  # type: ignore[type-arg]
    is_taken = serializers.BooleanField()
    error = serializers.CharField()


class _StreamView(ApiView):
    def stream(self, stream_id: UUID) -> AuditStream:
        found = selectors.stream_get(stream_id)
        if found is None:
            raise NotFound
        return found

    @property
    def org(self) -> UUID:
        assert self.org_id is not None
        return self.org_id


class StreamList(_StreamView):
    capabilities = {"GET": "audit.manage", "POST": "audit.manage"}

    @extend_schema(tags=["Audit"], responses={200: page_of(StreamSerializer, "AuditStreamPage")})
    def get(self, request: Request) -> Response:
        """Where the log is sent."""
        page = paginate(selectors.stream_list().defer("secret", "former_secret"), request.query_params)
        chain = selectors.chain_status(self.org)
        context = {"head": chain.position if chain else 0}
        return Response(page.body(lambda stream: StreamSerializer(stream, context=context).data))

    @extend_schema(tags=["Audit"], request=StreamCreateSerializer, responses={201: StreamMadeSerializer})
    def post(self, request: Request) -> Response:
        """Have sealed entries sent to a webhook or a syslog receiver. The secret is shown once."""
        stream, secret = services.create_stream(org_id=self.org, **self.valid(StreamCreateSerializer))
        return Response({**StreamSerializer(stream).data, "secret": secret}, status=201)


class StreamDetail(_StreamView):
    capabilities = {"GET": "audit.manage", "PATCH": "audit.manage", "DELETE": "audit.manage"}

    @extend_schema(tags=["Audit"], responses={200: StreamSerializer})
    def get(self, request: Request, stream_id: UUID) -> Response:
        """One stream: its state, what waits, and the last error."""
        return Response(StreamSerializer(self.stream(stream_id)).data)

    @extend_schema(tags=["Audit"], request=StreamUpdateSerializer, responses={200: StreamSerializer})
    def patch(self, request: Request, stream_id: UUID) -> Response:
        """Change it; `active` resumes a paused or a dead one at once."""
        self.stream(stream_id)
        changes: dict[str, Any] = self.valid(StreamUpdateSerializer)
        stream = services.update_stream(org_id=self.org, stream_id=stream_id, changes=changes)
        return Response(StreamSerializer(stream).data)

    @extend_schema(tags=["Audit"], responses={204: None})
    def delete(self, request: Request, stream_id: UUID) -> Response:
        """Send nothing there any more."""
        services.delete_stream(org_id=self.org, stream_id=stream_id)
        return Response(status=204)


class StreamTest(_StreamView):
    capabilities = {"POST": "audit.manage"}

    @extend_schema(tags=["Audit"], request=None, responses={200: TestedSerializer})
    def post(self, request: Request, stream_id: UUID) -> Response:
        """Send a message that says it is a test, now."""
        error = services.test_stream(org_id=self.org, stream_id=stream_id)
        return Response({"is_taken": not error, "error": error})


class StreamSecret(_StreamView):
    capabilities = {"POST": "audit.manage"}

    @extend_schema(tags=["Audit"], request=None, responses={200: SecretSerializer})
    def post(self, request: Request, stream_id: UUID) -> Response:
        """A new secret, shown once; the former one signs along for 24 hours."""
        return Response({"secret": services.rotate_stream_secret(org_id=self.org, stream_id=stream_id)})
