from django.urls import path

from apps.teams import api, grants_api

urlpatterns = [
    path("orgs/<uuid:org_id>/teams", api.TeamList.as_view(), name="team-list"),
    path("teams/<uuid:team_id>", api.TeamDetail.as_view(), name="team-detail"),
    path("teams/<uuid:team_id>/members/<uuid:user_id>", api.TeamMember.as_view(), name="team-member"),
    path("teams/<uuid:team_id>/grants", grants_api.TeamGrants.as_view(), name="team-grants"),
    path("teams/<uuid:team_id>/grants/<uuid:user_id>", grants_api.TeamGrant.as_view(), name="team-grant"),
]
