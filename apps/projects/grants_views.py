"""Giving and taking rights on one project, from the panel on its page."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from apps.accounts import selectors as accounts
from apps.accounts.grants_forms import GrantForm
from apps.accounts.web import org_page
from apps.core.errors import MindWeaveError, NotFound
from apps.core.web.forms import sentence
from apps.identity.web import user_id_of
from apps.projects import selectors, services
from apps.projects.access import granted_here
from apps.projects.contracts import PROJECT_RIGHTS, ProjectInfo
from apps.teams.selectors import team_names

__all__ = ["project_access_end", "project_access_give"]


def _project(org_id: UUID, slug: str) -> ProjectInfo:
    project = selectors.project_list(org_id, archived=True).filter(slug=slug).first()
    if project is None:
        raise NotFound()
    return selectors.project_info(project)


@org_page(capability="project.manage", title="Access", key="projects", personal=True, granted=granted_here)
@require_POST
def project_access_give(request: HttpRequest, project_slug: str) -> HttpResponse:
    """Say what a member or a team may do with the project."""
    org = request.org  # type: ignore[attr-defined]
    project = _project(org.id, project_slug)
    form = GrantForm(
        request.POST, kind=PROJECT_RIGHTS, held=frozenset(PROJECT_RIGHTS.capabilities),
        people=accounts.member_infos(org.id), teams=team_names(org.id).items(),
    )  # fmt: skip
    if not form.is_valid():
        messages.error(request, "Choose a member or a team, and at least one thing that they may do.")
        return redirect("project", org.slug, project.slug)
    try:
        given = services.give_project_access(
            org_id=org.id, project_id=project.id, grantee_id=form.cleaned_data["grantee"],
            capabilities=form.cleaned_data["capabilities"], by_user_id=user_id_of(request),
        )  # fmt: skip
    except MindWeaveError as error:
        messages.error(request, f"{sentence(error)}.")
    else:
        messages.success(request, f"{given.name} may now do this with {project.name}.")
    return redirect("project", org.slug, project.slug)


@org_page(capability="project.manage", title="Access", key="projects", personal=True, granted=granted_here)
@require_POST
def project_access_end(request: HttpRequest, project_slug: str, grantee_id: UUID) -> HttpResponse:
    """Take away what a member or a team was given on the project."""
    org = request.org  # type: ignore[attr-defined]
    project = _project(org.id, project_slug)
    try:
        services.end_project_access(
            org_id=org.id, project_id=project.id, grantee_id=grantee_id, by_user_id=user_id_of(request)
        )
    except MindWeaveError as error:
        messages.error(request, f"{sentence(error)}.")
    else:
        messages.success(request, "Taken away.")
    return redirect("project", org.slug, project.slug)
