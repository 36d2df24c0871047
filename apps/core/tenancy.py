"""Tenancy that fails closed.

A model that belongs to an organisation derives from :class:`OrgScopedModel`. Its manager answers only in a scope:

- ``with org_scope(org_id):`` sees and writes the rows of that organisation, and no others;
- ``with system_scope("why"):`` sees all rows; for the few workers that cross organisations, each named.

Outside both, any query raises :class:`TenancyError`: a forgotten scope is an error, never somebody else's data.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from django.db import models

__all__ = [
    "OrgScopedManager",
    "OrgScopedModel",
    "OrgScopedQuerySet",
    "TenancyError",
    "current_org_id",
    "in_system_scope",
    "org_scope",
    "require_org_id",
    "system_scope",
]


class TenancyError(RuntimeError):
    """An organisation's rows were asked for outside its scope: a bug, never the caller's fault."""


M = TypeVar("M", bound=models.Model)


@dataclass(frozen=True, slots=True)
class _Scope:
    org_id: UUID | None
    reason: str = ""


_scope: ContextVar[_Scope | None] = ContextVar("mindweave_scope", default=None)


@contextmanager
def org_scope(org_id: UUID) -> Iterator[None]:
    """Everything inside works on the rows of one organisation."""
    if not isinstance(org_id, UUID):
        raise TenancyError(f"org_scope takes an organisation's id, not {type(org_id).__name__}")
    token = _scope.set(_Scope(org_id))
    try:
        yield
    finally:
        _scope.reset(token)


@contextmanager
def system_scope(reason: str) -> Iterator[None]:
    """Everything inside may cross organisations; ``reason`` says why, for whoever reads the code or a log."""
    if not reason:
        raise TenancyError("system_scope takes a reason")
    token = _scope.set(_Scope(None, reason))
    try:
        yield
    finally:
        _scope.reset(token)


def current_org_id() -> UUID | None:
    """The organisation of the scope, or None outside one and in a system scope."""
    scope = _scope.get()
    return scope.org_id if scope else None


def require_org_id() -> UUID:
    """The organisation of the scope; raises :class:`TenancyError` where there is none."""
    org_id = current_org_id()
    if org_id is None:
        raise TenancyError("this needs an organisation's scope")
    return org_id


def in_system_scope() -> bool:
    """Whether the work may cross organisations."""
    scope = _scope.get()
    return scope is not None and scope.org_id is None


class OrgScopedQuerySet(models.QuerySet[M]):
    """A queryset whose bulk writes are held to the scope too."""

    def bulk_create(self, objs: Any, *args: Any, **kwargs: Any) -> Any:
        objs = list(objs)
        for obj in objs:
            check_row(obj)
        return super().bulk_create(objs, *args, **kwargs)

    def create(self, **kwargs: Any) -> M:
        org_id = current_org_id()
        if org_id is not None and "org" not in kwargs and "org_id" not in kwargs:
            kwargs["org_id"] = org_id
        return super().create(**kwargs)


class OrgScopedManager(models.Manager.from_queryset(OrgScopedQuerySet)):  # type: ignore[misc]
    """The only manager of an org-owned model: filters by the scope's organisation, raises without a scope."""

    def get_queryset(self) -> Any:
        scope = _scope.get()
        if scope is None:
            raise TenancyError(f"{self.model.__name__} was queried outside an organisation's scope")
        queryset = super().get_queryset()
        return queryset if scope.org_id is None else queryset.filter(org_id=scope.org_id)


def check_row(row: Any) -> None:
    """Refuse to write a row outside a scope, or of another organisation than the scope's."""
    scope = _scope.get()
    if scope is None:
        raise TenancyError(f"{type(row).__name__} was written outside an organisation's scope")
    if scope.org_id is None:
        return
    if row.org_id is None:
        row.org_id = scope.org_id
    if row.org_id != scope.org_id:
        raise TenancyError(f"{type(row).__name__} of another organisation was written")


class OrgScopedModel(models.Model):
    """Base of each model with an ``org_id``: a foreign key to the organisation, or a plain UUID in lower apps."""

    org_id: UUID

    objects = OrgScopedManager()

    class Meta:
        abstract = True
        base_manager_name = "objects"
        default_manager_name = "objects"

    def save(self, *args: Any, **kwargs: Any) -> None:
        check_row(self)
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        check_row(self)
        return super().delete(*args, **kwargs)
