"""Pages of projects."""

from django.urls import path

from apps.projects import grants_views, views

urlpatterns = [
    path("o/<slug:slug>/projects", views.projects_page, name="projects"),
    path("o/<slug:slug>/projects/<slug:project_slug>", views.project_page, name="project"),
    path("o/<slug:slug>/projects/<slug:project_slug>/keys/<uuid:key_id>/revoke", views.key_revoke, name="key_revoke"),
    path("o/<slug:slug>/projects/<slug:project_slug>/keys/<uuid:key_id>/rotate", views.key_rotate, name="key_rotate"),
    path(
        "o/<slug:slug>/projects/<slug:project_slug>/access",
        grants_views.project_access_give,
        name="project_access_give",
    ),
    path(
        "o/<slug:slug>/projects/<slug:project_slug>/access/<uuid:grantee_id>/end",
        grants_views.project_access_end,
        name="project_access_end",
    ),
]
