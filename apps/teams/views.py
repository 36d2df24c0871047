"""Settings: members and teams. The pages of members stand here because they show teams, which accounts cannot know."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts import selectors as accounts
from apps.accounts import services as members
from apps.accounts.member_fields import members_listed, named
from apps.accounts.ports import keys_of_members
from apps.accounts.web import can, capabilities, org_page
from apps.core.errors import Conflict, MindWeaveError, NotFound, PermissionDenied, ValidationFailed
from apps.core.web.forms import add_problem, new_once, sentence, take_once
from apps.identity.web import user_id_of
from apps.teams import selectors, services
from apps.teams.access import granted_here, granted_some
from apps.teams.contracts import TeamInfo
from apps.teams.forms import AddToTeamForm, RoleForm, TeamForm
from apps.teams.invitation_selectors import open_count
from apps.teams.invitation_views import invite_form, invite_one, roles_to_give

__all__ = [
    "member_page",
    "member_remove",
    "members_page",
    "team_delete",
    "team_member_add",
    "team_member_primary",
    "team_member_remove",
    "team_page",
    "teams_page",
]

_PAGE = 25


def uuid_or_none(request: HttpRequest, name: str) -> UUID | None:
    """An id out of a form that was sent; None for what is none."""
    try:
        return UUID(request.POST.get(name, ""))
    except ValueError:
        return None


def _require(request: HttpRequest, capability: str) -> None:
    if not can(request, capability):
        raise PermissionDenied(f"Your role lacks {capability!r} here")


# ---------------------------------------------------------------- members
@org_page(capability="member.read", title="Members", key="settings", personal=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def members_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/settings/members``: who belongs to the organisation, and a form that asks somebody."""
    org = request.org  # type: ignore[attr-defined]
    roles = accounts.roles_of_org(org.id)
    form = invite_form(request, roles, request.POST or None)
    if request.method == "POST":
        _require(request, "member.manage")
        if form.is_valid() and invite_one(request, form):
            return redirect("members", org.slug)
    text = request.GET.get("q", "").replace("\0", "").strip()[:100]
    asked = request.GET.get("page", "1")
    page = int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 7 else 1
    page = max(page, 1)
    rows, total = accounts.member_search(org_id=org.id, text=text, start=(page - 1) * _PAGE, limit=_PAGE)
    in_teams = selectors.teams_of(org.id, [row.user_id for row in rows])
    may_manage = can(request, "member.manage")
    context = {
        "tab": "members",
        "form": form,
        "text": text,
        "rows": [{"member": row, "teams": in_teams.get(row.user_id, [])} for row in rows],
        "total": total,
        "first": (page - 1) * _PAGE + 1,
        "last": (page - 1) * _PAGE + len(rows),
        "before": page - 1 if page > 1 else None,
        "after": page + 1 if page * _PAGE < total else None,
        "roles": roles,
        "may_manage": may_manage,
        "giveable": roles_to_give(request, roles) if may_manage else [],
        "team_names": _teams_to_fill(request) if may_manage else [],
        "invited": open_count(org.id) if may_manage else 0,
        "me": user_id_of(request),
    }
    return render(request, "teams/members.html", context, status=400 if form.errors else 200)


def _teams_to_fill(request: HttpRequest) -> list[tuple[UUID, str]]:
    if not can(request, "team.manage"):
        return []
    named = selectors.team_names(request.org.id)  # type: ignore[attr-defined]
    return sorted(named.items(), key=lambda team: team[1].lower())


