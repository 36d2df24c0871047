from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from apps.core.admin import ReadOnlyAdmin
from apps.teams.models import Team, TeamMembership, TeamUserObjectPermission


@admin.register(Team)
class TeamAdmin(ReadOnlyAdmin):
    list_display = ("name", "org", "parent", "created_at")
    list_select_related = ("org", "parent")
    list_filter = (("org", AutocompleteSelectFilter),)
    search_fields = ("name", "org__name")
    ordering = ("-created_at",)


@admin.register(TeamMembership)
class TeamMembershipAdmin(ReadOnlyAdmin):
    list_display = ("user", "team", "org", "is_primary", "created_at")
    list_select_related = ("user", "team", "org")
    list_filter = (("org", AutocompleteSelectFilter), ("team", AutocompleteSelectFilter))
    search_fields = ("user__email", "team__name", "org__name")
    ordering = ("-created_at",)


@admin.register(TeamUserObjectPermission)
class TeamRightAdmin(ReadOnlyAdmin):
    list_display = ("user", "content_object", "permission", "org", "created_at")
    list_select_related = ("user", "content_object", "permission__content_type", "org")
    list_filter = (("org", AutocompleteSelectFilter),)
    search_fields = ("user__email", "content_object__name", "org__name")
    ordering = ("-created_at",)
