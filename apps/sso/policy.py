"""How a person must sign in: fills identity's port."""

from typing import Any

from apps.core.errors import MindWeaveError, PermissionDenied
from apps.identity import selectors as identity
from apps.identity.ports import SignInMethod
from apps.sso import selectors
from apps.sso.selectors import our_addresses

__all__ = ["SsoLoginPolicy"]


class SsoLoginPolicy:
    """People of a verified domain of an organisation that enforces it sign in by its provider alone.

    A break-glass owner may do without, by a second factor: one who has none any more, or is no owner, is held too.
    """

    def refusal(self, email: str, method: SignInMethod) -> MindWeaveError | None:
        connection = selectors.enforced_connection(email)
        if connection is None:
            return None
        person = identity.user_by_email(email)
        if person is not None and selectors.may_break_glass(org_id=connection.org_id, user_id=person.id):
            return None
        return PermissionDenied(
            "Your organisation signs in by its own identity provider. Choose “Sign in with SSO”.",
            code="sso_required",
            extra={"sso_url": our_addresses(connection)["login_url"]},
        )

    def may_refuse(self, email: str) -> tuple[str, list[Any]]:
        return selectors.IS_OF_VERIFIED_DOMAIN, [selectors.domain_of(email)]
