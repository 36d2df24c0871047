"""What analytics keeps of a person: the views that they gave a name."""

from typing import Any

from apps.analytics.models import SavedView, ViewDefault
from apps.core.personal import PersonalData, Subject, listed, register_personal

__all__ = ["register"]

_VIEW = ("org_id", "page", "name", "query", "is_shared", "created_at")


def _export(subject: Subject) -> dict[str, Any]:
    views = SavedView.objects.filter(owner_id=subject.user_id).order_by("created_at")
    first = ViewDefault.objects.filter(user_id=subject.user_id)
    return {"views": listed(list(views.values(*_VIEW))), "opens_with": listed(list(first.values("org_id", "page")))}


def _erase(subject: Subject) -> int:
    """Private ones go; shared ones stay with the organisation, without an owner."""
    gone = int(ViewDefault.objects.filter(user_id=subject.user_id).delete()[0])
    views = SavedView.objects.filter(owner_id=subject.user_id)
    gone += int(views.filter(is_shared=False).delete()[0])
    return gone + int(views.update(owner=None))


def register() -> None:
    """Make the share known."""
    register_personal(PersonalData("analytics", "Saved views", _export, _erase, order=60))
