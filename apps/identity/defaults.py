"""What a person has chosen for themselves of what other apps offer."""

from uuid import UUID

from django.db import transaction

from apps.audit.services import record
from apps.core.errors import NotFound
from apps.events.services import publish
from apps.identity.models import User

__all__ = ["set_default_org"]


@transaction.atomic
def set_default_org(*, user_id: UUID, org_id: UUID | None) -> None:
    """Keep which organisation a person means when they name none; the caller has checked that it is theirs."""
    user = User.objects.select_for_update(no_key=True).filter(pk=user_id).first()
    if user is None:
        raise NotFound()
    if user.default_org_id == org_id:
        return
    before = user.default_org_id
    User.objects.filter(pk=user_id).update(default_org_id=org_id)
    record(
        action="user.updated", org_id=None, target_type="user", target_id=user_id, target_label=user.email,
        before={"default_org_id": before}, after={"default_org_id": org_id},
    )  # fmt: skip
    publish(
        type="user.updated", org_id=None, user_id=user_id,
        data={"user_id": str(user_id), "changed": ["default_org_id"]},
    )  # fmt: skip