@org_page(capability="member.read", title="Member", key="settings", personal=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def member_page(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """``/o/<slug>/settings/members/<id>``: one person; a form for their role, and the end of their membership."""
    org = request.org  # type: ignore[attr-defined]
    member = accounts.member_info(org_id=org.id, user_id=user_id)
    roles = accounts.roles_of_org(org.id)
    own = next(role for role in roles if role.key == member.role)
    form = RoleForm(request.POST or None, roles=roles_to_give(request, roles), initial={"role": member.role})
    if request.method == "POST":
        _require(request, "member.manage")
        if form.is_valid():
            role = form.cleaned_data["role"]
            try:
                members.change_member_role(org_id=org.id, user_id=user_id, role=role, by_user_id=user_id_of(request))
            except Conflict as error:
                add_problem(form, error)
            else:
                label = next(each.label for each in roles if each.key == role)
                messages.success(request, f"{member.label} is now {label} here.")
                return redirect("member", org.slug, user_id)
    context = {
        "tab": "members",
        "member": member,
        "teams": selectors.teams_of(org.id, [user_id]).get(user_id, []),
        "form": form,
        "words": own.description,
        "may_manage": can(request, "member.manage") and own.capabilities <= capabilities(request),
        "givers": [role.label for role in roles if {"member.manage", *own.capabilities} <= role.capabilities],
        "is_me": user_id == user_id_of(request),
        "keys": keys_of_members.get().count(org.id, user_id),
        "me": user_id_of(request),
    }
    return render(request, "teams/member.html", context, status=400 if form.errors else 200)


@org_page(capability="member.manage", title="Members", key="settings", personal=True)
@require_POST
def member_remove(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """Remove a member; who wants to leave does so in the general settings."""
    org = request.org  # type: ignore[attr-defined]
    if user_id == user_id_of(request):
        messages.error(request, "To leave, use “Leave and delete” in the settings.")
        return redirect("member", org.slug, user_id)
    member = accounts.member_info(org_id=org.id, user_id=user_id)
    try:
        members.remove_member(
            org_id=org.id, user_id=user_id, by_user_id=user_id_of(request), keys_to=uuid_or_none(request, "keys_to")
        )
    except (Conflict, ValidationFailed) as error:
        messages.error(request, f"{sentence(error)}.")
        return redirect("member", org.slug, user_id)
    messages.success(request, f"{member.label} was removed.")
    return redirect("members", org.slug)


# ---------------------------------------------------------------- teams
@org_page(capability="team.read", title="Teams", key="settings", granted=granted_some)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def teams_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/settings/teams``: the teams, and a form for a new one."""
    org = request.org  # type: ignore[attr-defined]
    teams = [selectors.team_info(row) for row in selectors.team_list(org.id).order_by("name", "id")]
    if "team.read" not in request.membership.capabilities:  # type: ignore[attr-defined]
        teams = [team for team in teams if team.id in request.granted_teams]  # type: ignore[attr-defined]
    names = {team.id: team.name for team in teams}
    form = TeamForm(request.POST or None, teams={team.id: team.name for team in teams if team.parent_id is None})
    if request.method == "POST":
        _require(request, "team.manage")
        if form.is_valid():
            # A form that is sent twice makes one team: two teams may have the same name.
            if not take_once(request):
                return redirect("teams", org.slug)
            try:
                made = services.create_team(org_id=org.id, **form.cleaned_data)
            except MindWeaveError as error:
                add_problem(form, error)
            else:
                messages.success(request, f"Team {made.name} was made.")
                return redirect("team", org.slug, made.slug)
    sizes = selectors.team_sizes(org.id)
    context = {
        "tab": "teams",
        "form": form,
        "once": new_once(),
        "rows": [
            {
                "team": team,
                "above": names.get(team.parent_id) if team.parent_id else None,
                "size": sizes.get(team.id, 0),
            }
            for team in teams
        ],
        "may_manage": can(request, "team.manage"),
    }
    return render(request, "teams/list.html", context, status=400 if form.errors else 200)


def _by_slug(org_id: UUID, slug: str) -> TeamInfo:
    team = selectors.team_list(org_id).filter(slug=slug).first()
    if team is None:
        raise NotFound()
    return selectors.team_info(team)


@org_page(capability="team.read", title="Team", key="settings", granted=granted_here)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def team_page(request: HttpRequest, team_slug: str) -> HttpResponse:
    """``/o/<slug>/settings/teams/<team>``: who is in it; forms for its name, its members and its end."""
    org = request.org  # type: ignore[attr-defined]
    team = _by_slug(org.id, team_slug)
    teams = [selectors.team_info(row) for row in selectors.team_list(org.id).order_by("name", "id")]
    names = {each.id: each.name for each in teams}
    parts = [each for each in teams if each.parent_id == team.id]
    # One level: a team with parts is part of none, and a part has none.
    others = {} if parts else {each.id: each.name for each in teams if each.id != team.id and each.parent_id is None}
    form = TeamForm(request.POST or None, teams=others, initial={"name": team.name, "parent_id": team.parent_id})
    if request.method == "POST":
        _require(request, "team.manage")
        if form.is_valid():
            try:
                services.update_team(org_id=org.id, team_id=team.id, changes=form.cleaned_data)
            except MindWeaveError as error:
                add_problem(form, error)
            else:
                messages.success(request, "Saved.")
                return redirect("team", org.slug, team.slug)
    rows = selectors.team_members(org_id=org.id, team_id=team.id).order_by("user__email")
    people = [
        {"id": row.user_id, "email": row.user.email, "name": row.user.name, "primary": row.is_primary} for row in rows
    ]
    may_manage = can(request, "team.manage")
    context: dict[str, Any] = {
        "tab": "teams",
        "team": team,
        "above": names.get(team.parent_id) if team.parent_id else None,
        "form": form,
        "people": people,
        "parts": parts,
        "may_manage": may_manage,
    }
    if may_manage:
        within, members = {person["id"] for person in people}, members_listed(org.id)
        outside = named(None if members is None else [one for one in members if one.user_id not in within])
        context["add"] = None if outside == [] else AddToTeamForm(org_id=org.id, people=outside)
    return render(request, "teams/detail.html", context, status=400 if form.errors else 200)


@org_page(capability="team.manage", title="Teams", key="settings", granted=granted_here)
@require_POST
def team_delete(request: HttpRequest, team_slug: str) -> HttpResponse:
    """Delete a team; usage that was counted for it stays."""
    org = request.org  # type: ignore[attr-defined]
    team = _by_slug(org.id, team_slug)
    services.delete_team(org_id=org.id, team_id=team.id)
    messages.success(request, f"Team {team.name} was deleted.")
    return redirect("teams", org.slug)


@org_page(capability="team.manage", title="Teams", key="settings", granted=granted_here)
@require_POST
def team_member_primary(request: HttpRequest, team_slug: str, user_id: UUID) -> HttpResponse:
    """Let somebody's usage count for this team of theirs."""
    org = request.org  # type: ignore[attr-defined]
    team = _by_slug(org.id, team_slug)
    services.add_team_member(org_id=org.id, team_id=team.id, user_id=user_id, is_primary=True)
    return redirect("team", org.slug, team.slug)


@org_page(capability="team.manage", title="Teams", key="settings", personal=True, granted=granted_here)
@require_POST
def team_member_add(request: HttpRequest, team_slug: str) -> HttpResponse:
    """Put a member into a team; again is harmless."""
    org = request.org  # type: ignore[attr-defined]
    team = _by_slug(org.id, team_slug)
    form = AddToTeamForm(request.POST, org_id=org.id, people=named(members_listed(org.id)))
    if form.is_valid():
        try:
            services.add_team_member(
                org_id=org.id,
                team_id=team.id,
                user_id=form.cleaned_data["user_id"],
                by_user_id=user_id_of(request),
            )
        except PermissionDenied as error:
            messages.error(request, f"{sentence(error)}.")
    else:
        messages.error(request, "Choose a member of the organisation.")
    return redirect("team", org.slug, team.slug)


@org_page(capability="team.manage", title="Teams", key="settings", granted=granted_here)
@require_POST
def team_member_remove(request: HttpRequest, team_slug: str, user_id: UUID) -> HttpResponse:
    """Take somebody out of a team."""
    org = request.org  # type: ignore[attr-defined]
    team = _by_slug(org.id, team_slug)
    services.remove_team_member(org_id=org.id, team_id=team.id, user_id=user_id)
    return redirect("team", org.slug, team.slug)
