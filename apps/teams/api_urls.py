from django.urls import path

from apps.teams import api, bulk_api, grants_api, invitation_api

urlpatterns = [
    path("orgs/<uuid:org_id>/teams", api.TeamList.as_view(), name="team-list"),
    path("orgs/<uuid:org_id>/members/bulk", bulk_api.MembersBulk.as_view(), name="members-bulk"),
    path("teams/<uuid:team_id>", api.TeamDetail.as_view(), name="team-detail"),
    path("teams/<uuid:team_id>/members/<uuid:user_id>", api.TeamMember.as_view(), name="team-member"),
    path("teams/<uuid:team_id>/grants", grants_api.TeamGrants.as_view(), name="team-grants"),
    path("teams/<uuid:team_id>/grants/<uuid:user_id>", grants_api.TeamGrant.as_view(), name="team-grant"),
    path("orgs/<uuid:org_id>/invitations", invitation_api.InvitationList.as_view(), name="invitation-list"),
    path("orgs/<uuid:org_id>/invitations/import", invitation_api.InvitationFile.as_view(), name="invitation-file"),
    path(
        "orgs/<uuid:org_id>/invitations/<uuid:invitation_id>",
        invitation_api.InvitationDetail.as_view(),
        name="invitation-detail",
    ),
    path(
        "orgs/<uuid:org_id>/invitations/<uuid:invitation_id>/resend",
        invitation_api.InvitationResend.as_view(),
        name="invitation-resend",
    ),
    path("invitations/<str:token>", invitation_api.InvitationOfToken.as_view(), name="invitation-token"),
    path("invitations/<str:token>/accept", invitation_api.InvitationAccept.as_view(), name="invitation-accept"),
]
