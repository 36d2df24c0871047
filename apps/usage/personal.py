"""What usage keeps of a person: the names that telemetry gave them. The numbers stay, under a pseudonym."""

from typing import Any

from django.db.models import Q, QuerySet

from apps.core.personal import PersonalData, Subject, listed, pseudonym, register_personal
from apps.usage.models import Person

__all__ = ["register"]


def _rows(subject: Subject) -> QuerySet[Person]:
    named = Q(claimed_by=subject.user_id)
    for email in subject.emails:
        named |= Q(email__iexact=email)
    rows: QuerySet[Person] = Person.objects.filter(named)
    return rows


def _export(subject: Subject) -> list[dict[str, Any]]:
    fields = ("org_id", "email", "name", "first_seen_at", "claimed_at")
    return listed(list(_rows(subject).order_by("first_seen_at").values(*fields)))


def _erase(subject: Subject) -> int:
    """What members are called is told by their account; here are those whom only telemetry names."""
    return _rows(subject).update(email="", name=pseudonym(subject.user_id))


def register() -> None:
    """Make the share known."""
    register_personal(PersonalData("usage", "Names in usage", _export, _erase, order=50))
