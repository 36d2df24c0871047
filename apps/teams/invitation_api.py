"""`/orgs/{id}/invitations` and `/invitations/{token}`."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts import selectors as accounts
from apps.core import errors
from apps.core.api import ApiView, StrictSerializer
from apps.core.api.fields import page_of
from apps.core.pagination import paginate
from apps.core.ratelimit import Limit
from apps.identity import selectors as identity
from apps.teams import services
from apps.teams.contracts import InvitationInfo
from apps.teams.invitation_csv import MAX_BYTES, look_through
from apps.teams.invitation_selectors import invitation_info, invitation_list, row_of_token, seats
from apps.teams.invitations import MAX_MESSAGE, MAX_TEAMS
from apps.teams.models import Invitation

__all__ = [
    "InvitationAccept",
    "InvitationDetail",
    "InvitationFile",
    "InvitationList",
    "InvitationOfToken",
    "InvitationResend",
]

_STATES = Invitation.State.choices


class NewInvitationSerializer(StrictSerializer):
    email = serializers.EmailField(max_length=254)
    role = serializers.CharField(max_length=60)
    team_ids = serializers.ListField(child=serializers.UUIDField(), required=False, default=list, max_length=MAX_TEAMS)
    message = serializers.CharField(max_length=MAX_MESSAGE, required=False, allow_blank=True, default="")


class InvitationFileSerializer(StrictSerializer):
    csv = serializers.CharField(
        max_length=MAX_BYTES, trim_whitespace=False, help_text="Lines of `email,role,team`; a first line may name them."
    )
    role = serializers.CharField(max_length=60, required=False, default="developer", help_text="Where a line has none.")
    message = serializers.CharField(max_length=MAX_MESSAGE, required=False, allow_blank=True, default="")
    dry_run = serializers.BooleanField(required=False, default=False, help_text="Look at the lines and send nothing.")


class InvitationSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    email = serializers.EmailField()
    role = serializers.CharField()
    team_ids = serializers.ListField(child=serializers.UUIDField())
    message = serializers.CharField()
    invited_by_id = serializers.UUIDField(allow_null=True)
    state = serializers.ChoiceField(_STATES)
    sendings = serializers.IntegerField()
    sent_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    created_at = serializers.DateTimeField()


class SeatsSerializer(serializers.Serializer):  # type: ignore[type-arg]
    limit = serializers.IntegerField(allow_null=True)
    members = serializers.IntegerField()
    invitations = serializers.IntegerField()
    free = serializers.IntegerField(allow_null=True)


class InvitationPageSerializer(page_of(InvitationSerializer, "InvitationPage")):  # type: ignore[misc]
    seats = SeatsSerializer(help_text="What the plan allows (null: any number), and what takes it.")


class InvitationLineSerializer(serializers.Serializer):  # type: ignore[type-arg]
    line = serializers.IntegerField()
    email = serializers.CharField()
    detail = serializers.CharField()


class InvitationReportSerializer(serializers.Serializer):  # type: ignore[type-arg]
    invited = InvitationSerializer(many=True, help_text="Empty in a dry run.")
    acceptable = serializers.IntegerField(help_text="Lines without a problem.")
    problems = InvitationLineSerializer(many=True)


class InvitationOfTokenSerializer(serializers.Serializer):  # type: ignore[type-arg]
    organization = serializers.CharField()
    email = serializers.EmailField()
    role = serializers.CharField()
    invited_by = serializers.CharField(allow_blank=True)
    state = serializers.ChoiceField(_STATES)
    expires_at = serializers.DateTimeField()


class AcceptedSerializer(serializers.Serializer):  # type: ignore[type-arg]
    org_id = serializers.UUIDField()
    slug = serializers.CharField()


def _body(info: InvitationInfo) -> dict[str, Any]:
    return dict(InvitationSerializer(info).data)


class InvitationList(ApiView):
    capabilities = {"GET": "member.manage", "POST": "member.manage"}

    @extend_schema(tags=["Invitations"], responses={200: InvitationPageSerializer})
    def get(self, request: Request, org_id: UUID) -> Response:
        """The invitations of an organisation, ended ones too, and its seats."""
        page = paginate(invitation_list(org_id), request.query_params, order=("created_at", "id"))
        body = page.body(lambda row: _body(invitation_info(row)))
        return Response({**body, "seats": SeatsSerializer(seats(org_id)).data})

    @extend_schema(tags=["Invitations"], request=NewInvitationSerializer, responses={201: InvitationSerializer})
    def post(self, request: Request, org_id: UUID) -> Response:
        """Ask somebody by mail to join. The link is in the mail alone."""
        data = self.valid(NewInvitationSerializer)
        info = services.invite_member(org_id=org_id, by_user_id=self.actor.id, **data)
        return Response(_body(info), status=201)


class InvitationFile(ApiView):
    capabilities = {"POST": "member.manage"}

    @extend_schema(tags=["Invitations"], request=InvitationFileSerializer, responses={200: InvitationReportSerializer})
    def post(self, request: Request, org_id: UUID) -> Response:
        """Ask everybody of a CSV file. Lines with a problem are named and left out; the others go, or with too few
        seats none does."""
        data = self.valid(InvitationFileSerializer)
        lines = look_through(
            data["csv"], org_id=org_id, by_user_id=self.actor.id, role=data["role"], message=data["message"]
        )
        wanted = [line.wanted for line in lines if line.wanted]
        invited: list[InvitationInfo] = []
        if wanted and not data["dry_run"]:
            invited = services.invite_members(org_id=org_id, invitations=wanted, by_user_id=self.actor.id)
        problems = [
            {"line": line.number, "email": line.email, "detail": line.problem} for line in lines if line.problem
        ]
        body = {"invited": invited, "acceptable": len(wanted), "problems": problems}
        return Response(InvitationReportSerializer(body).data)


class InvitationDetail(ApiView):
    capabilities = {"DELETE": "member.manage"}

    @extend_schema(tags=["Invitations"], responses={204: OpenApiResponse(description="Taken back")})
    def delete(self, request: Request, org_id: UUID, invitation_id: UUID) -> Response:
        """Take an invitation back: its link is dead at once."""
        services.revoke_invitation(org_id=org_id, invitation_id=invitation_id)
        return Response(status=204)


class InvitationResend(ApiView):
    capabilities = {"POST": "member.manage"}

    @extend_schema(tags=["Invitations"], request=None, responses={200: InvitationSerializer})
    def post(self, request: Request, org_id: UUID, invitation_id: UUID) -> Response:
        """Send an invitation again, with a new link; the one before is dead at once."""
        info = services.resend_invitation(org_id=org_id, invitation_id=invitation_id, by_user_id=self.actor.id)
        return Response(_body(info))


class InvitationOfToken(ApiView):
    capabilities = {}
    public = frozenset({"GET"})
    org_required = False
    limit = Limit("invitation", 60, 60)

    @extend_schema(tags=["Invitations"], responses={200: InvitationOfTokenSerializer})
    def get(self, request: Request, token: str) -> Response:
        """What an invitation is about, for whoever has the link of its mail. Whether the address has an account is not
        told."""
        row = row_of_token(token)
        org = accounts.org_find(UUID(str(row.org_id))) if row else None
        if row is None or org is None:
            raise errors.NotFound()
        inviter = identity.user_find(row.invited_by_id) if row.invited_by_id else None
        info = invitation_info(row)
        body = {
            "organization": org.name, "email": info.email, "role": info.role, "state": info.state,
            "invited_by": inviter.label if inviter else "", "expires_at": info.expires_at,
        }  # fmt: skip
        return Response(InvitationOfTokenSerializer(body).data, headers={"Referrer-Policy": "no-referrer"})


class InvitationAccept(ApiView):
    capabilities = {"POST": None}
    org_required = False
    limit = Limit("invitation", 60, 60)

    @extend_schema(tags=["Invitations"], request=None, responses={200: AcceptedSerializer})
    def post(self, request: Request, token: str) -> Response:
        """Join the organisation, signed in with the address that the invitation went to."""
        if self.actor.id is None:
            raise errors.NotAuthenticated()
        org_id = services.accept_invitation(token=token, user_id=self.actor.id)
        org = accounts.org_get(org_id)
        body = {"org_id": org.id, "slug": org.slug}
        return Response(AcceptedSerializer(body).data, headers={"Referrer-Policy": "no-referrer"})
