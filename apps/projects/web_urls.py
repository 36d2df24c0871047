"""Pages of projects."""

from django.urls import path

from apps.projects import grants_views, key_views, settings_views, views

_PROJECT = "o/<slug:slug>/projects/<slug:project_slug>"
_KEY = f"{_PROJECT}/keys/<uuid:key_id>"

urlpatterns = [
    path("o/<slug:slug>/projects", views.projects_page, name="projects"),
    path(_PROJECT, views.project_page, name="project"),
    path(f"{_PROJECT}/usage", settings_views.project_usage_page, name="project_usage"),
    path(f"{_PROJECT}/settings", settings_views.project_settings_page, name="project_settings"),
    path(f"{_PROJECT}/edit", settings_views.project_edit, name="project_edit"),
    path(f"{_PROJECT}/archive", settings_views.project_archive, name="project_archive"),
    path(f"{_PROJECT}/unarchive", settings_views.project_unarchive, name="project_unarchive"),
    path(f"{_PROJECT}/access", grants_views.project_access_page, name="project_access"),
    path(f"{_PROJECT}/access/<uuid:grantee_id>/end", grants_views.project_access_end, name="project_access_end"),
    path(_KEY, key_views.key_page, name="key"),
    path(f"{_KEY}/revoke", key_views.key_revoke, name="key_revoke"),
    path(f"{_KEY}/rotate", key_views.key_rotate, name="key_rotate"),
    path("o/<slug:slug>/settings/keys", key_views.keys_page, name="keys"),
    path("o/<slug:slug>/settings/keys.csv", key_views.keys_csv, name="keys_csv"),
]
