"""Lists that are too long to be searched by substrings or sorted by any column."""

from typing import Any
from uuid import UUID

from django.db import models
from django.http import HttpRequest

__all__ = ["IdSearchMixin"]


class IdSearchMixin:
    """Looks for the whole term in ``search_fields``, by equality and so by index.

    Django casts ids to text before it compares them, which no index serves. Such a list has one order, that of an
    index: any other would sort the whole table.
    """

    sortable_by: Any = ()
    search_fields: Any = ()
    search_help_text = "A whole id or name"
    model: type[models.Model]

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        condition = models.Q()
        for name in self.search_fields:
            value = _as_value(self.model._meta.get_field(name), term)
            if value is not None:
                condition |= models.Q(**{name: value})
        return (queryset.filter(condition) if condition else queryset.none()), False


def _as_value(field: Any, term: str) -> Any:
    if not isinstance(field, models.UUIDField):
        return term
    try:
        return UUID(term)
    except ValueError:
        return None
