"""Domains: named, proved by a TXT record, looked after every day."""

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction

from apps.core.clock import now
from apps.core.crypto import new_token
from apps.core.database import lock_org
from apps.core.errors import Conflict, NotFound, ValidationFailed
from apps.core.tenancy import org_scope
from apps.sso.contracts import DomainInfo
from apps.sso.dns import DnsUnavailable, record_found
from apps.sso.models import Connection, Domain
from apps.sso.public_mail import is_public_mail
from apps.sso.selectors import domain_info, domain_of
from apps.sso.services.enforcement import end_other_sign_ins, relax
from apps.sso.telling import tell_domain

__all__ = ["add_domain", "recheck_domain", "remove_domain", "verify_domain"]

_MOST = 100


def _invalid(detail: str) -> ValidationFailed:
    return ValidationFailed("The domain is not valid", errors=[{"pointer": "/name", "detail": detail}])


def _checked_name(name: str) -> str:
    """The domain as it is kept: lower case, in ASCII."""
    name = domain_of(f"@{name.strip().rstrip('.').removeprefix('@')}")
    labels = name.split(".")
    fits = len(name) <= 253 and len(labels) >= 2
    if not fits or not all(
        0 < len(label) <= 63 and label.strip("-") == label and label.replace("-", "").isalnum() for label in labels
    ):
        raise _invalid("A domain such as example.com is wanted")
    if labels[-1].isdecimal():
        raise _invalid("This is an address of a machine, not a domain")
    if is_public_mail(name):
        raise _invalid("Anybody can have an address of this domain, so nobody can claim it")
    return name


@transaction.atomic
def add_domain(*, org_id: UUID, name: str) -> DomainInfo:
    """Name a domain; it counts for nothing until :func:`verify_domain` finds its record.

    Raises :class:`ValidationFailed` for what is no domain of one's own, :class:`Conflict` where it is named already or
    proved by somebody else.
    """
    name = _checked_name(name)
    with org_scope(org_id):
        lock_org("sso", org_id)
        if Domain.objects.filter(name=name).exists():
            raise Conflict("This domain is here already", code="domain_exists")
        if Domain.objects.count() >= _MOST:
            raise Conflict(f"An organisation has at most {_MOST} domains", code="too_many_domains")
        domain = Domain.objects.create(org_id=org_id, name=name, token=new_token(192))
        tell_domain(domain, "sso.domain_added", after={"name": name})
        return domain_info(domain)


def verify_domain(*, org_id: UUID, domain_id: UUID) -> DomainInfo:
    """Look for the record now; the domain is the organisation's from then on.

    Raises :class:`Conflict`: ``record_missing``, ``dns_unavailable``, or ``domain_taken`` where another organisation
    has proved it.
    """
    with org_scope(org_id):
        domain = _domain(domain_id)
        # The look-up may take seconds: no lock and no transaction is held meanwhile.
        try:
            found = record_found(domain.name, domain.token)
        except DnsUnavailable as error:
            raise Conflict("No name server answered; try again in a moment", code="dns_unavailable") from error
        if not found:
            raise Conflict(
                "The TXT record was not found. A new record can take some minutes to be seen", code="record_missing"
            )
        try:
            with transaction.atomic():
                return _proved(domain_id)
        except IntegrityError as error:
            raise Conflict("Another organisation has proved this domain", code="domain_taken") from error


def _proved(domain_id: UUID) -> DomainInfo:
    domain = _domain(domain_id, lock=True)
    before = domain.verified_at
    domain.verified_at, domain.checked_at, domain.failing_since = before or now(), now(), None
    domain.save()
    if before is None:
        tell_domain(domain, "sso.domain_verified", after={"name": domain.name})
        enforced = Connection.objects.filter(is_enforced=True).first()
        if enforced is not None:
            end_other_sign_ins(enforced, only=domain.name)
    return domain_info(domain)


@transaction.atomic
def remove_domain(*, org_id: UUID, domain_id: UUID) -> None:
    """Give a domain up: its people sign in as everybody does."""
    with org_scope(org_id):
        lock_org("sso", org_id)
        domain = _domain(domain_id, lock=True)
        tell_domain(domain, "sso.domain_removed", before={"name": domain.name})
        domain.delete()
        _relax_without_domains("the last domain was removed")


def recheck_domain(*, org_id: UUID, domain_id: UUID) -> str:
    """Look for the record of a proved domain again; returns ``kept``, ``failing``, ``lapsed`` or ``unknown``.

    A domain whose record stays away for ``SSO_DOMAIN_GRACE_DAYS`` is the organisation's no longer. Days on which no
    name server answered count like others: one that is switched off would otherwise keep the domain for ever.
    """
    with org_scope(org_id):
        domain: Domain | None = Domain.objects.filter(pk=domain_id, verified_at__isnull=False).first()
        if domain is None:
            return "unknown"
        try:
            found = record_found(domain.name, domain.token)
        except DnsUnavailable:
            found = False
        with transaction.atomic():
            return _judge(domain_id, found)


def _judge(domain_id: UUID, found: bool) -> str:
    domain = Domain.objects.select_for_update().filter(pk=domain_id, verified_at__isnull=False).first()
    if domain is None:
        return "unknown"
    domain.checked_at, state = now(), "kept"
    if found:
        domain.failing_since = None
    elif domain.failing_since is None:
        domain.failing_since, state = now(), "failing"
        tell_domain(domain, "sso.domain_failing", after={"failing_since": domain.failing_since})
    elif domain.failing_since <= now() - timedelta(days=settings.SSO_DOMAIN_GRACE_DAYS):
        state = "lapsed"
        tell_domain(
            domain, "sso.domain_lapsed", before={"verified_at": domain.verified_at}, after={"verified_at": None}
        )
        domain.verified_at = domain.failing_since = None
    else:
        state = "failing"
    domain.save()
    if state == "lapsed":
        _relax_without_domains("the last proved domain lapsed")
    return state


def _relax_without_domains(reason: str) -> None:
    """Without a proved domain an enforced connection is enforced on nobody: say so."""
    if Domain.objects.filter(verified_at__isnull=False).exists():
        return
    enforced = Connection.objects.select_for_update().filter(is_enforced=True).first()
    if enforced is not None:
        relax(enforced, reason=reason)


def _domain(domain_id: UUID, *, lock: bool = False) -> Domain:
    rows = Domain.objects.filter(pk=domain_id)
    domain: Domain | None = (rows.select_for_update() if lock else rows).first()
    if domain is None:
        raise NotFound()
    return domain
