"""Pages of projects."""

from django.urls import path

from apps.projects import views

urlpatterns = [
    path("o/<slug:slug>/projects", views.projects_page, name="projects"),
    path("o/<slug:slug>/projects/<slug:project_slug>", views.project_page, name="project"),
    path("o/<slug:slug>/projects/<slug:project_slug>/keys/<uuid:key_id>/revoke", views.key_revoke, name="key_revoke"),
    path("o/<slug:slug>/projects/<slug:project_slug>/keys/<uuid:key_id>/rotate", views.key_rotate, name="key_rotate"),
]
