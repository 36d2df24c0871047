"""Organisations that require a second factor: who may enter, who cannot yet, and who must keep theirs."""

from uuid import UUID

from apps.accounts.models import Membership, Organization, OrgStatus
from apps.core.context import current
from apps.core.contracts import Actor
from apps.core.errors import Conflict, MindWeaveError, PermissionDenied
from apps.core.tenancy import org_scope, system_scope
from apps.identity import selectors as identity
from apps.identity.contracts import UserInfo

__all__ = ["MfaRequiredByOrg", "OrgFactorPolicy", "factor_refusal", "members_without_factor", "require_own_factor"]

# A passkey is two factors in one: the device, and what unlocks it.
_SECOND = frozenset({"mfa", "passkey"})


class MfaRequiredByOrg(PermissionDenied):
    """403: the person belongs here, and their sign-in lacks a second factor."""

    code, title = "mfa_required_by_org", "This organisation requires a second factor"


def factor_refusal(actor: Actor, *, org_id: UUID, requires_mfa: bool) -> MindWeaveError | None:
    """Why this sign-in does not enter the organisation, or None where it does.

    The organisation's own single sign-on is enough; another's is not, since whoever runs that could make it so. Keys
    are not asked, nor staff in a member's place, who showed a factor of their own.
    """
    if not requires_mfa or actor.kind != "user" or actor.impersonator_id is not None:
        return None
    if actor.methods & (_SECOND | {f"sso:{org_id}"}):
        return None
    return MfaRequiredByOrg(
        "Set up a second factor on the Security page of your account, or show it at /auth/step-up, then try again",
        extra={"security_url": "/account/security"},
    )


def require_own_factor(org_id: UUID) -> None:
    """Refuse a person whose own sign-in would be shut out by what they are about to require."""
    if factor_refusal(current().actor, org_id=org_id, requires_mfa=True):
        raise Conflict(
            "You would shut yourself out: set up a second factor of your own and sign in with it first",
            code="own_factor_missing",
        )


def members_without_factor(org_id: UUID) -> list[UserInfo]:
    """The members whose account has no second factor, by address."""
    with org_scope(org_id):
        ids = list(Membership.objects.values_list("user_id", flat=True))
    missing = identity.users_by_ids(identity.users_without_factor(ids))
    return sorted(missing.values(), key=lambda person: person.email)


class OrgFactorPolicy:
    """Fills ``identity.ports.factor_policy`` out of memberships."""

    def required_by(self, user_id: UUID) -> str:
        with system_scope("a person's factors protect every organisation of theirs"):
            mine = Membership.objects.filter(user_id=user_id).values("org_id")
            found = Organization.objects.filter(pk__in=mine, requires_mfa=True).exclude(status=OrgStatus.DELETED)
            return found.values_list("name", flat=True).first() or ""
