"""The one task behind all jobs, and those of the apps below, which cannot know the scheduler."""

from uuid import UUID

from apps.audit import services as audit
from apps.scheduler import services
from apps.scheduler.background import background_task

__all__ = ["export_audit", "run_job"]


@background_task(name="scheduler.run_job", system="jobs work across organisations")
def run_job(name: str, run_id: str | None = None) -> None:
    """Run a job by its name: by the clock, or a queued run."""
    services.perform_job(name=name, run_id=UUID(run_id) if run_id else None)


@background_task(name="audit.export", system="an export says itself whose it is")
def export_audit(export_id: str) -> None:
    """Put entries of the audit trail into a file."""
    audit.make_export(export_id=UUID(export_id))
