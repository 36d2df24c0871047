"""Reads of imports."""

from uuid import UUID

from django.db.models import QuerySet

from apps.core.errors import NotFound
from apps.core.tenancy import org_scope
from apps.usage.models import Import, ImportProblem

__all__ = ["first_problems", "import_get", "import_list", "problem_list"]

SHOWN = 10


def import_list(*, org_id: UUID, project_id: UUID | None = None) -> QuerySet[Import]:
    """The imports of an organisation, or of one project."""
    with org_scope(org_id):
        rows: QuerySet[Import] = Import.objects.all()
    return rows if project_id is None else rows.filter(project_id=project_id)


def import_get(*, org_id: UUID, import_id: UUID, project_id: UUID | None = None) -> Import:
    """An import; :class:`NotFound` otherwise."""
    row = import_list(org_id=org_id, project_id=project_id).filter(pk=import_id).first()
    if row is None:
        raise NotFound("There is no such import")
    return row


def problem_list(row: Import) -> QuerySet[ImportProblem]:
    """The refused lines of an import that are kept, which are its first 10,000."""
    with org_scope(row.org_id):
        problems: QuerySet[ImportProblem] = ImportProblem.objects.filter(of=row)
    return problems


def first_problems(row: Import) -> list[ImportProblem]:
    """The first ten of them."""
    return list(problem_list(row).order_by("line")[:SHOWN]) if row.problems_kept else []
