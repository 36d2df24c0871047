from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from apps.core.admin import ReadOnlyAdmin
from apps.teams.models import Invitation, Team, TeamMembership, TeamUserObjectPermission


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


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    """Who was asked to join what; the token is not there to be seen."""

    list_display = ("email", "org", "role", "invited_by", "sent_at", "expires_at", "accepted_at", "revoked_at")
    list_select_related = ("org", "invited_by")
    list_filter = (("org", AutocompleteSelectFilter),)
    search_fields = ("email", "org__name")
    ordering = ("-created_at",)
    exclude = ("digest",)
