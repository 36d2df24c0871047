"""A provider's metadata by their address: fetched again and again, so that new keys count before old ones are gone."""

from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from apps.core.clock import now
from apps.core.errors import NotFound, ValidationFailed
from apps.core.tenancy import org_scope
from apps.sso import saml
from apps.sso.models import Connection, ConnectionKind
from apps.sso.saml.certificates import certificate_facts
from apps.sso.telling import tell_connection

__all__ = ["refresh_metadata", "renew_certificates"]

# How often answers with a key that is not known may have the metadata fetched, whoever sends them.
_RENEWED_EVERY = timedelta(minutes=5)
_STATE = ("metadata_checked_at", "metadata_failing_since", "metadata_problem", "metadata_told_at", "updated_at")


def refresh_metadata(*, org_id: UUID, connection_id: UUID) -> str:
    """Fetch the metadata of a SAML connection now; returns ``unchanged``, ``changed``, ``failing`` or ``unknown``.

    Its certificates count from then on, in place of those of before: a provider that changes keys publishes both
    for a while. A sign-on address is taken where its host stays. Metadata of another provider, or that lead to another
    host, change nothing: an administrator takes them by hand. Whoever manages single sign-on is told of each change,
    at once of metadata that are another's, and of those that could not be had for ``SSO_METADATA_ALARM_HOURS``.
    :class:`NotFound` where the connection is none, or has no address of metadata.
    """
    with org_scope(org_id):
        connection: Connection | None = Connection.objects.filter(pk=connection_id, kind=ConnectionKind.SAML).first()
        if connection is None or not connection.idp_metadata_url:
            raise NotFound()
        # The fetch may take seconds: no lock and no transaction is held meanwhile.
        found, problem = _fetched(connection.idp_metadata_url)
        with transaction.atomic():
            return _judge(connection_id, connection.idp_metadata_url, found, problem)


def renew_certificates(*, connection: Connection) -> bool:
    """Fetch the metadata because an answer was signed by a key that is not known; whether they brought another one.

    Once in five minutes for a connection, however many such answers come: anybody can send them.
    """
    if not connection.idp_metadata_url:
        return False
    moment = now()
    with org_scope(connection.org_id):
        due = Q(metadata_checked_at=None) | Q(metadata_checked_at__lte=moment - _RENEWED_EVERY)
        claimed = Connection.objects.filter(due, pk=connection.pk).update(metadata_checked_at=moment)
    if claimed != 1:
        return False  # asked for a moment ago, or another process asks now
    return refresh_metadata(org_id=connection.org_id, connection_id=connection.pk) == "changed"


def _fetched(url: str) -> tuple[saml.IdpMetadata | None, str]:
    try:
        return saml.fetch_metadata(url), ""
    except ValidationFailed as error:
        return None, "; ".join(item["detail"] for item in error.errors) or error.title


def _judge(connection_id: UUID, url: str, found: saml.IdpMetadata | None, problem: str) -> str:
    """Take what was found, or note why not; the address may have been changed while it was read."""
    row: Connection | None = Connection.objects.select_for_update().filter(pk=connection_id).first()
    if row is None or row.idp_metadata_url != url:
        return "unknown"
    foreign = _foreign(row, found) if found is not None else ""
    row.metadata_checked_at = now()
    if found is None or foreign:
        return _failed(row, problem or foreign, at_once=bool(foreign))
    if row.metadata_told_at is not None:
        tell_connection(row, "sso.metadata_recovered")
    row.metadata_failing_since, row.metadata_problem, row.metadata_told_at = None, "", None
    before, after = _facts(row), _facts(row, found)
    changed = sorted(name for name in after if after[name] != before[name])
    row.idp_entity_id, row.idp_sso_url = found.entity_id, found.sso_url
    row.idp_certificates = found.certificates
    row.save(update_fields=[*_STATE, "idp_entity_id", "idp_sso_url", "idp_certificates"])
    if not changed:
        return "unchanged"
    tell_connection(
        row, "sso.metadata_changed", data={"changed": changed}, before={name: before[name] for name in changed},
        after={name: after[name] for name in changed},
    )  # fmt: skip
    return "changed"


def _foreign(row: Connection, found: saml.IdpMetadata) -> str:
    if row.idp_entity_id and found.entity_id != row.idp_entity_id:
        return f"They are of another provider: {found.entity_id[:200]}"
    host, known = urlsplit(found.sso_url).hostname, urlsplit(row.idp_sso_url).hostname
    if urlsplit(found.sso_url).scheme != "https" and host not in settings.OUTBOUND_ALLOWED_HOSTS:
        return "Their sign-on address is not an https address"
    if row.idp_sso_url and host != known:
        return f"They lead to another host: {str(host)[:200]}"
    return ""


def _failed(row: Connection, problem: str, *, at_once: bool) -> str:
    row.metadata_failing_since = row.metadata_failing_since or now()
    row.metadata_problem = problem[:300]
    long_ago = now() - timedelta(hours=settings.SSO_METADATA_ALARM_HOURS)
    if row.metadata_told_at is None and (at_once or row.metadata_failing_since <= long_ago):
        row.metadata_told_at = now()
        tell_connection(
            row, "sso.metadata_failing", data={"problem": row.metadata_problem},
            after={"problem": row.metadata_problem, "failing_since": row.metadata_failing_since},
        )  # fmt: skip
    row.save(update_fields=list(_STATE))
    return "failing"


def _facts(row: Connection, found: saml.IdpMetadata | None = None) -> dict[str, object]:
    """What the trail tells of a connection's side of the provider: certificates by their fingerprints."""
    certificates = row.idp_certificates if found is None else found.certificates
    return {
        "idp_entity_id": row.idp_entity_id if found is None else found.entity_id,
        "idp_sso_url": row.idp_sso_url if found is None else found.sso_url,
        "idp_certificates": sorted(str(certificate_facts(one)["fingerprint"]) for one in certificates),
    }
