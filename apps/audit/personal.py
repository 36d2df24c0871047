"""What the trail keeps of a person: what they did, from where."""

from typing import Any

from apps.audit.models import AuditEntry
from apps.audit.services import forget_person
from apps.core.personal import PersonalData, Subject, listed, register_personal

__all__ = ["MOST", "register"]

MOST = 10_000
_ENTRY = ("occurred_at", "action", "org_id", "target_type", "target_id", "ip", "user_agent")


def _export(subject: Subject) -> list[dict[str, Any]]:
    """Their own acts, newest first, ``MOST`` at most. To whom they did it, and what changed, is others' to know."""
    rows = AuditEntry.objects.filter(actor_id=subject.user_id, actor_kind__in=("user", "staff"))
    found = rows.order_by("-occurred_at", "-id")[:MOST]
    return listed([{name: getattr(row, name) for name in _ENTRY} for row in found])


def _erase(subject: Subject) -> int:
    """Nothing is removed: the keys under which it says who they were are destroyed."""
    return forget_person(user_id=subject.user_id, emails=subject.emails)


def register() -> None:
    """Make the share known: the last, so that what the others write of it becomes unreadable too."""
    register_personal(PersonalData("audit", "Your acts in the audit log", _export, _erase, order=900))
