"""Giving and taking rights on one project, from the panel on its page."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts import selectors as accounts
from apps.accounts.grants_forms import GrantForm
from apps.accounts.web import org_page
from apps.core.errors import MindWeaveError
from apps.core.web.forms import sentence
from apps.identity.web import user_id_of
from apps.projects import services
from apps.projects.access import granted_here
from apps.projects.contracts import PROJECT_RIGHTS
from apps.projects.pages import project_by_slug, project_head
from apps.teams.selectors import team_names

__all__ = ["project_access_end", "project_access_page"]


@org_page(capability="project.manage", title="Access", key="projects", personal=True, granted=granted_here)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def project_access_page(request: HttpRequest, project_slug: str) -> HttpResponse:
    """Who was given what on the project, and a form by which a member or a team is given it."""
    org = request.org  # type: ignore[attr-defined]
    project = project_by_slug(org.id, project_slug)
    if request.method != "POST":
        return render(request, "projects/access.html", project_head(request, project, "access"))
    form = GrantForm(
        request.POST, kind=PROJECT_RIGHTS, held=frozenset(PROJECT_RIGHTS.capabilities),
        people=accounts.member_infos(org.id), teams=team_names(org.id).items(),
    )  # fmt: skip
    if not form.is_valid():
        messages.error(request, "Choose a member or a team, and at least one thing that they may do.")
        return redirect("project_access", org.slug, project.slug)
    try:
        given = services.give_project_access(
            org_id=org.id, project_id=project.id, grantee_id=form.cleaned_data["grantee"],
            capabilities=form.cleaned_data["capabilities"], by_user_id=user_id_of(request),
        )  # fmt: skip
    except MindWeaveError as error:
        messages.error(request, f"{sentence(error)}.")
    else:
        messages.success(request, f"{given.name} may now do this with {project.name}.")
    return redirect("project_access", org.slug, project.slug)


@org_page(capability="project.manage", title="Access", key="projects", personal=True, granted=granted_here)
@require_POST
def project_access_end(request: HttpRequest, project_slug: str, grantee_id: UUID) -> HttpResponse:
    """Take away what a member or a team was given on the project."""
    org = request.org  # type: ignore[attr-defined]
    project = project_by_slug(org.id, project_slug)
    try:
        services.end_project_access(
            org_id=org.id, project_id=project.id, grantee_id=grantee_id, by_user_id=user_id_of(request)
        )
    except MindWeaveError as error:
        messages.error(request, f"{sentence(error)}.")
    else:
        messages.success(request, "Taken away.")
    return redirect("project_access", org.slug, project.slug)
