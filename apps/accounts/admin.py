from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.accounts import services
from apps.accounts.admin_members import ImpersonationAdmin, MembershipAdmin
from apps.accounts.models import Organization
from apps.core.admin import StaffModelAdmin

__all__ = ["ImpersonationAdmin", "MembershipAdmin", "OrganizationAdmin"]


@admin.register(Organization)
class OrganizationAdmin(StaffModelAdmin):
    list_display = ("name", "slug", "status", "timezone", "raw_retention_days", "created_at")
    list_filter = ("status",)
    search_fields = ("name", "slug")
    ordering = ("name",)
    actions = ("suspend", "resume")

    @admin.action(description="Suspend")
    def suspend(self, request: HttpRequest, queryset: QuerySet[Organization]) -> None:
        for org in queryset:
            services.suspend_organization(org_id=org.pk, reason=f"suspended by staff ({request.user})")
        self.message_user(request, "Suspended: nobody can enter and their keys are refused.")

    @admin.action(description="Resume")
    def resume(self, request: HttpRequest, queryset: QuerySet[Organization]) -> None:
        for org in queryset:
            services.resume_organization(org_id=org.pk, reason=f"resumed by staff ({request.user})")
        self.message_user(request, "Resumed.")
