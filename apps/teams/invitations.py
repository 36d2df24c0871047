"""Asking people to join an organisation: by mail, with a role and teams, for a time, once.

Seats: where the plan limits them, members and open invitations together never exceed them; all that takes a seat goes
through one lock an organisation (:mod:`apps.accounts.seats`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from apps.accounts import selectors as accounts
from apps.accounts import services as members
from apps.accounts.permissions import capabilities_of_role, may_give
from apps.accounts.seats import lock_seats, require_seats
from apps.audit.services import record
from apps.core import ports
from apps.core.clock import now
from apps.core.contracts import Actor
from apps.core.crypto import new_token, token_digest
from apps.core.errors import (
    Conflict,
    FieldError,
    MindWeaveError,
    NotFound,
    PermissionDenied,
    RateLimited,
    ValidationFailed,
)
from apps.core.ratelimit import Limit, enforce
from apps.core.tenancy import org_scope, require_org_id
from apps.events.services import publish
from apps.identity import selectors as identity
from apps.identity.invited import confirm_address
from apps.identity.selectors import normal_email
from apps.notify.services import send_email
from apps.teams import groups, selectors
from apps.teams.contracts import InvitationInfo
from apps.teams.invitation_selectors import PURPOSE, invitation_info, open_invitations, row_of_token
from apps.teams.models import Invitation, Team
from apps.teams.ports import check_place

__all__ = [
    "MAX_MESSAGE",
    "NewInvitation",
    "accept_invitation",
    "invite_member",
    "invite_members",
    "prune_invitations",
    "resend_invitation",
    "revoke_invitation",
]

MAX_MESSAGE = 500
MAX_SENDINGS = 6
MAX_TEAMS = 20
_BETWEEN_SENDINGS = timedelta(minutes=1)
_KEPT_AFTER_THE_END = timedelta(days=90)
# Mail in others' name is worth having to whoever sends spam.
_PER_ORG = Limit("invitations", 2000, 86_400)


@dataclass(frozen=True, slots=True)
class NewInvitation:
    """Whom to ask, and to what."""

    email: str
    role: str
    team_ids: tuple[UUID, ...] = ()
    message: str = ""


# ---------------------------------------------------------------- asking
def invite_member(
    *,
    org_id: UUID,
    email: str,
    role: str,
    team_ids: Sequence[UUID] = (),
    message: str = "",
    by_user_id: UUID | None = None,
) -> InvitationInfo:
    """Ask somebody by mail to join; the link in it works once and for ``INVITATION_DAYS``.

    Raises :class:`PermissionDenied` for a role above the inviter's own (``role_ceiling``; ``by_user_id`` None is the
    system) and where the plan's seats are taken (``plan_limit_reached``, with their numbers), :class:`Conflict` for a
    member (``already_member``) and an address that holds an open invitation (``already_invited``).
    """
    wanted = NewInvitation(email, role, tuple(team_ids), message)
    return invite_members(org_id=org_id, invitations=[wanted], by_user_id=by_user_id)[0]


@transaction.atomic
def invite_members(
    *, org_id: UUID, invitations: Sequence[NewInvitation], by_user_id: UUID | None = None
) -> list[InvitationInfo]:
    """:func:`invite_member` for several: all of them or none. The first that cannot be asked raises."""
    org = accounts.org_get(org_id)
    enforce(_PER_ORG, str(org_id), detail="Too many invitations of this organisation today", cost=len(invitations))
    with org_scope(org_id):
        lock_seats(org_id)
        require_seats(org_id=org_id, wanted=len(invitations))
        return [_invite(org.name, wanted, by_user_id) for wanted in invitations]


def _invite(org_name: str, wanted: NewInvitation, by_user_id: UUID | None) -> InvitationInfo:
    wanted = checked(wanted)
    org_id = require_org_id()
    require_may_give(org_id=org_id, by_user_id=by_user_id, role=wanted.role, team_ids=wanted.team_ids)
    if problem := standing(org_id, wanted.email):
        raise problem
    moment = now()
    # What expired makes room for a new one; that it did stays to be seen.
    Invitation.objects.filter(
        email=wanted.email, accepted_at=None, revoked_at=None, expires_at__lte=moment
    ).update(revoked_at=moment, updated_at=moment)  # fmt: skip
    token = new_token()
    row = Invitation(
        org_id=org_id, email=wanted.email, role=wanted.role, team_ids=list(wanted.team_ids), message=wanted.message,
        digest=token_digest(token, PURPOSE), invited_by_id=by_user_id, sent_at=moment, expires_at=_end(),
    )  # fmt: skip
    row.save(force_insert=True)
    _send(row, token, org_name)
    after = {"role": row.role, "team_ids": [str(each) for each in row.team_ids], "expires_at": row.expires_at}
    _tell(row, "invitation.created", after=after)
    publish(
        type="member.invited", org_id=org_id,
        data={"org_id": str(org_id), "invitation_id": str(row.pk), "role": row.role},
    )  # fmt: skip
    return invitation_info(row)


def checked(wanted: NewInvitation) -> NewInvitation:
    """The same in its one spelling; :class:`ValidationFailed` names all that is wrong. Needs the org's scope."""
    problems: list[FieldError] = []
    email, message = normal_email(wanted.email), " ".join(wanted.message.split())
    try:
        validate_email(email)
    except ValidationError:
        problems.append({"pointer": "/email", "detail": "This is not an e-mail address"})
    if len(email) > 254:
        problems.append({"pointer": "/email", "detail": "254 characters at most"})
    if accounts.role_find(org_id=require_org_id(), role=wanted.role) is None:
        problems.append({"pointer": "/role", "detail": "There is no such role"})
    if len(message) > MAX_MESSAGE:
        problems.append({"pointer": "/message", "detail": f"{MAX_MESSAGE} characters at most"})
    if any(sign in message.lower() for sign in ("://", "www.")):
        # The mail is ours: a stranger's link in it would have our good name.
        problems.append({"pointer": "/message", "detail": "No links: the mail has the one that matters"})
    known = set(Team.objects.filter(pk__in=wanted.team_ids).values_list("pk", flat=True))
    if len(wanted.team_ids) > MAX_TEAMS or set(wanted.team_ids) - known:
        problems.append({"pointer": "/team_ids", "detail": f"Teams of the organisation, {MAX_TEAMS} at most"})
    if problems:
        raise ValidationFailed("The invitation is not valid", errors=problems)
    return NewInvitation(email, wanted.role, tuple(dict.fromkeys(wanted.team_ids)), message)


