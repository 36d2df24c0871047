"""Writing the trail. There is one way in and none to change or remove; what it says of people can be forgotten."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from apps.audit import registry
from apps.audit.contracts import AuditFilter, Verified
from apps.audit.diff import changes, clean
from apps.audit.export_services import fetch_export, make_export, request_export, sweep_exports
from apps.audit.keys import address_subjects, strangers_owner
from apps.audit.models import SealingKey
from apps.audit.refusals import record_read, record_refusal
from apps.audit.retention import drop_before, let_go, set_retention
from apps.audit.sealed import NewEntry, seal_entry
from apps.audit.signing import make_signing_key
from apps.audit.stream_services import (
    create_stream,
    delete_stream,
    rotate_stream_secret,
    test_stream,
    update_stream,
)
from apps.audit.verify import chains, verify_chain
from apps.core.clock import now
from apps.core.context import current
from apps.core.ids import uuid7
from apps.core.partitions import ensure_partitions, list_partitions
from apps.core.tenancy import TenancyError, current_org_id, system_scope

__all__ = [
    "AuditError",
    "create_stream",
    "delete_stream",
    "fetch_export",
    "forget_org",
    "forget_person",
    "let_go",
    "maintain",
    "make_export",
    "note_export",
    "note_verification",
    "record",
    "record_read",
    "record_refusal",
    "request_export",
    "rotate_sealing_key",
    "rotate_stream_secret",
    "set_retention",
    "sweep_exports",
    "test_stream",
    "update_stream",
    "verify_all",
    "verify_org",
]

PARTITIONS_AHEAD = 12
# How long the addresses of people of whom nothing is known stay readable, at least.
STRANGERS_KEPT = timedelta(days=90)


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
    people: Mapping[str, UUID] | None = None,
) -> UUID:
    """Record an act in the caller's transaction, so that neither stands without the other; returns its id.

    Who acts, from where and under which correlation id come from the context. ``before`` and ``after`` are the fields
    that matter, of which those that differ are kept, with secrets redacted; ``people`` says of those that name somebody
    else than who acts and whom it is done to, whose id that is: they are forgotten with that person. Raises
    :class:`AuditError` for an action that is not registered and outside a transaction, and ``TenancyError`` for another
    organisation than the scope's.
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
    entry = NewEntry(
        id=uuid7(),
        occurred_at=now(),
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
    seal_entry(entry, people or {})
    entry.insert()
    return entry.id


# ---------------------------------------------------------------- forgetting
def forget_person(*, user_id: UUID, emails: Sequence[str] = ()) -> int:
    """Destroy the keys under which the trail keeps what it says of a person; returns how many there were.

    Their labels, addresses and devices cannot be read any more, in any organisation, nor in copies of the entries that
    are made from now on; what was done, when and by which id stays, and the chains verify as before. ``emails`` are
    addresses of theirs: what was said of those before anybody knew whose they are goes too. For good: what is recorded
    of the person later is unreadable as well. Recorded as ``audit.person_forgotten``.
    """
    subjects = [subject for email in emails for subject in address_subjects(email)]
    with transaction.atomic():
        # The person's key outside organisations comes to be, destroyed, even where nothing was sealed under it yet.
        count = _destroy("person_id = %s OR subject = ANY(%s)", [user_id, subjects], keep=(None, user_id, ""))
        record(
            action="audit.person_forgotten", org_id=None, target_type="user", target_id=user_id,
            after={"keys_destroyed": count},
        )  # fmt: skip
    return count


def forget_org(*, org_id: UUID) -> int:
    """Destroy all keys of an organisation's entries; returns how many there were.

    Names, changes, reasons and people in them cannot be read any more; the chain verifies as before. For good.
    Recorded as ``audit.org_forgotten``, among what belongs to no organisation.
    """
    with transaction.atomic():
        count = _destroy("org_id = %s", [org_id], keep=(org_id, None, ""))
        with system_scope("an organisation is forgotten, and its own trail with it"):
            record(
                action="audit.org_forgotten", org_id=None, target_type="organization", target_id=org_id,
                after={"keys_destroyed": count},
            )  # fmt: skip
    return count


def _destroy(where: str, values: list[Any], *, keep: tuple[UUID | None, UUID | None, str]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            # By the clock and not by the transaction's beginning: copies are held against it.
            "UPDATE audit_key SET sealed_key = NULL, destroyed_at = clock_timestamp()"  # noqa: S608 - the callers' own
            f" WHERE ({where}) AND sealed_key IS NOT NULL",
            values,
        )
        count: int = cursor.rowcount
        cursor.execute(
            "INSERT INTO audit_key (org_id, person_id, subject, sealed_key, destroyed_at)"
            " VALUES (%s, %s, %s, NULL, now()) ON CONFLICT DO NOTHING",
            keep,
        )
    # Not before: another connection of this process may wait for such a row while this one waits for the process. Who
    # looks finds nothing by a destroyed key meanwhile, and the nightly job takes what a crash leaves.
    transaction.on_commit(lambda: _unmark(where, values), robust=True)
    return count


def _unmark(where: str, values: list[Any]) -> None:
    """Remove where owners of destroyed keys were seen: nothing says any more which address their marks stand for."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM audit_address WHERE key_id IN"  # noqa: S608 - the callers' own conditions
            f" (SELECT id FROM audit_key WHERE ({where}) AND sealed_key IS NULL)",
            values,
        )


# ---------------------------------------------------------------- taking away
@transaction.atomic
def note_export(*, org_id: UUID, wanted: AuditFilter, form: str) -> None:
    """Record that somebody takes entries of an organisation's trail away, and which."""
    asked = {name: value for name, value in asdict(wanted).items() if value is not None}
    record(
        action="audit.exported", org_id=org_id, target_type="audit_log", target_id=org_id, target_label="Audit log",
        after={"format": form, **asked},
    )  # fmt: skip


# ---------------------------------------------------------------- keys that sign
@transaction.atomic
def rotate_sealing_key() -> UUID:
    """Make a new key that signs chains; the older ones verify for ever and sign no more. Returns its id."""
    moment = now()
    key = make_signing_key()
    SealingKey.objects.filter(retired_at__isnull=True).exclude(pk=key.pk).update(retired_at=moment)
    record(action="audit.signing_key_created", org_id=None, target_type="signing_key", target_id=key.pk)
    return UUID(str(key.pk))


# ---------------------------------------------------------------- housekeeping
def maintain() -> dict[str, list[str]]:
    """Make the partitions of the coming twelve months, close and drop those past ``AUDIT_RETENTION_DAYS``, and destroy
    the keys of strangers that are 90 days old; returns the names of partitions made and dropped.
    """
    made = [
        *ensure_partitions("audit_entry", period="month", ahead=PARTITIONS_AHEAD, each=[GUARD_PARTITION]),
        *ensure_partitions("audit_seal", period="month", ahead=PARTITIONS_AHEAD, each=[GUARD_PARTITION]),
    ]
    before = now() - timedelta(days=settings.AUDIT_RETENTION_DAYS)
    dropped = drop_before(before) if any(part.end <= before for part in list_partitions("audit_entry")) else []
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE audit_key SET sealed_key = NULL, destroyed_at = now()"
            " WHERE subject LIKE 'month:%%' AND subject < %s AND sealed_key IS NOT NULL",
            [strangers_owner(None, now() - STRANGERS_KEPT).subject],
        )
        _unmark("destroyed_at IS NOT NULL", [])
        # Of entries that are no longer there: months go whole, some weeks later than their days.
        cursor.execute(
            "DELETE FROM audit_address WHERE seen_on < %s::date - 32 - coalesce("
            "(SELECT days FROM audit_retention kept WHERE kept.org_id = audit_address.org_id), %s)",
            [now(), settings.AUDIT_RETENTION_DAYS],
        )
    return {"made": made, "dropped": dropped}


def verify_all() -> dict[str, Any]:
    """Verify every chain from its oldest kept checkpoint and note what was found; returns the broken ones.

    Each whole chain gets a checkpoint where it stands, so that none is older than a day.
    """
    found: dict[str, Any] = {"chains": 0, "entries": 0, "broken": {}}
    for chain_id in chains():
        result = verify_chain(chain_id)
        note_verification(result)
        found["chains"] += 1
        found["entries"] += result.entries
        if result.broken is not None:
            found["broken"][str(chain_id)] = result.broken.reason
    return found


def verify_org(*, org_id: UUID, seconds: float) -> Verified:
    """Verify an organisation's chain for so long at most, and note what was found where its end was reached."""
    found = verify_chain(org_id, seconds=seconds)
    note_verification(found)
    return found


def note_verification(result: Verified) -> None:
    """Keep what a complete verification found with its chain, and tell of a chain that is broken for the first time."""
    from apps.audit.alarm import note

    note(result)


# TRUNCATE of a partition does not fire the trigger of its parent, so each has its own.
GUARD_PARTITION = (
    "CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON {partition}"
    " FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()"
)
