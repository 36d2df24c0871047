"""What projects keeps of a person: the keys that count as theirs."""

from typing import Any

from apps.core.personal import PersonalData, Subject, listed, register_personal
from apps.projects.departures import end_keys_of
from apps.projects.models import ApiKey

__all__ = ["register"]

_KEY = ("org_id", "project__name", "name", "prefix", "created_at", "expires_at", "revoked_at", "last_used_at",
        "last_used_ip", "last_used_agent")  # fmt: skip


def _export(subject: Subject) -> list[dict[str, Any]]:
    return listed(list(ApiKey.objects.filter(owner_id=subject.user_id).order_by("created_at").values(*_KEY)))


def _erase(subject: Subject) -> int:
    """Revoke what membership left working, and forget from where their keys were used. The keys' rows stay."""
    keys = ApiKey.objects.filter(owner_id=subject.user_id)
    for org_id in sorted(set(keys.filter(revoked_at=None).values_list("org_id", flat=True))):
        end_keys_of(org_id=org_id, owner_id=subject.user_id, reason="their owner was erased")
    return int(keys.update(last_used_ip=None, last_used_agent=""))


def register() -> None:
    """Make the share known."""
    register_personal(PersonalData("projects", "API keys", _export, _erase, order=30))
