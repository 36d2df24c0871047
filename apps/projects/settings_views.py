"""Pages of one project's settings and usage, and its archive."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts.web import can, org_page
from apps.core.errors import MindWeaveError, PermissionDenied
from apps.core.etags import etag
from apps.core.web.forms import add_problem, sentence
from apps.projects import selectors, services
from apps.projects.access import granted_here
from apps.projects.contracts import ProjectInfo
from apps.projects.forms import ProjectChangeForm, SettingsForm
from apps.projects.pages import project_by_slug, project_head
from apps.projects.ports import usage_reader
from apps.teams.selectors import team_names

__all__ = ["project_archive", "project_edit", "project_settings_page", "project_unarchive", "project_usage_page"]


@org_page(capability="project.read", title="Project", key="projects", granted=granted_here)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def project_settings_page(request: HttpRequest, project_slug: str) -> HttpResponse:
    """What a project asks of its events, its environments, its name and team, and its archive."""
    org = request.org  # type: ignore[attr-defined]
    project = project_by_slug(org.id, project_slug)
    present = selectors.project_settings_get(org_id=org.id, project_id=project.id)
    form = SettingsForm(request.POST or None, present=present, org_days=org.raw_retention_days)
    if request.method == "POST":
        if not can(request, "project.manage"):
            raise PermissionDenied("Your role lacks 'project.manage' here")
        if form.is_valid():
            version = form.cleaned_data["version"]
            try:
                services.update_project_settings(
                    org_id=org.id,
                    project_id=project.id,
                    changes=form.changes,
                    if_match=etag(version) if version else None,
                )
            except MindWeaveError as error:
                add_problem(form, error)
            else:
                messages.success(request, "Saved. It holds for events that come from now on.")
                return redirect("project_settings", org.slug, project.slug)
    return _show(request, project, form)


def _show(
    request: HttpRequest, project: ProjectInfo, form: SettingsForm, edit: ProjectChangeForm | None = None
) -> HttpResponse:
    org = request.org  # type: ignore[attr-defined]
    initial = {"name": project.name, "team_id": str(project.team_id or "")}
    edit = edit or ProjectChangeForm(teams=team_names(org.id), initial=initial, auto_id="edit_%s")
    present = selectors.project_settings_get(org_id=org.id, project_id=project.id)
    context = {
        **project_head(request, project, "settings"),
        "form": form,
        "edit": edit,
        "settings": present,
        "may_manage": can(request, "project.manage"),
    }
    status = 400 if form.errors or edit.errors else 200
    return render(request, "projects/settings.html", context, status=status)


@org_page(capability="project.manage", title="Project", key="projects", granted=granted_here)
@never_cache
@require_POST
def project_edit(request: HttpRequest, project_slug: str) -> HttpResponse:
    """Change a project's name and team; its address stays, and what was counted keeps its team."""
    org = request.org  # type: ignore[attr-defined]
    project = project_by_slug(org.id, project_slug)
    edit = ProjectChangeForm(request.POST, teams=team_names(org.id), auto_id="edit_%s")
    if edit.is_valid():
        try:
            services.update_project(org_id=org.id, project_id=project.id, changes=edit.cleaned_data)
        except MindWeaveError as error:
            add_problem(edit, error)
        else:
            messages.success(request, "Saved. What was counted so far keeps its team.")
            return redirect("project_settings", org.slug, project.slug)
    present = selectors.project_settings_get(org_id=org.id, project_id=project.id)
    return _show(request, project, SettingsForm(present=present, org_days=org.raw_retention_days), edit)


@org_page(capability="project.manage", title="Project", key="projects", granted=granted_here)
@require_POST
def project_archive(request: HttpRequest, project_slug: str) -> HttpResponse:
    """Archive a project: its keys are refused within a second, its usage stays."""
    org = request.org  # type: ignore[attr-defined]
    project = project_by_slug(org.id, project_slug)
    services.archive_project(org_id=org.id, project_id=project.id)
    messages.success(request, f"{project.name} is archived. Its keys are refused, its usage stays.")
    return redirect("project_settings", org.slug, project.slug)


@org_page(capability="project.manage", title="Project", key="projects", granted=granted_here)
@require_POST
def project_unarchive(request: HttpRequest, project_slug: str) -> HttpResponse:
    """Take a project out of the archive: its keys that still live work again."""
    org = request.org  # type: ignore[attr-defined]
    project = project_by_slug(org.id, project_slug)
    try:
        services.unarchive_project(org_id=org.id, project_id=project.id)
    except MindWeaveError as error:
        messages.error(request, f"{sentence(error)}.")
    else:
        messages.success(request, f"{project.name} is back, and its keys work again.")
    return redirect("project_settings", org.slug, project.slug)


@org_page(capability="project.read", title="Project", key="projects", granted=granted_here)
@never_cache
@require_safe
def project_usage_page(request: HttpRequest, project_slug: str) -> HttpResponse:
    """What a project used in the last 28 days, day by day."""
    org = request.org  # type: ignore[attr-defined]
    project = project_by_slug(org.id, project_slug)
    context = {
        **project_head(request, project, "usage"),
        "usage": usage_reader.get().last_days(org_id=org.id, dimension="project", id=project.id)
        if can(request, "usage.read")
        else None,
    }
    return render(request, "projects/usage.html", context)
