"""What a worker does for accounts; Celery looks for it here."""

from uuid import UUID

from apps.accounts.org_exports import make_export
from apps.scheduler.background import background_task

__all__ = ["export_organization"]


@background_task(name="accounts.export_organization")
def export_organization(export_id: str) -> None:
    """Put all data of an organisation into a file."""
    make_export(export_id=UUID(export_id))
