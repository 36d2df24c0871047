"""The write of an access review: that somebody has looked it through."""

from datetime import date
from typing import Final
from uuid import UUID

from django.db import transaction

from apps.accounts import access
from apps.accounts.contracts import AccessReviewInfo
from apps.accounts.models import AccessReview, Organization, OrgStatus, ReviewEvery
from apps.accounts.selectors import members_who_may
from apps.audit.services import record
from apps.core.clock import now
from apps.core.errors import ValidationFailed
from apps.core.tenancy import org_scope
from apps.events.services import publish
from apps.notify.services import send_email

__all__ = ["confirm_access_review", "remind_access_reviews"]

_LONGEST_DAYS: Final = 366


@transaction.atomic
def confirm_access_review(
    *, org_id: UUID, note: str = "", next_due: date | None = None, by_user_id: UUID | None = None
) -> AccessReviewInfo:
    """Keep that somebody has looked through who can do what, with the numbers of what there was to see.

    The next one is due on ``next_due``, from tomorrow to a year ahead; without it as often as the organisation wants.
    """
    today = now().date()
    due = next_due or access.next_review(org_id)
    if not 0 < (due - today).days <= _LONGEST_DAYS:
        raise ValidationFailed(
            "The review is not valid", errors=[{"pointer": "/next_due", "detail": "From tomorrow to a year ahead"}]
        )
    note = " ".join(note.split())
    if len(note) > 500:
        raise ValidationFailed(
            "The review is not valid", errors=[{"pointer": "/note", "detail": "500 characters at most"}]
        )
    with org_scope(org_id):
        counts = access.counted(org_id)
        review = AccessReview.objects.create(
            org_id=org_id, reviewer_id=by_user_id, note=note, counts=counts, next_due=due
        )
        record(
            action="access.reviewed", org_id=org_id, target_type="access_review", target_id=review.pk,
            target_label=today.isoformat(), after={"note": note, "counts": counts, "next_due": due},
        )  # fmt: skip
        publish(
            type="access.reviewed", org_id=org_id,
            data={"org_id": str(org_id), "review_id": str(review.pk), "next_due": due.isoformat()},
        )  # fmt: skip
        return access.review_info(review)


def remind_access_reviews() -> int:
    """Tell organisations whose review is due of it, once for each due date; how many.

    Whoever may do it hears of it inside the product and by mail. Organisations that want no reminder, and those that
    are suspended or deleted, are left alone.
    """
    wanting = Organization.objects.filter(status=OrgStatus.ACTIVE).exclude(access_review_every=ReviewEvery.OFF)
    return sum(_remind(org_id) for org_id in wanting.order_by("pk").values_list("pk", flat=True))


def _remind(org_id: UUID) -> bool:
    due, today = access.review_due(org_id), now().date()
    if due is None or due > today:
        return False
    with transaction.atomic(), org_scope(org_id):
        untold = Organization.objects.exclude(access_review_told=due).filter(pk=org_id)
        if not untold.update(access_review_told=due):
            return False  # told already, by an earlier run or another process
        org = Organization.objects.get(pk=org_id)
        record(
            action="access.review_due", org_id=org_id, target_type="organization", target_id=org_id,
            target_label=org.name, after={"due": due},
        )  # fmt: skip
        publish(type="access.review_due", org_id=org_id, data={"org_id": str(org_id), "due": due.isoformat()})
        for member in members_who_may(org_id, "access.review"):
            context = {"org": {"name": org.name, "slug": org.slug}, "due": due}
            send_email(to=member.email, template="access_review_due", context=context, org_id=org_id)
    return True
