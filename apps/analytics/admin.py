"""Saved views for staff: to look at."""

from django.contrib import admin

from apps.analytics.models import SavedView, ViewDefault
from apps.core.admin import ReadOnlyAdmin

__all__ = ["SavedViewAdmin", "ViewDefaultAdmin"]


@admin.register(SavedView)
class SavedViewAdmin(ReadOnlyAdmin):
    list_display = ("name", "page", "org", "owner", "is_shared", "query", "updated_at")
    list_select_related = ("org", "owner")
    list_filter = ("page", "is_shared")
    search_fields = ("name", "org__name", "owner__email")
    ordering = ("-created_at",)


@admin.register(ViewDefault)
class ViewDefaultAdmin(ReadOnlyAdmin):
    list_display = ("page", "org", "user", "view")
    list_select_related = ("org", "user", "view")
    list_filter = ("page",)
    search_fields = ("org__name", "user__email")
    ordering = ("-id",)
