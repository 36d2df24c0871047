"""What belongs to an organisation, area by area: exported as a whole, erased as a whole.

The area of an app is all its models that belong to an organisation, unless it registers its own in
``AppConfig.ready``. Areas are erased from the highest layer down, so that nothing stands on what is gone; a test fails
for an organisation's table that no area erases.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.db import models

from apps.core.tenancy import OrgScopedModel, org_scope

__all__ = ["OrgArea", "OrgTable", "erase_models", "model_area", "model_tables", "org_areas", "register_area"]

# Words in the names of columns whose values nobody is given, a digest or a ciphertext as little as a secret.
_SECRET_WORDS = ("digest", "secret", "token", "password", "private")


@dataclass(frozen=True, slots=True)
class OrgTable:
    """One file of an export: ``rows(org_id)`` yields what stands in it, JSON objects, one by one."""

    name: str
    rows: Callable[[UUID], Iterator[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class OrgArea:
    """An app's share. ``erase(org_id, limit)`` deletes about ``limit`` rows, in the caller's transaction, and returns
    how many of which table; nothing once all are gone. It may be called again at any time."""

    key: str
    tables: Callable[[], Sequence[OrgTable]]
    erase: Callable[[UUID, int], dict[str, int]]


_areas: dict[str, OrgArea] = {}


def register_area(area: OrgArea) -> None:
    """Make an area known; registering a key twice is an error."""
    if area.key in _areas:
        raise ValueError(f"{area.key!r} is registered already")
    _areas[area.key] = area


def org_areas() -> list[OrgArea]:
    """All areas, in the order in which they are erased: that of the layers, the highest first."""
    labels = [path.rpartition(".")[2] for path in settings.MINDWEAVE_APPS]
    return [_areas.get(label) or model_area(label) for label in labels]


# ---------------------------------------------------------------- areas that are models
def model_area(label: str) -> OrgArea:
    """The area of an app whose rows are Django models that belong to an organisation: all of them."""
    return OrgArea(label, lambda: model_tables(label), lambda org_id, limit: erase_models(label, org_id, limit))


def erase_models(
    label: str, org_id: UUID, limit: int, *, leave: Sequence[str] = (), first: Sequence[str] = ()
) -> dict[str, int]:
    """Delete up to ``limit`` rows of the first of an app's tables that has some of the organisation.

    Models named in ``leave`` are left alone; those in ``first`` go before what the database, but no foreign key of a
    model, ties them to.
    """
    with org_scope(org_id):
        ordered = _dependents_first(_owned(label, leave))
        for model in sorted(ordered, key=lambda model: model.__name__ not in first):
            manager: Any = model._default_manager
            ids = list(manager.order_by("pk").values_list("pk", flat=True)[:limit])
            if ids:
                _, by_model = manager.filter(pk__in=ids).delete()
                return {name: number for name, number in by_model.items() if number}
    return {}


def model_tables(label: str, *, leave: Sequence[str] = ()) -> list[OrgTable]:
    """One table a model, its columns as they are; without what is secret, hashed or encrypted."""
    return [_table(model) for model in _owned(label, leave)]


def _owned(label: str, leave: Sequence[str]) -> list[type[models.Model]]:
    return [
        model
        for model in apps.get_app_config(label).get_models()
        if issubclass(model, OrgScopedModel) and model._meta.managed and model.__name__ not in leave
    ]


def _dependents_first(owned: Iterable[type[models.Model]]) -> list[type[models.Model]]:
    """Those that point at others go before them."""
    left, ordered = list(owned), []
    while left:
        pointed_at = {
            field.related_model
            for model in left
            for field in model._meta.concrete_fields
            if field.is_relation and field.related_model is not model
        }
        free = [model for model in left if model not in pointed_at] or left[:1]
        ordered += free
        left = [model for model in left if model not in free]
    return ordered


def _table(model: type[models.Model]) -> OrgTable:
    fields = [
        field
        for field in model._meta.concrete_fields
        if not isinstance(field, models.BinaryField) and not any(word in field.name for word in _SECRET_WORDS)
    ]

    def rows(org_id: UUID) -> Iterator[dict[str, Any]]:
        with org_scope(org_id):
            manager: Any = model._default_manager
            found = manager.filter(org_id=org_id).order_by("pk").values(*(field.attname for field in fields))
        yield from found.iterator(chunk_size=500)

    return OrgTable(model._meta.db_table, rows)
