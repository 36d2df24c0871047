"""Jobs and their runs for staff."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter, RangeDateTimeFilter

from apps.core.admin import ReadOnlyAdmin, StaffModelAdmin
from apps.core.admin_search import IdSearchMixin
from apps.core.context import current
from apps.core.errors import MindWeaveError
from apps.scheduler import services
from apps.scheduler.models import JobRun, JobState
from apps.scheduler.registry import jobs

__all__ = ["JobRunAdmin", "JobStateAdmin"]


class JobFilter(DropdownFilter):
    title = "job"
    parameter_name = "job"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in jobs()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[JobRun]) -> QuerySet[JobRun]:
        return queryset.filter(job=self.value()) if self.value() else queryset


@admin.register(JobState)
class JobStateAdmin(StaffModelAdmin):
    list_display = ("name", "description", "schedule", "is_enabled", "is_declared", "last_status", "last_started")
    list_filter = ("is_enabled", "is_declared")
    ordering = ("name",)
    actions = ("run_now", "enable", "disable")

    def get_queryset(self, request: HttpRequest) -> QuerySet[JobState]:
        queryset: QuerySet[JobState] = super().get_queryset(request)
        last = JobRun.objects.filter(job=OuterRef("name")).order_by("-created_at")[:1]
        return queryset.annotate(
            last_status=Subquery(last.values("status")), last_started=Subquery(last.values("started_at"))
        )

    @admin.display(description="last run")
    def last_status(self, job: Any) -> str:
        return job.last_status or "–"

    @admin.display(description="started")
    def last_started(self, job: Any) -> Any:
        return job.last_started

    @admin.action(description="Run now")
    def run_now(self, request: HttpRequest, queryset: QuerySet[JobState]) -> None:
        for job in queryset:
            try:
                services.request_run(name=job.name, by=current().actor.label)
            except MindWeaveError as error:
                self.message_user(request, error.detail, messages.ERROR)
            else:
                self.message_user(request, f"{job.name} is queued.")

    @admin.action(description="Enable: let the clock start them")
    def enable(self, request: HttpRequest, queryset: QuerySet[JobState]) -> None:
        self._switch(request, queryset, services.enable_job, "enabled")

    @admin.action(description="Disable: take them off the clock")
    def disable(self, request: HttpRequest, queryset: QuerySet[JobState]) -> None:
        self._switch(request, queryset, services.disable_job, "disabled")

    def _switch(self, request: HttpRequest, queryset: QuerySet[JobState], service: Any, done: str) -> None:
        for job in queryset:
            try:
                service(name=job.name)
            except MindWeaveError as error:
                self.message_user(request, error.detail, messages.ERROR)
            else:
                self.message_user(request, f"{job.name} is {done}.")


@admin.register(JobRun)
class JobRunAdmin(IdSearchMixin, ReadOnlyAdmin):
    list_display = ("created_at", "job", "status", "attempt", "trigger", "started_at", "finished_at", "requested_by")
    list_filter = ("status", "trigger", JobFilter, ("created_at", RangeDateTimeFilter))
    search_fields = ("id", "correlation_id")
    ordering = ("-created_at", "-id")
