"""The housekeeping of the scheduler and of the apps below it, which cannot know it."""

from datetime import timedelta

from apps.audit import services as audit
from apps.core import idempotency
from apps.events import services as events
from apps.scheduler import services
from apps.scheduler.registry import job

__all__: list[str] = []


@job(name="scheduler.recover", every=timedelta(seconds=30), retries=0)
def recover() -> dict[str, int]:
    """Find runs whose worker died and queued runs whose message was lost."""
    return services.recover_runs()


@job(name="scheduler.prune", cron="17 3 * * *")
def prune() -> int:
    """Remove old runs."""
    return services.prune_runs()


@job(name="events.maintain", cron="7 */6 * * *")
def maintain_events() -> dict[str, list[str]]:
    """Make the bus's partitions ahead and drop those past seven days."""
    return events.maintain()


@job(name="audit.maintain", cron="27 2 * * *")
def maintain_audit() -> dict[str, list[str]]:
    """Make the audit trail's partitions ahead, close and drop those past its retention."""
    return audit.maintain()


@job(name="audit.verify", cron="37 4 * * *", retries=1)
def verify_audit() -> dict[str, object]:
    """Verify every chain of the audit trail."""
    return audit.verify_all()


@job(name="audit.let_go", cron="57 2 * * *")
def let_go_of_audit() -> dict[str, int]:
    """Delete what organisations keep of their audit trail no longer, behind signed checkpoints."""
    return audit.let_go()


@job(name="audit.sweep_exports", every=timedelta(minutes=1))
def sweep_audit_exports() -> dict[str, int]:
    """Take up exports of the audit trail whose worker died and remove the files of those whose time is over."""
    return audit.sweep_exports()


@job(name="audit.rotate_sealing_key", cron="57 4 1 */3 *", retries=1)
def rotate_sealing_key() -> str:
    """Have a new key sign the chains of the audit trail, four times a year."""
    return str(audit.rotate_sealing_key())


@job(name="core.forget_old_answers", cron="47 * * * *")
def forget_old_answers() -> int:
    """Forget the answers to POSTs with an Idempotency-Key after 24 hours."""
    return idempotency.forget_old_answers()
