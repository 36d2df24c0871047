"""Bases of the staff admin: read fast, write through services."""

from typing import Any, ClassVar

from django.contrib import admin
from django.core.paginator import Paginator
from django.db import connection, models
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin, TabularInline

from apps.core.models import IdempotencyRecord

__all__ = ["EstimatingPaginator", "ReadOnlyAdmin", "ReadOnlyInline", "StaffModelAdmin"]

_COUNT_UP_TO = 20_000


class EstimatingPaginator(Paginator):  # type: ignore[type-arg]
    """Counts exactly up to 20,000 rows; above, takes PostgreSQL's estimate: nobody pages to the end of ten million."""

    @cached_property
    def count(self) -> int:
        queryset = self.object_list
        if not isinstance(queryset, models.QuerySet):
            return len(queryset)
        bounded = queryset.order_by()[: _COUNT_UP_TO + 1].count()
        if bounded <= _COUNT_UP_TO or queryset.query.where:
            return bounded
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint FROM pg_partition_tree(%s::regclass) p "
                "JOIN pg_class c ON c.oid = p.relid WHERE p.isleaf",
                [queryset.model._meta.db_table],
            )
            row = cursor.fetchone()
        return max(int(row[0]) if row else 0, bounded)


class StaffModelAdmin(ModelAdmin):
    """A list that stays fast on millions of rows, and no writes but those that an action sends through a service."""

    paginator = EstimatingPaginator
    show_full_result_count = False
    list_per_page = 50
    list_fullwidth = True
    list_filter_submit = True
    actions_on_top = True
    search_help_text = ""
    ordering: ClassVar[Any] = None

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(self.admin_site.has_permission(request))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(self.admin_site.has_permission(request))


class ReadOnlyAdmin(StaffModelAdmin):
    """For what nobody may touch, not even through a service."""

    actions = None


class ReadOnlyInline(TabularInline):
    """Rows of a related model, to look at."""

    extra = 0
    max_num = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True


@admin.register(IdempotencyRecord)
class IdempotencyRecordAdmin(ReadOnlyAdmin):
    list_display = ("key", "status", "created_at")
    exclude = ("answer", "scope", "body_digest")
    sortable_by = ()
    ordering = ("-id",)
