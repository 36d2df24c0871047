"""A person's data: handed out to them, and erased, on request."""

from typing import Any
from uuid import UUID

from django.db import transaction

from apps.audit.services import record
from apps.core.clock import now
from apps.core.errors import Conflict, NotFound
from apps.core.personal import ERASED_DOMAIN, Subject, all_parts
from apps.core.tenancy import system_scope
from apps.events.services import publish
from apps.identity.models import OAuthIdentity, User, normalise_email
from apps.identity.services.ending import end_all_sessions

__all__ = ["erase_person", "export_person"]


@transaction.atomic
def export_person(*, user_id: UUID) -> dict[str, Any]:
    """Everything that is kept of a person, by part, as JSON values; that it was taken is on record."""
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise NotFound()
    subject = _subject(user)
    with system_scope("a person's data stands in every organisation of theirs"):
        parts = [{"key": part.key, "title": part.title, "data": part.export(subject)} for part in all_parts()]
    record(
        action="user.data_exported", org_id=None, target_type="user", target_id=user.pk, target_label=user.email,
        after={"parts": [part["key"] for part in parts]},
    )  # fmt: skip
    return {"user_id": str(user_id), "exported_at": now().isoformat(), "parts": parts}


@transaction.atomic
def erase_person(*, user_id: UUID, reason: str, by_staff: bool = False) -> dict[str, int]:
    """Erase a person, for good: rows by part that were taken or changed. All of it happens, or nothing.

    Their sign-ins, memberships and keys end; what stays of them is an id, under a pseudonym, so that numbers and the
    trail stand as they were. Raises :class:`Conflict`: ``last_owner`` where an organisation would be left without an
    owner who can sign in, ``already_erased`` the second time.
    """
    with system_scope("a person's data stands in every organisation of theirs"):
        for part in all_parts():
            if part.hold is not None:
                part.hold(user_id)
    # Not FOR UPDATE: who is making them a member of something holds a lock that would wait for ours, and ours for it.
    user = User.objects.select_for_update(no_key=True).filter(pk=user_id).first()
    if user is None:
        raise NotFound()
    if user.email.endswith(f"@{ERASED_DOMAIN}"):
        raise Conflict("This person was erased already", code="already_erased")
    subject = _subject(user)
    with system_scope("a person's data stands in every organisation of theirs"):
        # The trail goes last: what the others wrote of the person becomes unreadable with the rest.
        counts = {"sign_ins": end_all_sessions(user_id=user_id, reason="erased")}
        for part in all_parts():
            counts[part.key] = part.erase(subject)
    record(
        action="user.erased", org_id=None, target_type="user", target_id=user_id,
        after={"by_staff": by_staff, "counts": counts}, reason=reason,
    )  # fmt: skip
    data = {"user_id": str(user_id)}
    changed = ["email", "is_active", "name"]
    publish(type="user.updated", org_id=None, user_id=user_id, data={**data, "changed": changed})
    publish(type="user.erased", org_id=None, user_id=user_id, data=data)
    return counts


def _subject(user: User) -> Subject:
    others = OAuthIdentity.objects.filter(user=user).values_list("email", flat=True)
    emails = dict.fromkeys([user.email, *(normalise_email(each) for each in others if each)])
    return Subject(user.pk, tuple(emails))
