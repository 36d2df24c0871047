"""What staff see of the life of organisations: their short names, their exports, and what is left of those erased."""

from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from apps.accounts.models import OrgExport, OrgSlug, OrgTombstone
from apps.core.admin import ReadOnlyAdmin

__all__ = ["OrgExportAdmin", "OrgSlugAdmin", "OrgTombstoneAdmin"]


@admin.register(OrgSlug)
class OrgSlugAdmin(ReadOnlyAdmin):
    """Short names that organisations have or had."""

    list_display = ("slug", "org", "created_at")
    list_select_related = ("org",)
    list_filter = (("org", AutocompleteSelectFilter),)
    search_fields = ("slug", "org__name")
    ordering = ("-created_at",)


@admin.register(OrgExport)
class OrgExportAdmin(ReadOnlyAdmin):
    """Who had everything exported; the file itself is the owner's alone."""

    list_display = ("created_at", "org", "requested_by", "state", "rows", "size_bytes", "expires_at", "downloads")
    list_select_related = ("org", "requested_by")
    list_filter = ("state", ("org", AutocompleteSelectFilter))
    search_fields = ("org__name", "requested_by__email")
    ordering = ("-created_at",)


@admin.register(OrgTombstone)
class OrgTombstoneAdmin(ReadOnlyAdmin):
    """Organisations that were erased; without a time of erasure one is under way."""

    list_display = ("id", "deleted_at", "started_at", "erased_at")
    search_fields = ("id",)
    ordering = ("-started_at",)
