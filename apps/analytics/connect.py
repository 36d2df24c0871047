"""Connect: ready settings for one project, a key to put into them, and the proof that they work."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from apps.accounts.web import can, org_page
from apps.analytics.first_event import first_event
from apps.core.clock import now
from apps.core.errors import MindWeaveError, NotFound, PermissionDenied
from apps.core.web.forms import add_problem, new_once, take_once
from apps.identity.web import user_id_of
from apps.projects import selectors as projects
from apps.projects.contracts import ApiKeyInfo, ProjectInfo
from apps.projects.forms import KeyNameForm
from apps.projects.permissions import may_manage_keys
from apps.projects.services import create_api_key
from apps.projects.snippets import public_url, snippets

__all__ = ["connect", "connect_event"]

Made = tuple[ApiKeyInfo, str]


@org_page(capability="project.read", title="Connect", key="connect", personal=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def connect(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/connect?project=``: settings of each client for a project, the newest unless one is named.

    A key that is made here stands in the answer to its form only, filled into the settings. Sent again, the form makes
    no second one.
    """
    org = request.org  # type: ignore[attr-defined]
    rows = [projects.project_info(row) for row in projects.project_list(org.id).order_by("-created_at", "id")]
    project = _chosen(request, rows)
    may_make = project is not None and _may_make(request, project)
    if request.method == "POST" and not may_make:
        raise PermissionDenied("You may not make keys of this project")
    form = KeyNameForm(request.POST or None)
    made: Made | None = None
    if request.method == "POST" and project is not None and form.is_valid():
        if not take_once(request):
            return redirect(f"{request.path}?project={project.slug}")
        made = _make(request, project, form)
        form = form if made is None else KeyNameForm()
    context = _context(request, project, made)
    context |= {
        "projects": sorted(rows, key=lambda row: row.name.lower()),
        "form": form,
        "may_make": may_make,
        "may_make_project": can(request, "project.manage"),
    }
    return render(request, "analytics/connect.html", context, status=400 if form.errors else 200)


def _chosen(request: HttpRequest, rows: list[ProjectInfo]) -> ProjectInfo | None:
    slug = request.POST.get("project") or request.GET.get("project")
    if not slug:
        return rows[0] if rows else None
    found = next((row for row in rows if row.slug == slug), None)
    if found is None:
        raise NotFound()
    return found


def _may_make(request: HttpRequest, project: ProjectInfo) -> bool:
    return may_manage_keys(org_id=project.org_id, user_id=user_id_of(request), project_id=project.id)


def _make(request: HttpRequest, project: ProjectInfo, form: KeyNameForm) -> Made | None:
    try:
        return create_api_key(
            org_id=project.org_id,
            project_id=project.id,
            name=form.cleaned_data["name"],
            scopes=["ingest"],
            owner_id=user_id_of(request),
            by_user_id=user_id_of(request),
        )
    except MindWeaveError as error:
        add_problem(form, error)
        return None


def _context(request: HttpRequest, project: ProjectInfo | None, made: Made | None) -> dict[str, Any]:
    if project is None:
        return {"project": None}
    rows = projects.key_list(org_id=project.org_id, project_id=project.id)
    keys = [key for key in map(projects.key_info, rows) if _sends(key)]
    newest = first_event(project.org_id, project.id)
    # Without scripts the page is asked for again, and says what it had seen when it was opened.
    again = request.method == "GET" and "seen" in request.GET
    seen = _seen(request) if again else (newest.id if newest else None)
    return {
        "event": newest if newest and newest.id != seen else None,
        "project": project,
        "keys": keys,
        "made": made,
        "once": new_once(),
        "snippets": snippets(base_url=public_url(request), token=made[1] if made else None),
        "seen": seen,
        "last": newest,
        "host": request.get_host(),
    }


def _sends(key: ApiKeyInfo) -> bool:
    ends = [end for end in (key.expires_at, key.revoked_at) if end is not None]
    return "ingest" in key.scopes and (not ends or min(ends) > now())


@org_page(capability="project.read", title="Connect")
@never_cache
@require_safe
def connect_event(request: HttpRequest, project_slug: str) -> HttpResponse:
    """The fragment that waits: 204 until the project's newest event is another than ``?seen=``.

    What was the newest when the page was opened is told by its id and not by a time: the clocks of clients go wrong.
    """
    org = request.org  # type: ignore[attr-defined]
    project = projects.project_list(org.id).filter(slug=project_slug).first()
    if project is None:
        raise NotFound()
    event = first_event(org.id, project.pk)
    if event is None or event.id == _seen(request):
        return HttpResponse(status=204)
    context = {"event": event, "project": projects.project_info(project)}
    return render(request, "analytics/connect_event.html", context)


def _seen(request: HttpRequest) -> UUID | None:
    try:
        return UUID(request.GET.get("seen", ""))
    except ValueError:
        return None
