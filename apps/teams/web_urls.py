"""Pages of members and teams."""

from django.urls import path

from apps.teams import views

urlpatterns = [
    path("o/<slug:slug>/settings/members", views.members_page, name="members"),
    path("o/<slug:slug>/settings/members/<uuid:user_id>", views.member_page, name="member"),
    path("o/<slug:slug>/settings/members/<uuid:user_id>/remove", views.member_remove, name="member_remove"),
    path("o/<slug:slug>/settings/teams", views.teams_page, name="teams"),
    path("o/<slug:slug>/settings/teams/<slug:team_slug>", views.team_page, name="team"),
    path("o/<slug:slug>/settings/teams/<slug:team_slug>/delete", views.team_delete, name="team_delete"),
    path("o/<slug:slug>/settings/teams/<slug:team_slug>/members", views.team_member_add, name="team_member_add"),
    path(
        "o/<slug:slug>/settings/teams/<slug:team_slug>/members/<uuid:user_id>/remove",
        views.team_member_remove,
        name="team_member_remove",
    ),
]
