"""Pages of projects and their keys."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from apps.accounts.web import can, org_page
from apps.audit.services import record_read
from apps.core.errors import MindWeaveError, PermissionDenied
from apps.core.web.forms import add_problem, new_once
from apps.identity.selectors import users_by_ids
from apps.identity.web import step_up_required, user_id_of
from apps.projects import selectors, services
from apps.projects.access import granted_here, granted_some
from apps.projects.contracts import SCOPE_WORDS, ApiKeyInfo, ProjectInfo
from apps.projects.forms import OVERLAPS, KeyForm, ProjectForm
from apps.projects.pages import people_to_choose, project_by_slug, project_head
from apps.projects.permissions import may_manage_keys
from apps.projects.snippets import public_url, snippets
from apps.teams.selectors import team_names

__all__ = ["project_page", "projects_page", "show_project"]


@org_page(capability="project.read", title="Projects", key="projects", granted=granted_some)
@require_http_methods(["GET", "HEAD", "POST"])
def projects_page(request: HttpRequest) -> HttpResponse:
    """The projects of the organisation, and a form for a new one."""
    org = request.org  # type: ignore[attr-defined]
    teams = team_names(org.id)
    form = ProjectForm(request.POST or None, teams=teams)
    if request.method == "POST":
        if not can(request, "project.manage"):
            raise PermissionDenied("Your role lacks 'project.manage' here")
        if form.is_valid():
            try:
                made = services.create_project(org_id=org.id, **form.cleaned_data)
            except MindWeaveError as error:
                add_problem(form, error)
            else:
                messages.success(request, f"Project {made.name} was made.")
                return redirect("project", org.slug, made.slug)
    rows = _project_rows(org.id, teams)
    if "project.read" not in request.membership.capabilities:  # type: ignore[attr-defined]
        rows = [row for row in rows if row["project"].id in request.granted_projects]  # type: ignore[attr-defined]
    context = {"form": form, "rows": rows, "may_manage": can(request, "project.manage")}
    return render(request, "projects/list.html", context, status=400 if form.errors else 200)


def _project_rows(org_id: UUID, teams: dict[UUID, str]) -> list[dict[str, Any]]:
    """Projects with their number of working keys and the last use of any; two queries."""
    keys: dict[UUID, list[ApiKeyInfo]] = {}
    for key in selectors.key_list(org_id=org_id):
        keys.setdefault(key.project_id, []).append(selectors.key_info(key))
    rows = []
    for project in selectors.project_list(org_id, archived=True).order_by("archived_at", "name"):
        own = keys.get(project.pk, [])
        used = [key.last_used_at for key in own if key.last_used_at]
        live = sum(key.state == "works" for key in own)
        rows.append(
            {
                "project": selectors.project_info(project),
                "team": teams.get(project.team_id) if project.team_id else None,
                "live_keys": live,
                "last_used_at": max(used, default=None),
            }
        )
    return rows


@org_page(capability="project.read", title="Project", key="projects", personal=True, granted=granted_here)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def project_page(request: HttpRequest, project_slug: str) -> HttpResponse:
    """One project: its keys, a form for a new key, how to send. A new key is in the answer to its form only."""
    org = request.org  # type: ignore[attr-defined]
    project = project_by_slug(org.id, project_slug)
    form = _form(request, project, request.POST or None)
    if request.method != "POST":
        return show_project(request, project, form)
    if not can(request, "key.manage"):
        raise PermissionDenied("Your role lacks 'key.manage' here")
    if not form.is_valid():
        return show_project(request, project, form)
    if "admin" in form.cleaned_data["scopes"]:
        return step_up_required(_make)(request, project, form)
    return _make(request, project, form)


def _form(request: HttpRequest, project: ProjectInfo, data: Any = None) -> KeyForm:
    return KeyForm(
        data,
        org_id=project.org_id,
        environments=selectors.project_settings_get(org_id=project.org_id, project_id=project.id).environments,
        people=people_to_choose(request),
        max_days=selectors.key_policy_get(project.org_id).max_life_days,
    )


def _make(request: HttpRequest, project: ProjectInfo, form: KeyForm) -> HttpResponse:
    maker = user_id_of(request)
    try:
        made = services.create_api_key(
            org_id=project.org_id,
            project_id=project.id,
            name=form.cleaned_data["name"],
            scopes=form.cleaned_data["scopes"],
            owner_id=form.owner_id(maker),
            expires_at=form.expires_at,
            environment=form.cleaned_data.get("environment", ""),
            allowed_ips=form.networks,
            by_user_id=maker,
        )
    except MindWeaveError as error:
        add_problem(form, error)
        return show_project(request, project, form)
    return show_project(request, project, None, made)


def show_project(
    request: HttpRequest,
    project: ProjectInfo,
    form: KeyForm | None = None,
    made: tuple[ApiKeyInfo, str] | None = None,
    replaced: ApiKeyInfo | None = None,
) -> HttpResponse:
    """The project's keys; ``made`` is a new one with its token, ``replaced`` the one in whose place it comes."""
    org = request.org  # type: ignore[attr-defined]
    form = form or _form(request, project)
    may_see = can(request, "key.read") or can(request, "key.manage")
    found = selectors.key_list(org_id=org.id, project_id=project.id) if may_see else ()
    keys = [selectors.key_info(key) for key in found]
    if keys:
        record_read(what="API keys", org_id=org.id)
    people = users_by_ids({key.owner_id for key in keys if key.owner_id})
    refused = selectors.key_rejections(org.id, ids=[key.id for key in keys])
    rows = [_key_row(key, people, refused) for key in keys]
    context = {
        **project_head(request, project, "keys"),
        "form": form,
        "groups": [
            ("Keys of people", [row for row in rows if not row["key"].is_service_account]),
            ("Service accounts", [row for row in rows if row["key"].is_service_account]),
        ],
        "any": bool(rows),
        "may_see": may_see,
        "made": made,
        "replaced": replaced,
        "once": new_once(),
        "overlaps": OVERLAPS,
        "snippets": snippets(base_url=public_url(request), token=made[1] if made else None),
        "may_manage": project.archived_at is None
        and may_manage_keys(org_id=org.id, user_id=user_id_of(request), project_id=project.id),
    }
    return render(request, "projects/detail.html", context, status=400 if form.errors else 200)


def _key_row(key: ApiKeyInfo, people: dict[UUID, Any], refused: dict[UUID, tuple[str, int]]) -> dict[str, Any]:
    owner = people.get(key.owner_id) if key.owner_id else None
    reason, times = refused.get(key.id, ("", 0))
    return {
        "key": key,
        "state": key.state,
        "owner": owner.label if owner else None,
        "scopes": ", ".join(SCOPE_WORDS.get(scope, scope).lower() for scope in key.scopes),
        "refused": times,
        "refused_why": reason,
    }
