from django.urls import path

from apps.teams import api

urlpatterns = [
    path("orgs/<uuid:org_id>/teams", api.TeamList.as_view(), name="team-list"),
    path("teams/<uuid:team_id>", api.TeamDetail.as_view(), name="team-detail"),
    path("teams/<uuid:team_id>/members/<uuid:user_id>", api.TeamMember.as_view(), name="team-member"),
]