def require_may_give(*, org_id: UUID, by_user_id: UUID | None, role: str, team_ids: Iterable[UUID] = ()) -> None:
    """Nobody gives a role above their own (``role_ceiling``), nor by teams what they do not hold (``grant_ceiling``).

    ``by_user_id`` None is the system.
    """
    if by_user_id is not None and not may_give(org_id=org_id, by_user_id=by_user_id, role=role):
        raise PermissionDenied("This role is above your own", code="role_ceiling")
    held = capabilities_of_role(org_id=org_id, role=role)
    for team_id in team_ids:
        check_place(org_id, team_id, held, by_user_id)


def standing(org_id: UUID, email: str) -> MindWeaveError | None:
    """Why an address needs no invitation: its owner is in, or is asked already."""
    person = identity.user_by_email(email)
    if person is not None and accounts.role_of(org_id=org_id, user_id=person.id) is not None:
        return Conflict("They are a member already", code="already_member")
    if open_invitations(org_id).filter(email=email).exists():
        return Conflict("They have an open invitation; send it again instead", code="already_invited")
    return None


def _end() -> Any:
    return now() + timedelta(days=settings.INVITATION_DAYS)


def _send(row: Invitation, token: str, org_name: str) -> None:
    inviter = identity.user_find(row.invited_by_id) if row.invited_by_id else None
    role = accounts.role_label(org_id=UUID(str(row.org_id)), role=row.role)
    context = {
        "org": org_name, "role": role, "message": row.message, "token": token, "expires_at": row.expires_at,
        "inviter": inviter.label if inviter else "", "email": row.email,
    }  # fmt: skip
    send_email(to=row.email, template="invitation", context=context, org_id=UUID(str(row.org_id)))


