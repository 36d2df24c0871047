"""People whose address somebody's invitation reached: the link in their mail proves that it is theirs."""

from uuid import UUID

from django.db import transaction
from django.http import HttpRequest

from apps.audit.services import record
from apps.core.authentication import client_ip
from apps.core.clock import now
from apps.events.services import publish
from apps.identity import services
from apps.identity.contracts import UserInfo
from apps.identity.models import User
from apps.identity.ports import login_policy

__all__ = ["confirm_address", "sign_up_invited"]


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
