"""What teams keeps of a person: their teams, and invitations by and for them."""

from typing import Any

from apps.core.personal import PersonalData, Subject, listed, register_personal
from apps.teams.models import Invitation, TeamMembership

__all__ = ["register"]

_INVITATION = ("org_id", "org__name", "role", "sent_at", "expires_at", "accepted_at", "revoked_at")


def _export(subject: Subject) -> dict[str, Any]:
    """Whom they invited is not in it: those addresses are other people's."""
    person = subject.user_id
    teams = TeamMembership.objects.filter(user_id=person).order_by("created_at")
    theirs = Invitation.objects.filter(email__in=subject.emails).order_by("created_at")
    sent = Invitation.objects.filter(invited_by_id=person).order_by("created_at")
    return {
        "teams": listed(list(teams.values("org_id", "team__name", "is_primary", "created_at"))),
        "invitations": listed(list(theirs.values("email", *_INVITATION))),
        "invitations_sent": listed(list(sent.values("message", *_INVITATION))),
    }


def _erase(subject: Subject) -> int:
    """Invitations that they sent stay, without their words: the address in them is somebody else's."""
    gone = int(TeamMembership.objects.filter(user_id=subject.user_id).delete()[0])
    gone += int(Invitation.objects.filter(email__in=subject.emails).delete()[0])
    sent = Invitation.objects.filter(invited_by_id=subject.user_id).exclude(message="")
    return gone + int(sent.update(message=""))


def register() -> None:
    """Make the share known."""
    register_personal(PersonalData("teams", "Teams and invitations", _export, _erase, order=20))
