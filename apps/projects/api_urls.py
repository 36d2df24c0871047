from django.urls import path

from apps.projects import api, grants_api, settings_api

urlpatterns = [
    path("orgs/<uuid:org_id>/projects", api.ProjectList.as_view(), name="project-list"),
    path("projects/<uuid:project_id>", api.ProjectDetail.as_view(), name="project-detail"),
    path("orgs/<uuid:org_id>/key-policy", settings_api.KeyPolicyDetail.as_view(), name="key-policy"),
    path("projects/<uuid:project_id>/unarchive", api.ProjectUnarchive.as_view(), name="project-unarchive"),
    path("projects/<uuid:project_id>/settings", settings_api.SettingsDetail.as_view(), name="project-settings"),
    path("v1/keys/leaked", settings_api.LeakedKeys.as_view(), name="keys-leaked"),
    path("projects/<uuid:project_id>/keys", api.KeyList.as_view(), name="key-list"),
    path("projects/<uuid:project_id>/keys/<uuid:key_id>", api.KeyDetail.as_view(), name="key-detail"),
    path("projects/<uuid:project_id>/keys/<uuid:key_id>/rotate", api.KeyRotate.as_view(), name="key-rotate"),
    path("projects/<uuid:project_id>/grants", grants_api.ProjectGrants.as_view(), name="project-grants"),
    path(
        "projects/<uuid:project_id>/grants/<uuid:grantee_id>", grants_api.ProjectGrant.as_view(), name="project-grant"
    ),
]
