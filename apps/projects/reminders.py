"""Telling of keys before they end: inside the product, and by mail to the owner and to who manages projects."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from apps.accounts import selectors as accounts
from apps.core.clock import now
from apps.core.tenancy import org_scope, system_scope
from apps.events.contracts import NewEvent
from apps.events.services import publish_many
from apps.notify.services import send_email
from apps.projects.models import ApiKey

__all__ = ["REMINDERS", "remind_of_ends"]

# How many days before its end a key is told of. One that lives no longer than that is not: who made it knows.
REMINDERS = (14, 3, 1)


def remind_of_ends() -> int:
    """Tell of every key that has come nearer to its end than the last reminder said; how many keys that were.

    A key that was replaced ends as its replacing said, and is not told of. Whoever looks late tells of the nearest step
    alone; what was told is kept with the key, so repeating it is harmless.
    """
    with system_scope("the clock looks at every organisation's keys"):
        orgs = list(_due().order_by("org_id").values_list("org_id", flat=True).distinct())
    return sum(_remind(org_id) for org_id in orgs)


def _due() -> QuerySet[ApiKey]:
    moment = now()
    rows: QuerySet[ApiKey] = ApiKey.objects.filter(
        expires_at__gt=moment, expires_at__lte=moment + timedelta(days=REMINDERS[0]), revoked_at=None,
        replaced_by_id=None, project__archived_at=None, org__status="active",
    )  # fmt: skip
    return rows


@transaction.atomic
def _remind(org_id: UUID) -> int:
    with org_scope(org_id):
        told: list[ApiKey] = []
        for key in _due().select_for_update(of=("self",)).select_related("project").order_by("expires_at", "pk"):
            step = _step(key)
            if step is not None and (key.reminded_days is None or step < key.reminded_days):
                ApiKey.objects.filter(pk=key.pk).update(reminded_days=step)
                told.append(key)
        if told:
            publish_many(
                [
                    NewEvent(
                        type="key.expiring",
                        org_id=org_id,
                        data={"key_id": str(key.pk), "project_id": str(key.project_id), "expires_at": key.expires_at},
                    )
                    for key in told
                ]
            )
            _mail(org_id, told)
        return len(told)


def _step(key: ApiKey) -> int | None:
    """The nearest reminder that is due, of those that the key outlives."""
    assert key.expires_at is not None
    left, life = key.expires_at - now(), key.expires_at - key.created_at
    due = [days for days in REMINDERS if left <= timedelta(days=days) < life]
    return min(due) if due else None


def _mail(org_id: UUID, keys: Sequence[ApiKey]) -> None:
    """One mail a person: managers get all keys, an owner who is none gets their own."""
    org = accounts.org_get(org_id)
    managers = {member.user_id for member in accounts.members_who_may(org_id, "project.manage")}
    for member in accounts.members_who_may(org_id, "project.manage", besides={key.owner_id for key in keys}):
        mine = [key for key in keys if member.user_id in managers or key.owner_id == member.user_id]
        names = [{"name": key.name, "project": key.project.name, "slug": key.project.slug,
                  "expires_at": key.expires_at} for key in mine]  # fmt: skip
        send_email(to=member.email, template="keys_ending", context={"org": org, "keys": names}, org_id=org_id)
