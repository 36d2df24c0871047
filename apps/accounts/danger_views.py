"""Settings → Leave and delete: what is hard to undo, each with what it means."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from apps.accounts import selectors, services
from apps.accounts.forms import DeleteForm, TransferForm
from apps.accounts.member_fields import Choices, members_listed, named
from apps.accounts.models import Role
from apps.accounts.org_exports import latest_export
from apps.accounts.ports import keys_of_members
from apps.accounts.web import can, org_page
from apps.core.errors import Conflict, MindWeaveError
from apps.core.web.forms import add_problem, sentence
from apps.identity.web import step_up_required, user_id_of

__all__ = ["danger_page", "settings_delete", "settings_export", "settings_leave", "settings_transfer"]


@org_page(capability="org.read", title="Leave and delete", key="settings")
@never_cache
@require_safe
def danger_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/settings/danger``: leaving; for owners also another owner, an export of everything, and the end."""
    return _page(request)


def _page(request: HttpRequest, transfer: TransferForm | None = None, delete: DeleteForm | None = None) -> HttpResponse:
    org: Any = request.org  # type: ignore[attr-defined]
    me = user_id_of(request)
    context: dict[str, Any] = {
        "tab": "danger",
        "keys": keys_of_members.get().count(org.id, me),
        "may_delete": can(request, "org.delete"),
    }
    if _is_owner(request):
        context |= {
            "is_owner": True,
            "transfer": transfer or _transfer_form(request),
            "delete": delete or DeleteForm(slug=org.slug, auto_id="delete_%s"),
            "export": latest_export(org.id),
            "grace": _grace_days(),
        }
    refused = any(form is not None and form.errors for form in (transfer, delete))
    return render(request, "accounts/danger.html", context, status=400 if refused else 200)


def _grace_days() -> int:
    from django.conf import settings

    days: int = settings.ORG_GRACE_DAYS
    return days


def _is_owner(request: HttpRequest) -> bool:
    return bool(request.membership.role == Role.OWNER)  # type: ignore[attr-defined]


def _transfer_form(request: HttpRequest) -> TransferForm | None:
    """The form that hands the organisation over; None where there is nobody else."""
    people = _successors(request)
    return None if people == [] else TransferForm(org_id=request.org.id, people=people)  # type: ignore[attr-defined]


def _successors(request: HttpRequest) -> Choices:
    me, found = user_id_of(request), members_listed(request.org.id)  # type: ignore[attr-defined]
    return named(None if found is None else [one for one in found if one.user_id != me and one.is_active])


@org_page(capability="org.read", title="Leave", key="settings", personal=True)
@require_POST
def settings_leave(request: HttpRequest) -> HttpResponse:
    """Leave the organisation; the last owner stays and is told why."""
    org = request.org  # type: ignore[attr-defined]
    try:
        services.remove_member(org_id=org.id, user_id=user_id_of(request), by_user_id=user_id_of(request))
    except Conflict as error:
        messages.error(request, f"{sentence(error)}. Make somebody else an owner first, or delete the organisation.")
        return redirect("settings_danger", org.slug)
    messages.success(request, f"You left {org.name}.")
    return redirect("start")


@org_page(capability="org.delete", title="Another owner", key="settings", personal=True)
@step_up_required
@require_POST
def settings_transfer(request: HttpRequest) -> HttpResponse:
    """Hand the organisation to another member."""
    org = request.org  # type: ignore[attr-defined]
    form = TransferForm(request.POST, org_id=org.id, people=_successors(request))
    if not form.is_valid():
        return _page(request, transfer=form)
    data = form.cleaned_data
    try:
        services.transfer_ownership(
            org_id=org.id, to_user_id=data["user_id"], by_user_id=user_id_of(request), stay_owner=data["stay_owner"]
        )
    except MindWeaveError as error:
        add_problem(form, error)
        return _page(request, transfer=form)
    new = selectors.member_info(org_id=org.id, user_id=data["user_id"])
    you = "You stay one beside them." if data["stay_owner"] else "You are an admin now."
    messages.success(request, f"{new.label} is an owner of {org.name}. {you}")
    return redirect("settings_danger", org.slug)


@org_page(capability="org.delete", title="Export", key="settings", personal=True)
@step_up_required
@require_POST
def settings_export(request: HttpRequest) -> HttpResponse:
    """Have everything put into a file."""
    org = request.org  # type: ignore[attr-defined]
    try:
        services.request_export(org_id=org.id, by_user_id=user_id_of(request))
    except MindWeaveError as error:
        messages.error(request, f"{sentence(error)}.")
    else:
        messages.success(request, "The export is being made. A mail tells you when it is there.")
    return redirect(f"{reverse('settings_danger', args=[org.slug])}#export")


@org_page(capability="org.delete", title="Delete", key="settings", personal=True)
@step_up_required
@require_POST
def settings_delete(request: HttpRequest) -> HttpResponse:
    """Delete the organisation, once its short name was typed."""
    org = request.org  # type: ignore[attr-defined]
    form = DeleteForm(request.POST, slug=org.slug, auto_id="delete_%s")
    if not form.is_valid():
        return _page(request, delete=form)
    services.delete_organization(org_id=org.id)
    messages.success(request, f"{org.name} is deleted. Until it is erased you can restore it here.")
    return redirect("account_organisations")
