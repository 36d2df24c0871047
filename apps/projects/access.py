"""The right to a project on its way into views: what a person was given for the one that an address names."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest

from apps.core import errors
from apps.core.api import ApiView
from apps.core.tenancy import org_scope
from apps.identity.web import user_id_of
from apps.projects import selectors
from apps.projects.contracts import PROJECT_RIGHTS
from apps.projects.permissions import granted_on_project, projects_granted

__all__ = ["OfProject", "OfProjects", "granted_here", "granted_some"]


class OfProject(ApiView):
    """Base of ``/projects/{project_id}/…``: a right given on this project counts as one of the role."""

    def path_org_id(self, **kwargs: Any) -> UUID | None:
        org_id = selectors.org_of_project(kwargs["project_id"])
        if org_id is None:
            raise errors.NotFound()
        return org_id

    def is_granted(self, capability: str) -> bool:
        if self.org_id is None or self.actor.id is None or capability not in PROJECT_RIGHTS.capabilities:
            return False
        given = granted_on_project(org_id=self.org_id, user_id=self.actor.id, project_id=self.kwargs["project_id"])
        return capability in given


class OfProjects(ApiView):
    """Base of lists of projects: whoever may not see all sees those on which they were given rights."""

    granted: frozenset[UUID] | None = None

    def is_granted(self, capability: str) -> bool:
        if self.org_id is None or self.actor.id is None or capability != "project.read":
            return False
        self.granted = projects_granted(org_id=self.org_id, user_id=self.actor.id)
        return bool(self.granted)


def granted_here(request: HttpRequest, *, project_slug: str, **rest: Any) -> frozenset[str]:
    """For pages of one project: what the reader was given on it; nothing where there is no such project."""
    org = request.org  # type: ignore[attr-defined]
    with org_scope(org.id):
        project = selectors.project_list(org.id, archived=True).filter(slug=project_slug).values_list("pk").first()
    if project is None:
        return frozenset()
    return granted_on_project(org_id=org.id, user_id=user_id_of(request), project_id=project[0])


def granted_some(request: HttpRequest, **rest: Any) -> frozenset[str]:
    """For the list of projects: ``project.read`` where the reader was given rights on any."""
    org = request.org  # type: ignore[attr-defined]
    request.granted_projects = projects_granted(org_id=org.id, user_id=user_id_of(request))  # type: ignore[attr-defined]
    return frozenset({"project.read"}) if request.granted_projects else frozenset()  # type: ignore[attr-defined]
