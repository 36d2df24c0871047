"""Keys that somebody found where they should not be."""

from collections.abc import Iterable
from uuid import UUID

from django.db import transaction

from apps.accounts import selectors as accounts
from apps.audit.services import record
from apps.core.clock import now
from apps.core.tenancy import org_scope
from apps.events.services import publish
from apps.notify.services import send_email
from apps.projects import selectors
from apps.projects.models import ApiKey
from apps.projects.rules import key_policy_get
from apps.projects.selectors import forget_keys

__all__ = ["report_leaked_keys"]


def report_leaked_keys(*, found: Iterable[tuple[str, str]]) -> int:
    """Take a report of keys, each with where it was found (an address, or ""); how many of them were news.

    Whoever holds a key may report it: it is revoked, or flagged where its organisation's policy says so, and its owner
    and the admins are told. A key that was reported before, or is no key of ours, changes nothing.
    """
    return sum(_report(token, url) for token, url in found)


def _report(token: str, url: str) -> bool:
    found = selectors.key_of_token(token)
    return found is not None and _take_out(org_id=found.org_id, key_id=found.id, url=url)


@transaction.atomic
def _take_out(*, org_id: UUID, key_id: UUID, url: str) -> bool:
    with org_scope(org_id):
        rows = ApiKey.objects.select_for_update(of=("self",)).select_related("project")
        key = rows.filter(pk=key_id, leaked_at=None).first()
        if key is None:
            return False
        was_dead = key.revoked_at is not None
        revokes = not was_dead and key_policy_get(org_id).leaked_keys == "revoke"
        moment = now()
        ApiKey.objects.filter(pk=key.pk).update(
            leaked_at=moment, updated_at=moment, **({"revoked_at": moment} if revokes else {})
        )
        record(
            action="key.leaked", org_id=org_id, target_type="api_key", target_id=key.pk, target_label=key.name,
            before={"revoked": was_dead}, after={"revoked": was_dead or revokes, "found_at": url[:500]},
            reason="reported as leaked",
        )  # fmt: skip
        ids = {"key_id": str(key.pk), "project_id": str(key.project_id)}
        publish(type="key.leaked", org_id=org_id, data={**ids, "url": url[:500], "revoked": was_dead or revokes})
        if revokes:
            publish(type="key.revoked", org_id=org_id, data=ids)
        if revokes:
            transaction.on_commit(forget_keys)
        _mail(key, url=url[:500], is_dead=was_dead or revokes)
        return True


def _mail(key: ApiKey, *, url: str, is_dead: bool) -> None:
    """To its owner and to who manages projects; once each, for a leak is told of once."""
    org, project = accounts.org_get(key.org_id), key.project
    context = {
        "org": org, "project": project.name, "slug": project.slug, "url": url, "revoked": is_dead,
        "key": {"name": key.name, "prefix": key.prefix},
    }  # fmt: skip
    for member in accounts.members_who_may(key.org_id, "project.manage", besides=[key.owner_id]):
        send_email(to=member.email, template="key_leaked", context=context, org_id=key.org_id)
