"""Reads of invitations."""

from uuid import UUID

from django.db.models import QuerySet

from apps.accounts import selectors as accounts
from apps.core import ports
from apps.core.clock import now
from apps.core.crypto import token_digests
from apps.core.tenancy import org_scope, system_scope
from apps.teams.contracts import InvitationInfo, Seats
from apps.teams.models import Invitation

__all__ = [
    "PURPOSE",
    "InvitedSeats",
    "invitation_info",
    "invitation_list",
    "open_count",
    "open_invitations",
    "row_of_token",
    "seats",
]

PURPOSE = "invitation"
_LONGEST_TOKEN = 100


def invitation_info(row: Invitation) -> InvitationInfo:
    """The contract of a row, its state as of now."""
    return InvitationInfo(
        id=row.pk,
        org_id=UUID(str(row.org_id)),
        email=row.email,
        role=row.role,
        team_ids=tuple(row.team_ids),
        message=row.message,
        invited_by_id=row.invited_by_id,
        state=row.state_at(now()),
        sendings=row.sendings,
        sent_at=row.sent_at,
        expires_at=row.expires_at,
        created_at=row.created_at,
    )


def invitation_list(org_id: UUID) -> QuerySet[Invitation]:
    """The invitations of an organisation, ended ones too (rows, for this app's own views)."""
    with org_scope(org_id):
        rows: QuerySet[Invitation] = Invitation.objects.select_related("invited_by")
    return rows


def open_invitations(org_id: UUID) -> QuerySet[Invitation]:
    """Those that can still be accepted (rows, for this app's own views)."""
    return invitation_list(org_id).filter(accepted_at=None, revoked_at=None, expires_at__gt=now())


def open_count(org_id: UUID) -> int:
    """How many seats are promised."""
    return open_invitations(org_id).count()


def seats(org_id: UUID) -> Seats:
    """The seats of an organisation: allowed, taken, promised."""
    limit = ports.plan_limits.get().limit(org_id, "seats")
    return Seats(limit, accounts.member_count(org_id), open_count(org_id))


def row_of_token(token: str) -> Invitation | None:
    """The invitation that a token of a mail belongs to, whatever its state; None for anything else."""
    if not token or len(token) > _LONGEST_TOKEN:
        return None
    with system_scope("a token says which invitation it is of"):
        rows = Invitation.objects.select_related("org", "invited_by")
        row: Invitation | None = rows.filter(digest__in=token_digests(token, PURPOSE)).first()
    return row


class InvitedSeats:
    """Fills ``accounts.ports.promised_seats``."""

    def promised(self, org_id: UUID) -> int:
        return open_count(org_id)
