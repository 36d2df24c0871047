"""People whose address somebody's invitation reached: the link in their mail proves that it is theirs."""

from uuid import UUID

from django.db import transaction
from django.http import HttpRequest

from apps.audit.services import record
from apps.core.authentication import client_ip
from apps.core.clock import now
from apps.core.errors import Conflict, NotFound
from apps.events.services import publish
from apps.identity import services
from apps.identity.contracts import UserInfo
from apps.identity.models import User
from apps.identity.ports import login_policy
from apps.identity.selectors import user_info

__all__ = ["confirm_address", "hold_person", "sign_up_invited"]


def hold_person(user_id: UUID) -> UserInfo:
    """A person whose account is open, and stays so until the caller's transaction ends; it is taken before other locks.

    Whoever is being erased, or closed, in this moment is waited for. :class:`NotFound` where there is nobody,
    :class:`Conflict` (``account_closed``) where their account is closed.
    """
    user = User.objects.select_for_update(no_key=True).filter(pk=user_id).first()
    if user is None:
        raise NotFound()
    if not user.is_active:
        raise Conflict("Their account is closed", code="account_closed")
    return user_info(user)


@transaction.atomic
def confirm_address(*, user_id: UUID) -> None:
    """Take a person's address for verified; repeating it is harmless."""
    if User.objects.filter(pk=user_id, email_verified_at=None).update(email_verified_at=now()) != 1:
        return
    user = User.objects.get(pk=user_id)
    record(
        action="user.updated", org_id=None, target_type="user", target_id=user.pk, target_label=user.email,
        before={"email_verified": False}, after={"email_verified": True},
    )  # fmt: skip
    publish(
        type="user.updated", org_id=None, user_id=user.pk,
        data={"user_id": str(user.pk), "changed": ["email_verified_at"]},
    )  # fmt: skip


def sign_up_invited(*, request: HttpRequest, email: str, name: str, password: str) -> UserInfo:
    """Register the person of an invited address, verified by the mail's link, and sign them in on the web.

    Raises what :func:`apps.identity.services.register` does, and what the login policy says of the address.
    """
    if refusal := login_policy.get().refusal(email, "password"):
        raise refusal
    person = services.register(email=email, password=password, name=name, ip=client_ip(request), email_verified=True)
    services.login_web(request=request, user=User.objects.get(pk=person.id), method="registration")
    return person
