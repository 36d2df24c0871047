"""What the pages of projects have in common."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.urls import reverse

from apps.accounts.member_fields import Choices, members_listed
from apps.accounts.web import can
from apps.core.errors import NotFound
from apps.core.registry import project_tabs
from apps.identity.selectors import users_by_ids
from apps.identity.web import user_id_of
from apps.projects import selectors
from apps.projects.contracts import ProjectInfo
from apps.teams.selectors import team_names

__all__ = ["people_to_choose", "project_by_slug", "project_head"]


def project_by_slug(org_id: UUID, slug: str) -> ProjectInfo:
    """The project that an address names, archived ones too; :class:`NotFound` otherwise."""
    project = selectors.project_list(org_id, archived=True).filter(slug=slug).first()
    if project is None:
        raise NotFound()
    return selectors.project_info(project)


def project_head(request: HttpRequest, project: ProjectInfo, tab: str) -> dict[str, Any]:
    """What ``projects/project.html`` needs: the project, its team, and its views that the reader may open."""
    org = request.org  # type: ignore[attr-defined]
    return {
        "project": project,
        "team": team_names(org.id).get(project.team_id) if project.team_id else None,
        "tab": tab,
        "tabs": [
            (item.key, item.label, reverse(item.url_name, args=[org.slug, project.slug]))
            for item in project_tabs.all()
            if item.capability is None or can(request, item.capability)
        ],
    }


def people_to_choose(request: HttpRequest, *, besides: UUID | None = None) -> Choices:
    """Whom the reader may make a key for, besides themselves: everybody for those who manage it, else nobody.

    ``besides`` may be chosen in any case: whose it is already. None: everybody, and they are too many for a list.
    """
    org_id, me = request.org.id, user_id_of(request)  # type: ignore[attr-defined]
    if can(request, "project.manage") and can(request, "member.read"):
        members = members_listed(org_id)
        if members is None:
            return None
        return [(each.user_id, each.label) for each in members if each.user_id != me or each.user_id == besides]
    known = users_by_ids([besides]) if besides is not None else {}
    return [(id_, person.label) for id_, person in known.items()]
