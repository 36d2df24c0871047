"""Settings → Members → Invitations: who was asked, asking many at once, asking again, taking back."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts import selectors as accounts
from apps.accounts.contracts import RoleInfo
from apps.accounts.web import capabilities, org_page
from apps.core.errors import MindWeaveError
from apps.core.web.forms import add_problem, new_once, sentence, take_once
from apps.identity.web import user_id_of
from apps.teams import selectors, services
from apps.teams.invitation_csv import Line, decoded, look_through
from apps.teams.invitation_forms import InviteFileForm, InviteForm
from apps.teams.invitation_selectors import invitation_info, invitation_list, seats
from apps.teams.models import Invitation

__all__ = [
    "invitation_resend",
    "invitation_revoke",
    "invitations_page",
    "invite_form",
    "invite_many",
    "invite_one",
    "roles_to_give",
]

_PAGE = 50
# What a person may be given where nothing else was chosen.
_COMMON_ROLE = "developer"
_STATES = (("open", "Open"), ("expired", "Expired"), ("accepted", "Accepted"), ("revoked", "Taken back"))


def roles_to_give(request: HttpRequest, roles: list[RoleInfo]) -> list[RoleInfo]:
    """Those that hold nothing which the reader of the page does not."""
    held = capabilities(request)
    return [role for role in roles if role.capabilities <= held]


def _initial(roles: list[RoleInfo]) -> dict[str, str]:
    return {"role": _COMMON_ROLE} if any(role.key == _COMMON_ROLE for role in roles) else {}


# ---------------------------------------------------------------- one
def invite_form(request: HttpRequest, roles: list[RoleInfo], data: Any = None) -> InviteForm:
    """The form that asks one person, with those of the organisation's roles that the reader may give."""
    giveable = roles_to_give(request, roles)
    teams = selectors.team_names(request.org.id)  # type: ignore[attr-defined]
    return InviteForm(data, roles=giveable, teams=teams, initial=_initial(giveable))


def invite_one(request: HttpRequest, form: InviteForm) -> bool:
    """Ask whom a valid form names; what speaks against it goes onto the form."""
    org = request.org  # type: ignore[attr-defined]
    try:
        info = services.invite_member(org_id=org.id, by_user_id=user_id_of(request), **form.wanted())
    except MindWeaveError as error:
        if error.code in ("already_member", "already_invited"):
            form.add_error("email", f"{sentence(error)}.")
        else:
            add_problem(form, error)
        return False
    messages.success(
        request, f"{info.email} was asked to join as {accounts.role_label(org_id=org.id, role=info.role)}."
    )
    return True


# ---------------------------------------------------------------- the list
@org_page(capability="member.manage", title="Invitations", key="settings")
@never_cache
@require_safe
def invitations_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/settings/members/invitations``: the newest first, with what became of each."""
    org = request.org  # type: ignore[attr-defined]
    asked = request.GET.get("page", "1")
    page = max(int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 7 else 1, 1)
    rows = list(invitation_list(org.id).order_by("-created_at", "-id")[(page - 1) * _PAGE : page * _PAGE + 1])
    teams = selectors.team_names(org.id)
    roles = {role.key: role.name for role in accounts.roles_of_org(org.id)}
    context = {
        "tab": "members",
        "rows": [_shown(row, teams, roles) for row in rows[:_PAGE]],
        "before": page - 1 if page > 1 else None,
        "after": page + 1 if len(rows) > _PAGE else None,
        "seats": seats(org.id),
        "words": dict(_STATES),
    }
    return render(request, "teams/invitations.html", context)


def _shown(row: Invitation, teams: dict[UUID, str], roles: dict[str, str]) -> dict[str, Any]:
    info = invitation_info(row)
    by = row.invited_by
    return {
        "info": info,
        "role": roles.get(info.role, info.role),
        "by": (by.name or by.email) if by else "",
        "teams": [teams[team_id] for team_id in info.team_ids if team_id in teams],
        "can_resend": info.state == "open" or (info.state == "expired" and row.revoked_at is None),
        "can_revoke": info.state == "open",
        "tone": {"open": "", "expired": "warn", "accepted": "ok"}.get(info.state, ""),
        "words": dict(_STATES)[info.state],
    }


@org_page(capability="member.manage", title="Invitations", key="settings", personal=True)
@require_POST
def invitation_resend(request: HttpRequest, invitation_id: UUID) -> HttpResponse:
    """Send one again, with a new link."""
    org = request.org  # type: ignore[attr-defined]
    try:
        info = services.resend_invitation(org_id=org.id, invitation_id=invitation_id, by_user_id=user_id_of(request))
    except MindWeaveError as error:
        messages.error(request, f"{sentence(error)}.")
    else:
        messages.success(request, f"Sent to {info.email} again. The link before is dead.")
    return redirect("invitations", org.slug)


@org_page(capability="member.manage", title="Invitations", key="settings")
@require_POST
def invitation_revoke(request: HttpRequest, invitation_id: UUID) -> HttpResponse:
    """Take one back."""
    org = request.org  # type: ignore[attr-defined]
    try:
        services.revoke_invitation(org_id=org.id, invitation_id=invitation_id)
    except MindWeaveError as error:
        messages.error(request, f"{sentence(error)}.")
    else:
        messages.success(request, "The invitation is taken back; its link is dead.")
    return redirect("invitations", org.slug)


# ---------------------------------------------------------------- many
@org_page(capability="member.manage", title="Invite many", key="settings", personal=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invite_many(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/settings/members/invite``: a file, then every line with what is wrong with it, then the mails."""
    org = request.org  # type: ignore[attr-defined]
    roles = roles_to_give(request, accounts.roles_of_org(org.id))
    form = InviteFileForm(request.POST or None, request.FILES or None, roles=roles, initial=_initial(roles))
    lines: list[Line] = []
    text = ""
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            text = decoded(data["file"].read()) if data.get("file") else data["csv"]
            lines = look_through(
                text, org_id=org.id, by_user_id=user_id_of(request), role=data["role"], message=data["message"]
            )
            if "send" in request.POST and take_once(request):
                return _send(request, lines)
        except MindWeaveError as error:
            add_problem(form, error)
    return _many(request, form, lines, text)


def _send(request: HttpRequest, lines: list[Line]) -> HttpResponse:
    org = request.org  # type: ignore[attr-defined]
    wanted = [line.wanted for line in lines if line.wanted]
    made = services.invite_members(org_id=org.id, invitations=wanted, by_user_id=user_id_of(request))
    left = len(lines) - len(wanted)
    said = f" {left} line{'s' if left != 1 else ''} {'were' if left != 1 else 'was'} left out." if left else ""
    messages.success(request, f"{len(made)} {'people were' if len(made) != 1 else 'person was'} asked to join.{said}")
    return redirect("invitations", org.slug)


def _many(request: HttpRequest, form: InviteFileForm, lines: list[Line], text: str) -> HttpResponse:
    good = sum(1 for line in lines if not line.problem)
    places = seats(request.org.id)  # type: ignore[attr-defined]
    context = {
        "tab": "members",
        "form": form,
        "lines": lines,
        "good": good,
        "bad": len(lines) - good,
        "text": text,
        "role": form.cleaned_data.get("role", "") if form.is_bound and form.is_valid() else "",
        "message": form.cleaned_data.get("message", "") if form.is_bound and form.is_valid() else "",
        "seats": places,
        "too_many": places.free is not None and good > places.free,
        "once": new_once(),
    }
    template = "teams/invite_preview.html" if lines and not form.errors else "teams/invite_many.html"
    return render(request, template, context, status=400 if form.errors else 200)
