"""Tenancy of tables that know their organisation by its surrogate."""

from typing import Any

from django.db import models
from django.db.models.expressions import RawSQL

from apps.core.tenancy import TenancyError, current_org_id, in_system_scope

__all__ = ["OrgSurrogateManager"]


class OrgSurrogateManager(models.Manager):  # type: ignore[type-arg]
    """Fails closed like the kernel's manager: the scope's organisation is looked up by its surrogate."""

    def get_queryset(self) -> Any:
        queryset = super().get_queryset()
        if in_system_scope():
            return queryset
        org_id = current_org_id()
        if org_id is None:
            raise TenancyError(f"{self.model.__name__} was queried outside an organisation's scope")
        return queryset.filter(org=RawSQL("(SELECT id FROM usage_org WHERE org_id = %s)", [org_id]))
