from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from apps.core.admin import ReadOnlyAdmin, StaffModelAdmin
from apps.projects import services
from apps.projects.models import (
    ApiKey,
    KeyPolicy,
    Project,
    ProjectSettings,
    ProjectTeamObjectPermission,
    ProjectUserObjectPermission,
    RejectedKey,
)


@admin.register(Project)
class ProjectAdmin(ReadOnlyAdmin):
    list_display = ("name", "org", "team", "archived_at", "created_at")
    list_select_related = ("org", "team")
    list_filter = (("org", AutocompleteSelectFilter),)
    search_fields = ("name", "org__name")
    ordering = ("-created_at",)


@admin.register(ApiKey)
class ApiKeyAdmin(StaffModelAdmin):
    list_display = (
        "name", "prefix", "org", "project", "environment", "owner", "expires_at", "revoked_at", "leaked_at",
        "last_used_at",
    )  # fmt: skip
    list_select_related = ("org", "project", "owner")
    list_filter = (("org", AutocompleteSelectFilter),)
    search_fields = ("prefix", "name", "org__name")
    exclude = ("digest",)
    ordering = ("-created_at",)
    actions = ("revoke",)

    @admin.action(description="Revoke")
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset:
            services.revoke_api_key(org_id=key.org_id, project_id=key.project_id, key_id=key.pk)
        self.message_user(request, "Revoked: dead on every process within a second.")


@admin.register(RejectedKey)
class RejectedKeyAdmin(ReadOnlyAdmin):
    list_display = ("key", "org", "reason", "count", "last_at", "last_ip")
    list_select_related = ("key", "org")
    list_filter = (("org", AutocompleteSelectFilter),)
    ordering = ("-last_at",)


@admin.register(ProjectUserObjectPermission)
class ProjectUserRightAdmin(ReadOnlyAdmin):
    list_display = ("user", "content_object", "permission", "org", "created_at")
    list_select_related = ("user", "content_object", "permission__content_type", "org")
    list_filter = (("org", AutocompleteSelectFilter),)
    search_fields = ("user__email", "content_object__name", "org__name")
    ordering = ("-created_at",)


@admin.register(ProjectTeamObjectPermission)
class ProjectTeamRightAdmin(ReadOnlyAdmin):
    list_display = ("team", "content_object", "permission", "org", "created_at")
    list_select_related = ("team", "content_object", "permission__content_type", "org")
    list_filter = (("org", AutocompleteSelectFilter),)
    search_fields = ("team__name", "content_object__name", "org__name")
    ordering = ("-created_at",)


@admin.register(ProjectSettings)
class ProjectSettingsAdmin(ReadOnlyAdmin):
    list_display = ("project", "org", "outside", "raw_retention_days", "metadata", "email_attribution", "updated_at")
    list_select_related = ("project", "org")
    list_filter = (("org", AutocompleteSelectFilter),)
    search_fields = ("project__name", "org__name")
    exclude = ("metadata_salt",)
    ordering = ("-updated_at",)


@admin.register(KeyPolicy)
class KeyPolicyAdmin(ReadOnlyAdmin):
    list_display = ("org", "max_life_days", "leaked_keys", "updated_at")
    list_select_related = ("org",)
    search_fields = ("org__name",)
    ordering = ("-updated_at",)
