"""What views ask of the person behind a request, and what the pages of their account have in common."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.urls import reverse

from apps.core.errors import NotAuthenticated
from apps.core.registry import account_tabs

__all__ = ["account_context", "user_id_of"]


def user_id_of(request: HttpRequest) -> UUID:
    """The id of the signed-in person; :class:`NotAuthenticated` where nobody is."""
    user_id = request.user.pk
    if user_id is None:
        raise NotAuthenticated()
    return user_id


@dataclass(frozen=True, slots=True)
class _Tab:
    key: str
    label: str
    url: str


def account_context(tab: str) -> dict[str, Any]:
    """What ``account.html`` needs: all pages of a person's account, and which of them this is."""
    return {"tab": tab, "tabs": [_Tab(item.key, item.label, reverse(item.url_name)) for item in account_tabs.all()]}
