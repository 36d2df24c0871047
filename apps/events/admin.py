"""The bus for staff: what was published, what waits, what could not be handled and what to do about it."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter, RangeDateTimeFilter

from apps.core.admin import ReadOnlyAdmin, StaffModelAdmin
from apps.core.admin_search import IdSearchMixin
from apps.core.context import current
from apps.core.errors import MindWeaveError
from apps.events import registry, services
from apps.events.models import DeadLetter, Delivery, OutboxEvent, Processed, SubscriptionState

__all__ = ["DeadLetterAdmin", "DeliveryAdmin", "OutboxEventAdmin", "ProcessedAdmin", "SubscriptionAdmin"]


class _NamesFilter(DropdownFilter):
    """Names that the code declares; asking the table which it holds would read all of it."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{self.parameter_name: self.value()}) if self.value() else queryset


class TypeFilter(_NamesFilter):
    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(each.name, each.name) for each in registry.event_types()]


class SubscriptionFilter(_NamesFilter):
    title = "subscription"
    parameter_name = "subscription"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted(registry.subscriptions())]


@admin.register(OutboxEvent)
class OutboxEventAdmin(IdSearchMixin, ReadOnlyAdmin):
    list_display = ("published_at", "type", "topic", "key", "org_id", "relayed")
    list_filter = (("published_at", RangeDateTimeFilter), TypeFilter)
    search_fields = ("org_id",)
    search_help_text = "The whole id of an organisation"
    ordering = ("-seq",)


@admin.register(Delivery)
class DeliveryAdmin(IdSearchMixin, ReadOnlyAdmin):
    list_display = ("id", "subscription", "state", "attempts", "due_at", "key", "event_id", "created_at")
    list_filter = ("state", SubscriptionFilter)
    search_fields = ("event_id", "key")
    ordering = ("id",)


@admin.register(Processed)
class ProcessedAdmin(IdSearchMixin, ReadOnlyAdmin):
    list_display = ("published_on", "subscription", "event_id", "processed_at")
    list_filter = (SubscriptionFilter,)
    search_fields = ("event_id",)
    ordering = ("-published_on", "subscription", "event_id")


@admin.register(DeadLetter)
class DeadLetterAdmin(IdSearchMixin, StaffModelAdmin):
    list_display = ("created_at", "subscription", "type", "org_id", "attempts", "status", "last_line", "resolved_by")
    list_filter = ("status", SubscriptionFilter)
    search_fields = ("event_id", "org_id", "key")
    ordering = ("-created_at", "-id")
    actions = ("replay", "discard")

    @admin.display(description="error")
    def last_line(self, letter: DeadLetter) -> str:
        return letter.error.strip().rpartition("\n")[2][:120]

    @admin.action(description="Replay: deliver them again")
    def replay(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        self._settle(request, services.replay_dead_letters, queryset, "put back in their queues")

    @admin.action(description="Discard: give them up")
    def discard(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        self._settle(request, services.discard_dead_letters, queryset, "discarded")

    def _settle(self, request: HttpRequest, service: Any, queryset: QuerySet[DeadLetter], done: str) -> None:
        ids: Sequence[Any] = list(queryset.values_list("pk", flat=True))
        try:
            count = service(ids=ids, by=current().actor.label)
        except MindWeaveError as error:
            self.message_user(request, error.detail, messages.ERROR)
        else:
            self.message_user(request, f"{count} of {len(ids)} {done}.")


@admin.register(SubscriptionState)
class SubscriptionAdmin(StaffModelAdmin):
    list_display = ("name", "hears", "is_paused", "waiting", "failing", "last_delivered_at")
    ordering = ("name",)
    actions = ("pause", "resume")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SubscriptionState]:
        queryset: QuerySet[SubscriptionState] = super().get_queryset(request)
        waiting = Delivery.objects.filter(subscription=OuterRef("name")).order_by().values("subscription")
        failing = waiting.filter(state=Delivery.State.RETRYING)
        # The queue holds only what is still to be done, so it can be counted.
        return queryset.annotate(
            waiting=Coalesce(Subquery(waiting.annotate(n=Count("id")).values("n")), 0),
            failing=Coalesce(Subquery(failing.annotate(n=Count("id")).values("n")), 0),
        )

    @admin.display(description="hears")
    def hears(self, state: SubscriptionState) -> str:
        return ", ".join(state.types)

    @admin.display(description="waiting")
    def waiting(self, state: Any) -> int:
        return int(state.waiting)

    @admin.display(description="failing keys")
    def failing(self, state: Any) -> int:
        return int(state.failing)

    @admin.action(description="Pause: events wait")
    def pause(self, request: HttpRequest, queryset: QuerySet[SubscriptionState]) -> None:
        for state in queryset:
            services.pause_subscription(name=state.name)
        self.message_user(request, "Paused.")

    @admin.action(description="Resume")
    def resume(self, request: HttpRequest, queryset: QuerySet[SubscriptionState]) -> None:
        for state in queryset:
            services.resume_subscription(name=state.name)
        self.message_user(request, "Resumed.")
