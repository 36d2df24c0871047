"""What comes of a provider's answer: who it is here, and the session that they get."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.http import HttpRequest

from apps.accounts import selectors as accounts
from apps.accounts import services as members
from apps.audit.services import record
from apps.core.clock import now
from apps.core.context import current
from apps.core.crypto import new_token, token_digest, token_digests
from apps.core.database import lock_org
from apps.core.errors import MindWeaveError
from apps.core.tenancy import org_scope
from apps.identity import selectors as identity
from apps.identity import services as people
from apps.identity.contracts import UserInfo
from apps.identity.provisioned import person_for_sign_in, take_over_unverified
from apps.identity.stepup import confirm, note_single_sign_on
from apps.sso import selectors
from apps.sso.contracts import Arrival
from apps.sso.errors import SsoRefused
from apps.sso.models import Connection, ConnectionKind, ExternalIdentity, ScimUser, UsedAssertion
from apps.sso.saml.answers import SamlAnswer
from apps.sso.services.mappings import apply_mappings, default_role
from apps.sso.telling import acting_as, tell_connection

__all__ = [
    "accept_arrival",
    "confirm_by_provider",
    "forget_assertions",
    "note_refusal",
    "receive_assertion",
    "sign_in",
    "take_assertion",
]

_TICKET = "sso-ticket"
# How far the provider's clock may be off ours.
_SKEW = timedelta(seconds=60)
_UNTOLD = (
    "Your provider does not say when you signed in there, so this confirms nothing. Confirm in another way. An "
    "administrator of your organisation can have its word taken all the same, by its connection under Settings → "
    "Single sign-on: switch off “Confirmations want the time of the sign-in”."
)
_UNTOLD_BY_SAML = (
    "Your provider does not say when you signed in there (AuthnInstant), so this confirms nothing. Confirm in another "
    "way, or ask an administrator of your organisation."
)
_WHO = "Your provider says that you are {email}, which is not an address of a domain of this organisation."


# ---------------------------------------------------------------- who it is
def sign_in(*, request: HttpRequest, connection: Connection, arrival: Arrival) -> UUID:
    """Sign the person of an answer in on the web; returns their id. :class:`SsoRefused` where they are not let in."""
    with transaction.atomic():
        user_id = accept_arrival(connection=connection, arrival=arrival)
        user = person_for_sign_in(user_id)
        people.login_web(request=request, user=user, method=connection.kind)
        note_single_sign_on(request=request, user=user, org_id=connection.org_id, shown_at=arrival.authenticated_at)
        with org_scope(connection.org_id):
            tell_connection(connection, "sso.signed_in", data={"user_id": str(user_id)}, after={"user_id": user_id})
    return user_id


@transaction.atomic
def confirm_by_provider(
    *, request: HttpRequest, connection: Connection, arrival: Arrival, user_id: UUID, asked_at: datetime
) -> None:
    """Note in the sign-in that goes on that its person showed their provider a credential after ``asked_at``.

    :class:`SsoRefused` where the answer is about somebody else, or the provider did not ask them again: it says when
    they last showed it a credential. One that never says it counts only where the connection is set so.
    """
    with org_scope(connection.org_id):
        known = ExternalIdentity.objects.filter(
            connection=connection, subject=arrival.subject, user_id=user_id
        ).exists()
    if not known or request.user.pk != user_id:
        raise SsoRefused(
            "the confirmation is about somebody else",
            "At your provider somebody else is signed in. Sign in there as yourself, and confirm again.",
            code="sso_other_person",
        )  # fmt: skip
    if arrival.authenticated_at is None:
        untold = "the provider does not say when they signed in there"
        if connection.kind == ConnectionKind.SAML:
            raise SsoRefused(f"{untold} (AuthnInstant)", _UNTOLD_BY_SAML, code="sso_not_fresh")
        if connection.needs_auth_time:
            raise SsoRefused(f"{untold} (auth_time; see needs_auth_time)", _UNTOLD, code="sso_not_fresh")
    elif arrival.authenticated_at < asked_at - _SKEW:
        raise SsoRefused(
            f"they signed in there at {arrival.authenticated_at:%Y-%m-%d %H:%M:%S}, before they were asked",
            "Your provider did not ask you for a credential again. Sign out there, then confirm again.",
            code="sso_not_fresh",
        )
    _check_person(identity.user_find(user_id))
    user = person_for_sign_in(user_id)
    confirm(request=request, actor=current().actor, user=user, method=f"sso:{connection.org_id}")


@transaction.atomic
def accept_arrival(*, connection: Connection, arrival: Arrival) -> UUID:
    """The person whom an answer is about, joined, made a member and given what their groups give; their id.

    The provider's subject decides. Only where it is new does the address: it must be of a domain that the organisation
    proved. An account of that address is joined to the subject, one of an unproved address after whoever made it is
    locked out; without one the person is made, without a password.
    """
    org_id = connection.org_id
    org = accounts.org_find(org_id)
    if org is None or org.status != "active":
        raise SsoRefused(
            "the organisation is closed", "This organisation is closed or suspended.", code="org_suspended"
        )
    if len(arrival.subject) > 500:
        raise SsoRefused("the subject has more than 500 characters")
    with org_scope(org_id), acting_as(connection):
        lock_org("sso", org_id)
        known = ExternalIdentity.objects.filter(connection=connection, subject=arrival.subject).first()
        user_id = known.user_id if known is not None else _join(connection, arrival)
        # Before anything else of theirs: an erasure takes them in this order too.
        _check_person(identity.user_locked(user_id))
        _make_member(connection, user_id)
        changes: dict[str, Any] = {"last_used_at": now(), "updated_at": now()}
        if arrival.groups is not None:
            changes["groups"] = [group[:300] for group in arrival.groups[:2000]]
        ExternalIdentity.objects.filter(connection=connection, subject=arrival.subject).update(**changes)
        apply_mappings(org_id=org_id, user_ids=[user_id])
        Connection.objects.filter(pk=connection.pk).update(last_used_at=now())
    return user_id


def _join(connection: Connection, arrival: Arrival) -> UUID:
    email = arrival.email.strip().lower()
    try:
        validate_email(email)
    except ValidationError as error:
        raise SsoRefused("no address was told", "Your provider did not tell your e-mail address.") from error
    if not selectors.is_of_verified_domain(org_id=connection.org_id, email=email):
        raise SsoRefused(f"{email} is of no verified domain", _WHO.format(email=email), code="sso_domain_not_verified")
    found = identity.user_by_email(email)
    if found is None:
        found = people.register(email=email, password=None, name=arrival.name[:150], email_verified=True)
    elif not found.email_verified:
        found = take_over_unverified(user_id=found.id, reason="the address was proved by single sign-on")
    ExternalIdentity.objects.create(
        org_id=connection.org_id, connection=connection, user_id=found.id, subject=arrival.subject
    )
    tell_connection(
        connection, "sso.identity_linked", data={"user_id": str(found.id)},
        after={"user_id": found.id, "subject": arrival.subject, "email": email},
    )  # fmt: skip
    return found.id


def _check_person(person: UserInfo | None) -> None:
    if person is None or not person.is_active:
        raise SsoRefused("the account is deactivated", "This account is deactivated.", code="account_deactivated")


def _make_member(connection: Connection, user_id: UUID) -> None:
    if accounts.role_of(org_id=connection.org_id, user_id=user_id) is not None:
        return
    if ScimUser.objects.filter(user_id=user_id, is_active=False).exists():
        raise SsoRefused(
            "provisioning deactivated them", "Your organisation has deactivated you.", code="account_deactivated"
        )
    if not connection.creates_members:
        raise SsoRefused(
            "they are no member, and the connection makes none",
            "You are not a member of this organisation. Ask an administrator to add you.", code="not_a_member",
        )  # fmt: skip
    role = connection.default_role if connection.is_enabled else default_role(connection.org_id)
    members.add_member(org_id=connection.org_id, user_id=user_id, role=role)


@transaction.atomic
def note_refusal(*, connection: Connection, error: MindWeaveError) -> None:
    """Keep in the trail that a sign-in by a connection was refused, and why."""
    with org_scope(connection.org_id):
        record(
            action="sso.refused", org_id=connection.org_id, target_type="sso_connection", target_id=connection.pk,
            target_label=connection.name, reason=getattr(error, "reason", error.detail or error.title)[:300],
        )  # fmt: skip


# ---------------------------------------------------------------- assertions of SAML
@transaction.atomic
def receive_assertion(*, connection: Connection, answer: SamlAnswer) -> str:
    """Keep a valid answer until its browser comes for it; returns the ticket that it comes with.

    The provider's POST comes from another site, so without our cookie: that the browser asked for the answer can only
    be seen a moment later. :class:`SsoRefused` where the assertion was used before.
    """
    ticket, arrival = new_token(), answer.arrival
    body = {
        "subject": arrival.subject,
        "email": arrival.email,
        "name": arrival.name,
        "groups": None if arrival.groups is None else list(arrival.groups),
        "claims": arrival.claims,
        "authenticated_at": arrival.authenticated_at and arrival.authenticated_at.isoformat(),
    }
    with org_scope(connection.org_id):
        try:
            with transaction.atomic():
                row = UsedAssertion.objects.create(
                    org_id=connection.org_id, connection=connection, assertion_id=answer.assertion_id[:300],
                    expires_at=answer.expires_at, ticket=token_digest(ticket, _TICKET),
                    in_response_to=answer.in_response_to[:300], answer=body,
                )  # fmt: skip
        except IntegrityError as error:
            raise SsoRefused("the assertion was used before", code="assertion_replayed") from error
        record(
            action="sso.assertion_received", org_id=connection.org_id, target_type="sso_connection",
            target_id=connection.pk, target_label=connection.name, after={"assertion": row.assertion_id},
        )  # fmt: skip
    return ticket


@transaction.atomic
def take_assertion(*, connection: Connection, ticket: str) -> tuple[Arrival, str, datetime]:
    """What :func:`receive_assertion` kept, once: who arrives, the request that it answers, and the answer's end."""
    with org_scope(connection.org_id):
        row: UsedAssertion | None = (
            UsedAssertion.objects.select_for_update()
            .filter(connection=connection, ticket__in=token_digests(ticket, _TICKET))
            .first()
        )
        if row is None or row.answer is None or row.expires_at <= now():
            raise SsoRefused("the answer was taken up before, or is too old", code="assertion_replayed")
        body = row.answer
        row.ticket = row.answer = None
        row.save(update_fields=["ticket", "answer"])
        record(
            action="sso.assertion_received", org_id=connection.org_id, target_type="sso_connection",
            target_id=connection.pk, target_label=connection.name, after={"taken_up": row.assertion_id},
        )  # fmt: skip
    groups, shown_at = body["groups"], body.get("authenticated_at")
    arrival = Arrival(
        subject=body["subject"],
        email=body["email"],
        name=body["name"],
        groups=None if groups is None else tuple(groups),
        claims=body["claims"],
        authenticated_at=datetime.fromisoformat(shown_at) if shown_at else None,
    )
    return arrival, row.in_response_to, row.expires_at


def forget_assertions() -> int:
    """Delete assertions that have expired: no clock takes them any more; returns how many."""
    deleted, _ = UsedAssertion.objects.filter(expires_at__lt=now()).delete()
    return int(deleted)
