"""Writing the trail. There is one way in and none to change or remove."""

from typing import Any
from uuid import UUID

from django.db import connection

from apps.audit import registry
from apps.audit.diff import changes, clean
from apps.audit.models import AuditEntry
from apps.core.context import current
from apps.core.partitions import ensure_partitions
from apps.core.tenancy import TenancyError, current_org_id, system_scope

__all__ = ["AuditError", "maintain", "record"]

PARTITIONS_AHEAD = 12


class AuditError(RuntimeError):
    """An act was recorded in a way the trail does not take: a bug of the caller."""


def record(
    *,
    action: str,
    org_id: UUID | None,
    target_type: str,
    target_id: str | UUID,
    target_label: str = "",
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    reason: str = "",
) -> UUID:
    """Record an act in the caller's transaction, so that neither stands without the other; returns its id.

    Who acts, from where and under which correlation id come from the context. ``before`` and ``after`` are the fields
    that matter, of which those that differ are kept, with secrets redacted. Raises :class:`AuditError` for an action
    that is not registered and outside a transaction, and ``TenancyError`` for another organisation than the scope's.
    """
    if not registry.is_registered(action):
        raise AuditError(f"the action {action!r} is not registered")
    if not connection.in_atomic_block:
        raise AuditError("record() needs a transaction: the entry must stand or fall with what it tells of")
    scope = current_org_id()
    if scope is not None and org_id is not None and scope != org_id:
        raise TenancyError("an act in another organisation was recorded")
    context = current()
    actor = context.actor
    entry = AuditEntry(
        org_id=org_id,
        action=action,
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_label=actor.label,
        impersonator_id=actor.impersonator_id,
        ip=actor.ip,
        user_agent=actor.user_agent[:300],
        correlation_id=context.correlation_id,
        target_type=target_type,
        target_id=str(target_id),
        target_label=clean({"": target_label})[""][:300],
        changes=changes(before, after),
        reason=clean({"": reason})[""],
    )
    # Some acts belong to no organisation (a sign-in): the scope of the moment must not lend them one.
    with system_scope("an entry of the trail says itself whose it is"):
        entry.save(force_insert=True)
    return entry.pk


def maintain() -> list[str]:
    """Make the partitions of the coming twelve months; returns the names of new ones."""
    return ensure_partitions("audit_entry", period="month", ahead=PARTITIONS_AHEAD, each=[GUARD_PARTITION])


# TRUNCATE of a partition does not fire the trigger of its parent, so each has its own.
GUARD_PARTITION = (
    "CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON {partition}"
    " FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()"
)
