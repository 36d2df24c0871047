"""The write of an access review: that somebody has looked it through."""

from datetime import date
from typing import Final
from uuid import UUID

from django.db import transaction

from apps.accounts import access
from apps.accounts.contracts import AccessReviewInfo
from apps.accounts.models import AccessReview
from apps.audit.services import record
from apps.core.clock import now
from apps.core.errors import ValidationFailed
from apps.core.tenancy import org_scope
from apps.events.services import publish

__all__ = ["confirm_access_review"]

_LONGEST_DAYS: Final = 366


@transaction.atomic
def confirm_access_review(
    *, org_id: UUID, note: str = "", next_due: date | None = None, by_user_id: UUID | None = None
) -> AccessReviewInfo:
    """Keep that somebody has looked through who can do what, with the numbers of what there was to see.

    The next one is due on ``next_due``, from tomorrow to a year ahead; without it in 90 days.
    """
    today = now().date()
    due = next_due or today + access.REVIEW_EVERY
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
