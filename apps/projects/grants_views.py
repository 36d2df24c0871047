"""Giving and taking rights on one project, from the panel on its page."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.grants_pages import end_access, give_access
from apps.accounts.web import org_page
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
    give_access(
        request, kind=PROJECT_RIGHTS, name=project.name, teams=team_names(org.id).items(),
        give=lambda grantee_id, capabilities: services.give_project_access(
            org_id=org.id, project_id=project.id, grantee_id=grantee_id, capabilities=capabilities,
            by_user_id=user_id_of(request),
        ),
    )  # fmt: skip
    return redirect("project_access", org.slug, project.slug)


@org_page(capability="project.manage", title="Access", key="projects", personal=True, granted=granted_here)
@require_POST
def project_access_end(request: HttpRequest, project_slug: str, grantee_id: UUID) -> HttpResponse:
    """Take away what a member or a team was given on the project."""
    org = request.org  # type: ignore[attr-defined]
    project = project_by_slug(org.id, project_slug)
    end_access(
        request,
        lambda: services.end_project_access(
            org_id=org.id, project_id=project.id, grantee_id=grantee_id, by_user_id=user_id_of(request)
        ),
    )
    return redirect("project_access", org.slug, project.slug)
