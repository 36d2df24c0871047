"""Pages of projects and their keys."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.web import can, org_page
from apps.core.clock import now
from apps.core.errors import Conflict, MindWeaveError, NotFound, PermissionDenied
from apps.core.web.forms import add_problem, new_once, sentence, take_once
from apps.identity.selectors import users_by_ids
from apps.identity.web import user_id_of
from apps.projects import selectors, services
from apps.projects.access import granted_here, granted_some
from apps.projects.contracts import ApiKeyInfo, ProjectInfo
from apps.projects.forms import SCOPE_WORDS, KeyForm, ProjectForm
from apps.projects.permissions import may_manage_keys
from apps.projects.snippets import public_url, snippets
from apps.teams.selectors import team_names

__all__ = ["key_revoke", "key_rotate", "project_page", "projects_page"]


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
        live = sum(_state(key) == "works" for key in own)
        rows.append(
            {
                "project": selectors.project_info(project),
                "team": teams.get(project.team_id) if project.team_id else None,
                "live_keys": live,
                "last_used_at": max(used, default=None),
            }
        )
    return rows


def _state(key: ApiKeyInfo) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "ended" if key.expires_at is not None and key.expires_at <= now() else "works"


@org_page(capability="project.read", title="Project", key="projects", personal=True, granted=granted_here)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def project_page(request: HttpRequest, project_slug: str) -> HttpResponse:
    """One project: its keys, a form for a new key, how to send. A new key is in the answer to its form only."""
    org = request.org  # type: ignore[attr-defined]
    project = _by_slug(org.id, project_slug)
    form = KeyForm(request.POST or None)
    made: tuple[ApiKeyInfo, str] | None = None
    if request.method == "POST":
        if not can(request, "key.manage"):
            raise PermissionDenied("Your role lacks 'key.manage' here")
        if form.is_valid():
            made = _make_key(request, project, form)
            form = form if made is None else KeyForm()
    return _project(request, project, form, made)


def _project(
    request: HttpRequest,
    project: ProjectInfo,
    form: KeyForm,
    made: tuple[ApiKeyInfo, str] | None,
    replaced: ApiKeyInfo | None = None,
) -> HttpResponse:
    org = request.org  # type: ignore[attr-defined]
    keys = [selectors.key_info(key) for key in selectors.key_list(org_id=org.id, project_id=project.id)]
    people = users_by_ids({key.owner_id for key in keys if key.owner_id})
    refused = selectors.key_rejections(org.id, ids=[key.id for key in keys])
    context = {
        "project": project,
        "team": team_names(org.id).get(project.team_id) if project.team_id else None,
        "form": form,
        "rows": [_key_row(key, people, refused) for key in keys],
        "made": made,
        "replaced": replaced,
        "once": new_once(),
        "overlap_hours": int(services.ROTATION_OVERLAP.total_seconds()) // 3600,
        "snippets": snippets(base_url=public_url(request), token=made[1] if made else None),
        "may_manage": project.archived_at is None
        and may_manage_keys(org_id=org.id, user_id=user_id_of(request), project_id=project.id),
    }
    return render(request, "projects/detail.html", context, status=400 if form.errors else 200)


def _by_slug(org_id: UUID, slug: str) -> ProjectInfo:
    project = selectors.project_list(org_id, archived=True).filter(slug=slug).first()
    if project is None:
        raise NotFound()
    return selectors.project_info(project)


def _make_key(request: HttpRequest, project: ProjectInfo, form: KeyForm) -> tuple[ApiKeyInfo, str] | None:
    try:
        return services.create_api_key(
            org_id=project.org_id,
            project_id=project.id,
            name=form.cleaned_data["name"],
            scopes=form.cleaned_data["scopes"],
            owner_id=user_id_of(request),
            expires_at=form.expires_at,
            by_user_id=user_id_of(request),
        )
    except MindWeaveError as error:
        add_problem(form, error)
        return None


def _key_row(key: ApiKeyInfo, people: dict[UUID, Any], refused: dict[UUID, tuple[str, int]]) -> dict[str, Any]:
    owner = people.get(key.owner_id) if key.owner_id else None
    reason, times = refused.get(key.id, ("", 0))
    return {
        "key": key,
        "state": _state(key),
        "owner": owner.label if owner else None,
        "scopes": ", ".join(SCOPE_WORDS.get(scope, scope).lower() for scope in key.scopes),
        "refused": times,
        "refused_why": reason,
    }


@org_page(capability="key.manage", title="Keys", key="projects", granted=granted_here)
@require_POST
def key_revoke(request: HttpRequest, project_slug: str, key_id: UUID) -> HttpResponse:
    """Revoke a key: dead on every process within a second."""
    org = request.org  # type: ignore[attr-defined]
    project = _by_slug(org.id, project_slug)
    services.revoke_api_key(org_id=org.id, project_id=project.id, key_id=key_id, by_user_id=user_id_of(request))
    messages.success(request, "The key is revoked. Whatever still uses it is refused from now on.")
    return redirect("project", org.slug, project.slug)


@org_page(capability="key.manage", title="Keys", key="projects", personal=True, granted=granted_here)
@never_cache
@require_POST
def key_rotate(request: HttpRequest, project_slug: str, key_id: UUID) -> HttpResponse:
    """Replace a key: the new one is in this answer only, the old one goes on for a day. Sent again, makes no other."""
    org = request.org  # type: ignore[attr-defined]
    project = _by_slug(org.id, project_slug)
    if not take_once(request):
        return redirect("project", org.slug, project.slug)
    try:
        made = services.rotate_api_key(
            org_id=org.id, project_id=project.id, key_id=key_id, by_user_id=user_id_of(request)
        )
    except Conflict as error:
        messages.error(request, f"{sentence(error)}.")
        return redirect("project", org.slug, project.slug)
    old = selectors.key_list(org_id=org.id, project_id=project.id).get(pk=key_id)
    return _project(request, project, KeyForm(), made, selectors.key_info(old))
