"""What ends when somebody leaves an organisation: the keys that count as theirs."""

from uuid import UUID

from django.db import transaction
from django.db.models import Q

from apps.audit.services import record
from apps.core.clock import now
from apps.core.tenancy import org_scope
from apps.events.services import publish
from apps.projects.models import ApiKey
from apps.projects.selectors import forget_keys

__all__ = ["DepartingKeys", "end_keys_of", "hand_over_keys_of"]


@transaction.atomic
def end_keys_of(*, org_id: UUID, owner_id: UUID, reason: str) -> int:
    """Revoke the keys of an organisation that somebody owns, dead on every process within a second; how many.

    Keys without an owner, which are service accounts, go on whoever made them. Repeating it is harmless.
    """
    with org_scope(org_id):
        keys = list(
            ApiKey.objects.select_for_update(of=("self",)).filter(owner_id=owner_id, revoked_at=None).order_by("pk")
        )
        ApiKey.objects.filter(pk__in=[key.pk for key in keys]).update(revoked_at=now(), updated_at=now())
        for key in keys:
            record(
                action="key.revoked", org_id=org_id, target_type="api_key", target_id=key.pk, target_label=key.name,
                before={"revoked": False}, after={"revoked": True}, reason=reason,
            )  # fmt: skip
            publish(type="key.revoked", org_id=org_id, data={"key_id": str(key.pk), "project_id": str(key.project_id)})
        if keys:
            transaction.on_commit(forget_keys)
        return len(keys)


@transaction.atomic
def hand_over_keys_of(*, org_id: UUID, owner_id: UUID, to_user_id: UUID) -> int:
    """Make another member the owner of somebody's keys of an organisation, which go on as they are; how many."""
    with org_scope(org_id):
        keys = list(
            ApiKey.objects.select_for_update(of=("self",)).filter(owner_id=owner_id, revoked_at=None).order_by("pk")
        )
        ApiKey.objects.filter(pk__in=[key.pk for key in keys]).update(owner_id=to_user_id, updated_at=now())
        for key in keys:
            record(
                action="key.updated", org_id=org_id, target_type="api_key", target_id=key.pk,
                target_label=key.name, before={"owner_id": owner_id}, after={"owner_id": to_user_id},
            )  # fmt: skip
            publish(
                type="key.updated", org_id=org_id,
                data={"key_id": str(key.pk), "project_id": str(key.project_id), "changed": ["owner_id"]},
            )  # fmt: skip
        if keys:
            transaction.on_commit(forget_keys)
        return len(keys)


class DepartingKeys:
    """Fills ``accounts.ports.keys_of_members``."""

    def count(self, org_id: UUID, user_id: UUID) -> int:
        with org_scope(org_id):
            alive = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now()))
            return int(ApiKey.objects.filter(alive, owner_id=user_id).count())

    def end(self, org_id: UUID, user_id: UUID, reason: str) -> int:
        return end_keys_of(org_id=org_id, owner_id=user_id, reason=reason)

    def hand_over(self, org_id: UUID, user_id: UUID, to_user_id: UUID) -> int:
        return hand_over_keys_of(org_id=org_id, owner_id=user_id, to_user_id=to_user_id)
