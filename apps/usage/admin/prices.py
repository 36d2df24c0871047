"""The book of prices for staff: a new price, the end of one, and how far the book has come."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from apps.core import clock
from apps.core.admin import ReadOnlyAdmin, StaffModelAdmin
from apps.core.errors import MindWeaveError
from apps.usage import models, services
from apps.usage.pricing.book import TOKEN_KINDS

__all__: list[str] = []


@admin.register(models.Price)
class PriceAdmin(StaffModelAdmin):
    list_display = ("model", "org", "valid_from", "valid_to", *TOKEN_KINDS, "source")
    list_select_related = ("org",)
    list_filter = (("org", admin.EmptyFieldListFilter),)
    search_fields = ("model", "org__name")
    fields = ("model", "org", "valid_from", "valid_to", *TOKEN_KINDS, "multipliers", "source")
    autocomplete_fields = ("org",)
    ordering = ("model", "-valid_from")
    actions = ("end_now",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(self.admin_site.has_permission(request))

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """The service refuses what does not fit; its sentence is shown above an empty form."""
        try:
            response: HttpResponse = super().add_view(request, *args, **kwargs)
        except MindWeaveError as error:
            self.message_user(request, _sentence(error), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        return response

    def save_model(self, request: HttpRequest, obj: models.Price, form: Any, change: bool) -> None:
        obj.pk = services.price_set(
            model=obj.model,
            org_id=obj.org_id,
            valid_from=obj.valid_from,
            valid_to=obj.valid_to,
            units={kind: getattr(obj, kind) for kind in TOKEN_KINDS},
            multipliers=obj.multipliers,
            source=obj.source,
        )

    @admin.action(description="End now")
    def end_now(self, request: HttpRequest, queryset: QuerySet[models.Price]) -> None:
        for price in queryset:
            try:
                services.price_end(price_id=price.pk, valid_to=clock.now())
            except MindWeaveError as error:
                self.message_user(request, f"{price}: {_sentence(error)}", messages.ERROR)


def _sentence(error: MindWeaveError) -> str:
    parts: Sequence[str] = [f"{problem['pointer'].strip('/')}: {problem['detail']}" for problem in error.errors]
    return ". ".join(filter(None, (error.detail or error.title, "; ".join(parts))))


@admin.register(models.PriceBookVersion)
class PriceBookVersionAdmin(ReadOnlyAdmin):
    list_display = ("version", "changed_at")
    ordering = ("id",)
