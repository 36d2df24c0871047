"""The panel on a project's page that says who was given rights on it, and gives and takes them."""

from typing import Any

from django.template import Context, Library

from apps.accounts.grants_forms import GrantForm, in_words
from apps.accounts.member_fields import members_listed, named
from apps.identity.web import user_id_of
from apps.projects.contracts import PROJECT_RIGHTS, ProjectInfo
from apps.projects.grants import project_grants
from apps.projects.permissions import held_on_project
from apps.teams.selectors import team_names

register = Library()


@register.inclusion_tag("accounts/_grants.html", takes_context=True)
def project_access(context: Context, project: ProjectInfo) -> dict[str, Any]:
    """Nothing for whoever does not manage the project."""
    request = context["request"]
    held = held_on_project(org_id=project.org_id, user_id=user_id_of(request), project_id=project.id)
    if "project.manage" not in held:
        return {"shown": False}
    teams = team_names(project.org_id)
    form = GrantForm(
        kind=PROJECT_RIGHTS,
        held=held,
        org_id=project.org_id,
        people=named(members_listed(project.org_id)),
        teams=teams.items(),
        initial={"capabilities": ["project.read"]},
        auto_id="grant_%s",
    )
    return {
        "shown": True,
        "what": "project",
        "request": request,
        "form": form,
        "rows": in_words(project_grants(org_id=project.org_id, project_id=project.id)),
        "give_name": "project_access",
        "end_name": "project_access_end",
        "slug": project.slug,
        "csrf_token": context.get("csrf_token"),
    }
