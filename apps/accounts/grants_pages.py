"""What the pages that give and take rights on single things have in common; the apps of such things say on what."""

from collections.abc import Callable, Iterable
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest

from apps.accounts.grants import Grantable, GrantInfo
from apps.accounts.grants_forms import GrantForm
from apps.accounts.member_fields import members_listed, named
from apps.core.errors import MindWeaveError
from apps.core.web.forms import sentence

__all__ = ["end_access", "give_access"]


def give_access(
    request: HttpRequest,
    *,
    kind: Grantable,
    name: str,
    give: Callable[[UUID, list[str]], GrantInfo],
    teams: Iterable[tuple[UUID, str]] | None = None,
) -> None:
    """Do what the form that was sent asks for (grantee, capabilities), and say how it went.

    ``teams`` are those that can be given something on this kind of thing; None where only members can.
    """
    org_id: UUID = request.org.id  # type: ignore[attr-defined]
    form = GrantForm(
        request.POST, kind=kind, org_id=org_id, held=frozenset(kind.capabilities), teams=teams or (),
        people=named(members_listed(org_id)),
    )  # fmt: skip
    if not form.is_valid():
        whom = "a member" if teams is None else "a member or a team"
        messages.error(request, f"Choose {whom}, and at least one thing that they may do.")
        return
    try:
        given = give(form.cleaned_data["grantee"], form.cleaned_data["capabilities"])
    except MindWeaveError as error:
        messages.error(request, f"{sentence(error)}.")
    else:
        messages.success(request, f"{given.name} may now do this with {name}.")


def end_access(request: HttpRequest, end: Callable[[], None]) -> None:
    """Take rights away, and say how it went."""
    try:
        end()
    except MindWeaveError as error:
        messages.error(request, f"{sentence(error)}.")
    else:
        messages.success(request, "Taken away.")
