"""`/orgs/{id}/access`: who can get in and do what, as JSON and CSV, and the reviews of it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts import access, services
from apps.accounts.access import AccessFilter
from apps.core.access import AccessEntry
from apps.core.api import ApiView, StrictSerializer
from apps.core.api.fields import page_of
from apps.core.errors import ValidationFailed
from apps.core.pagination import decode_cursor, encode_cursor, read_limit
from apps.core.web.csv import stream_csv

__all__ = ["CSV_HEADER", "AccessCsv", "AccessList", "AccessReviews", "csv_rows", "read_filter"]

_PARAMETERS = [
    OpenApiParameter("kind", str, description="`members` (where left out), `keys`, `service_accounts` and others."),
    OpenApiParameter("unused_days", int, description="Only what was not used for so many days."),
    OpenApiParameter("admins", bool, description="`true`: only what can change who may do what."),
    OpenApiParameter("no_second_factor", bool, description="`true`: only who has no second factor."),
]
CSV_HEADER = (
    "kind", "id", "name", "note", "role", "may", "may_words", "on", "on_words", "teams", "administers",
    "second_factor", "since", "last_used_at", "expires_at",
)  # fmt: skip


class AccessEntrySerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    name = serializers.CharField()
    note = serializers.CharField(help_text="A member's address, a key's owner and project.")
    role = serializers.CharField()
    may = serializers.ListField(child=serializers.CharField(), help_text="Capabilities, or a key's scopes.")
    may_words = serializers.ListField(
        source="words", child=serializers.CharField(), help_text="Each of `may`, as a person says it."
    )
    on = serializers.ListField(
        source="on_lines", child=serializers.CharField(), help_text="What is given on single things."
    )
    on_words = serializers.ListField(child=serializers.CharField(), help_text="Each of `on`, as a person says it.")
    teams = serializers.ListField(child=serializers.CharField())
    administers = serializers.BooleanField(help_text="Whether it can change who may do what.")
    second_factor = serializers.BooleanField(allow_null=True)
    since = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)


class NewReviewSerializer(StrictSerializer):
    note = serializers.CharField(max_length=500, required=False, allow_blank=True, default="")
    next_due = serializers.DateField(required=False, allow_null=True, default=None)


class ReviewSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    reviewed_at = serializers.DateTimeField()
    reviewer_id = serializers.UUIDField(allow_null=True)
    reviewer = serializers.CharField()
    note = serializers.CharField()
    counts = serializers.DictField(child=serializers.IntegerField())
    next_due = serializers.DateField()


class ReviewListSerializer(serializers.Serializer):  # type: ignore[type-arg]
    data = ReviewSerializer(many=True)  # type: ignore[assignment]


class AccessList(ApiView):
    capabilities = {"GET": "access.review"}

    @extend_schema(
        tags=["Access"], responses={200: page_of(AccessEntrySerializer, "AccessPage")}, parameters=_PARAMETERS
    )
    def get(self, request: Request, org_id: UUID) -> Response:
        """Who can get in and do what: one kind at a time."""
        query = request.query_params
        kind, limit = query.get("kind", "members"), read_limit(query)
        # A cursor of one kind is none of another.
        order = ("access", kind)
        after = decode_cursor(query["cursor"], order=order)[0] if query.get("cursor") else None
        rows, last = access.access_page(
            org_id=org_id, kind=kind, asked=read_filter(query), limit=limit, after=UUID(after) if after else None
        )
        cursor = encode_cursor((last, kind), order=order) if last else None
        return Response({"data": AccessEntrySerializer(rows, many=True).data, "next_cursor": cursor})


class AccessCsv(ApiView):
    capabilities = {"GET": "access.review"}

    @extend_schema(
        tags=["Access"], responses={(200, "text/csv"): OpenApiResponse(OpenApiTypes.STR)}, parameters=_PARAMETERS
    )
    def get(self, request: Request, org_id: UUID) -> Any:
        """The same as CSV, every kind where none is named; text that a spreadsheet would run is made harmless."""
        query = request.query_params
        kinds = [query["kind"]] if query.get("kind") else [source.key for source in access.sources()]
        for kind in kinds:
            access.source_of(kind)
        return stream_csv("access", CSV_HEADER, csv_rows(org_id, kinds, read_filter(query)))


class AccessReviews(ApiView):
    capabilities = {"GET": "access.review", "POST": "access.review"}

    @extend_schema(tags=["Access"], responses={200: ReviewListSerializer})
    def get(self, request: Request, org_id: UUID) -> Response:
        """The latest reviews, newest first; at most 20."""
        return Response({"data": ReviewSerializer(access.last_reviews(org_id), many=True).data})

    @extend_schema(tags=["Access"], request=NewReviewSerializer, responses={201: ReviewSerializer})
    def post(self, request: Request, org_id: UUID) -> Response:
        """Keep that the caller has looked through who can do what."""
        review = services.confirm_access_review(
            org_id=org_id, by_user_id=self.actor.id, **self.valid(NewReviewSerializer)
        )
        return Response(ReviewSerializer(review).data, status=201)


def read_filter(query: Mapping[str, str]) -> AccessFilter:
    """The filter of a query string; :class:`ValidationFailed` for a number of days that is none."""
    raw = query.get("unused_days") or "0"
    if not (raw.isascii() and raw.isdecimal() and len(raw) <= 4):
        raise ValidationFailed(
            "unused_days is not valid", errors=[{"pointer": "unused_days", "detail": "a whole number of days"}]
        )
    return AccessFilter(
        unused_days=int(raw),
        administers=query.get("admins") == "true",
        no_second_factor=query.get("no_second_factor") == "true",
    )


def csv_rows(org_id: UUID, kinds: Sequence[str], asked: AccessFilter) -> Iterator[Sequence[Any]]:
    """The lines of the CSV, read as they are sent."""
    for kind in kinds:
        for entry in access.access_rows(org_id=org_id, kind=kind, asked=asked):
            yield _line(kind, entry)


def _line(kind: str, entry: AccessEntry) -> Sequence[Any]:
    return (
        kind, entry.id, entry.name, entry.note, entry.role, " ".join(entry.may), "; ".join(entry.words),
        "; ".join(entry.on_lines), "; ".join(entry.on_words), "; ".join(entry.teams), _word(entry.administers),
        _word(entry.second_factor), _time(entry.since), _time(entry.last_used_at), _time(entry.expires_at),
    )  # fmt: skip


def _word(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "no"


def _time(value: Any) -> str:
    return value.isoformat() if value else ""
