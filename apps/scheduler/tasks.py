"""The one task behind all jobs."""

from uuid import UUID

from apps.scheduler import services
from apps.scheduler.background import background_task

__all__ = ["run_job"]


@background_task(name="scheduler.run_job", system="jobs work across organisations")
def run_job(name: str, run_id: str | None = None) -> None:
    """Run a job by its name: by the clock, or a queued run."""
    services.perform_job(name=name, run_id=UUID(run_id) if run_id else None)
