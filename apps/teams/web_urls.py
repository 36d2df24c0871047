"""Pages of members and teams."""

from django.urls import path

from apps.teams import bulk_views, grants_views, invitation_views, invite_views, views

urlpatterns = [
    path("invite", invite_views.invite_page, name="invite"),
    path("invite/<str:token>", invite_views.invite_link, name="invite_link"),
    path("o/<slug:slug>/settings/members", views.members_page, name="members"),
    path("o/<slug:slug>/settings/members/bulk", bulk_views.members_bulk, name="members_bulk"),
    path("o/<slug:slug>/settings/members/invite", invitation_views.invite_many, name="invite_many"),
    path("o/<slug:slug>/settings/members/invitations", invitation_views.invitations_page, name="invitations"),
    path(
        "o/<slug:slug>/settings/members/invitations/<uuid:invitation_id>/resend",
        invitation_views.invitation_resend,
        name="invitation_resend",
    ),
    path(
        "o/<slug:slug>/settings/members/invitations/<uuid:invitation_id>/revoke",
        invitation_views.invitation_revoke,
        name="invitation_revoke",
    ),
    path("o/<slug:slug>/settings/members/<uuid:user_id>", views.member_page, name="member"),
    path("o/<slug:slug>/settings/members/<uuid:user_id>/remove", views.member_remove, name="member_remove"),
    path("o/<slug:slug>/settings/teams", views.teams_page, name="teams"),
    path("o/<slug:slug>/settings/teams/<slug:team_slug>", views.team_page, name="team"),
    path("o/<slug:slug>/settings/teams/<slug:team_slug>/delete", views.team_delete, name="team_delete"),
    path("o/<slug:slug>/settings/teams/<slug:team_slug>/members", views.team_member_add, name="team_member_add"),
    path(
        "o/<slug:slug>/settings/teams/<slug:team_slug>/members/<uuid:user_id>/primary",
        views.team_member_primary,
        name="team_member_primary",
    ),
    path(
        "o/<slug:slug>/settings/teams/<slug:team_slug>/members/<uuid:user_id>/remove",
        views.team_member_remove,
        name="team_member_remove",
    ),
    path(
        "o/<slug:slug>/settings/teams/<slug:team_slug>/access", grants_views.team_access_give, name="team_access_give"
    ),
    path(
        "o/<slug:slug>/settings/teams/<slug:team_slug>/access/<uuid:user_id>/end",
        grants_views.team_access_end,
        name="team_access_end",
    ),
]