# ---------------------------------------------------------------- changing one's mind
@transaction.atomic
def resend_invitation(*, org_id: UUID, invitation_id: UUID, by_user_id: UUID | None = None) -> InvitationInfo:
    """Send an invitation again, with a new link and a new end; the link before is dead at once.

    Whoever sends it stands for it from now on, so its role may not be above theirs. An expired one takes a seat anew.
    :class:`RateLimited` within a minute, :class:`Conflict` after six sendings (``too_many_sendings``) and for one that
    was accepted or revoked (``invitation_closed``).
    """
    org = accounts.org_get(org_id)
    with org_scope(org_id):
        lock_seats(org_id)
        row = _row(invitation_id)
        moment = now()
        state = row.state_at(moment)
        if state not in (Invitation.State.OPEN, Invitation.State.EXPIRED) or row.revoked_at is not None:
            raise Conflict("This invitation is closed; make a new one", code="invitation_closed")
        require_may_give(org_id=org_id, by_user_id=by_user_id, role=row.role, team_ids=row.team_ids)
        if row.sendings >= MAX_SENDINGS:
            raise Conflict(f"It was sent {row.sendings} times; ask them another way", code="too_many_sendings")
        wait = row.sent_at + _BETWEEN_SENDINGS - moment
        if wait > timedelta():
            raise RateLimited("It was sent a moment ago", retry_after=-(-int(wait.total_seconds() * 1000) // 1000))
        enforce(_PER_ORG, str(org_id), detail="Too many invitations of this organisation today")
        if state == Invitation.State.EXPIRED:
            require_seats(org_id=org_id, wanted=1)
        token, before = new_token(), {"sendings": row.sendings, "expires_at": row.expires_at}
        row.digest, row.sent_at, row.expires_at = token_digest(token, PURPOSE), moment, _end()
        row.sendings, row.invited_by_id = row.sendings + 1, by_user_id
        row.save()
        _send(row, token, org.name)
        _tell(row, "invitation.resent", before=before, after={"sendings": row.sendings, "expires_at": row.expires_at})
        return invitation_info(row)


@transaction.atomic
def revoke_invitation(*, org_id: UUID, invitation_id: UUID) -> None:
    """Take an invitation back: its link is dead at once and its seat free. Repeating it is harmless."""
    with org_scope(org_id):
        row = _row(invitation_id)
        if row.accepted_at is not None:
            raise Conflict("They have joined; remove the member instead", code="invitation_closed")
        if row.revoked_at is not None:
            return
        Invitation.objects.filter(pk=row.pk).update(revoked_at=now(), updated_at=now())
        _tell(row, "invitation.revoked", before={"role": row.role})


def _row(invitation_id: UUID) -> Invitation:
    row: Invitation | None = Invitation.objects.select_for_update().filter(pk=invitation_id).first()
    if row is None:
        raise NotFound()
    return row


# ---------------------------------------------------------------- joining
@transaction.atomic
def accept_invitation(*, token: str, user_id: UUID) -> UUID:
    """Join the organisation that invited; returns its id. The link in the mail proves the address, too.

    :class:`NotFound` for what is no invitation, or one of an organisation that is gone; :class:`PermissionDenied`
    for somebody with another address (``invitation_for_another_address``) and for a suspended organisation;
    :class:`Conflict` for one that is used, revoked or expired (``invitation_used``, ``…_revoked``, ``…_expired``), and
    where whoever invited may no longer give the role (``invitation_void``).
    """
    found = row_of_token(token)
    if found is None:
        raise NotFound()
    org_id = UUID(str(found.org_id))
    org = accounts.org_get(org_id)
    with org_scope(org_id):
        # The person first, as their erasure does it; then what is the organisation's.
        person = identity.user_held(user_id)
        lock_seats(org_id)
        row = _row(found.pk)
        if bytes(row.digest) != bytes(found.digest):
            raise NotFound()  # sent again in this very moment
        _check_open(row)
        if normal_email(person.email) != row.email:
            detail = "This invitation is for another address than the one you are signed in with"
            raise PermissionDenied(detail, code="invitation_for_another_address")
        if org.status != "active":
            raise PermissionDenied("This organisation is suspended", code="org_suspended")
        _check_inviter(row)
        # First closed, then joined: its seat becomes the member's.
        moment = now()
        Invitation.objects.filter(pk=row.pk).update(accepted_at=moment, accepted_by_id=user_id, updated_at=moment)
        confirm_address(user_id=user_id)
        if accounts.role_of(org_id=org_id, user_id=user_id) is None:
            members.add_member(org_id=org_id, user_id=user_id, role=row.role, by_user_id=row.invited_by_id)
        for team_id in selectors.team_list(org_id).filter(pk__in=row.team_ids).values_list("pk", flat=True):
            groups.add_team_member(org_id=org_id, team_id=team_id, user_id=user_id)
        _tell(row, "invitation.accepted", after={"role": row.role, "user_id": user_id})
    return org_id


def _check_open(row: Invitation) -> None:
    said = {
        Invitation.State.ACCEPTED: ("invitation_used", "This invitation was used already"),
        Invitation.State.REVOKED: ("invitation_revoked", "This invitation was taken back; ask for a new one"),
        Invitation.State.EXPIRED: ("invitation_expired", "This invitation has expired; ask for a new one"),
    }
    if refusal := said.get(Invitation.State(row.state_at(now()))):
        raise Conflict(refusal[1], code=refusal[0])


def _check_inviter(row: Invitation) -> None:
    """Rights that were lost since the sending are lost for it: nobody comes in on the word of who left."""
    if row.invited_by_id is None:
        return
    org_id = UUID(str(row.org_id))
    void = Conflict(
        "Whoever invited you may no longer give this role; ask for a new invitation", code="invitation_void"
    )
    if not ports.permissions.get().check(Actor(kind="user", id=row.invited_by_id), "member.manage", org_id):
        raise void
    try:
        require_may_give(org_id=org_id, by_user_id=row.invited_by_id, role=row.role, team_ids=row.team_ids)
    except PermissionDenied as error:
        raise void from error


# ---------------------------------------------------------------- roles that go
def count_of_role(org_id: UUID, role: str) -> int:
    """How many open invitations name a role."""
    return open_invitations(org_id).filter(role=role).count()


def replace_role(org_id: UUID, role: str, other: str) -> None:
    """Let invitations that name a role name another: in the transaction that deletes it and tells of it."""
    with org_scope(org_id):
        Invitation.objects.filter(role=role, accepted_at=None, revoked_at=None).update(role=other, updated_at=now())


# ---------------------------------------------------------------- retention
def prune_invitations() -> int:
    """Delete invitations that ended 90 days ago, addresses and all; the trail keeps what happened. Returns how many."""
    old = now() - _KEPT_AFTER_THE_END
    ended = Invitation.objects.filter(expires_at__lt=old) | Invitation.objects.filter(accepted_at__lt=old)
    ended |= Invitation.objects.filter(revoked_at__lt=old)
    deleted, _ = Invitation.objects.filter(pk__in=ended.values("pk")).delete()
    return int(deleted)


def _tell(row: Invitation, action: str, **details: Any) -> None:
    record(
        action=action, org_id=UUID(str(row.org_id)), target_type="invitation", target_id=row.pk, target_label=row.email,
        **details,
    )  # fmt: skip
