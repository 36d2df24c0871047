"""People whom only telemetry names."""

from collections.abc import Iterable
from uuid import UUID

from apps.core.tenancy import org_scope
from apps.usage.models import Person

__all__ = ["unclaimed_people"]


def unclaimed_people(org_id: UUID, ids: Iterable[UUID] | None = None) -> dict[UUID, str]:
    """Id → address or name of the people of an organisation that no member stands for yet."""
    with org_scope(org_id):
        rows = Person.objects.all()
        if ids is not None:
            rows = rows.filter(pk__in=list(ids))
        return {row.pk: str(row) for row in rows}
