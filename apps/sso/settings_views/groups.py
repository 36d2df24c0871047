"""What groups of the provider give."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.web import org_page
from apps.core.errors import MindWeaveError
from apps.core.web.forms import add_problem
from apps.identity.web import step_up_required
from apps.sso import selectors, services
from apps.sso.forms import MappingForm
from apps.sso.roles import roles_to_give
from apps.sso.settings_views.common import CAPABILITY, TITLE, org_of
from apps.teams import selectors as teams

__all__ = ["group_remove", "groups_page"]


@org_page(capability=CAPABILITY, title=TITLE, key="settings", personal=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def groups_page(request: HttpRequest) -> HttpResponse:
    """``…/settings/sso/groups``: what groups of the provider give, and a form for one more."""
    org = org_of(request)
    form = MappingForm(request.POST or None, roles=roles_to_give(org.id), teams=teams.team_names(org.id))
    if request.method == "POST" and form.is_valid():
        return _add_mapping(request, form)
    return _groups(request, form)


@step_up_required
def _add_mapping(request: HttpRequest, form: MappingForm) -> HttpResponse:
    org = org_of(request)
    try:
        services.add_mapping(org_id=org.id, **form.cleaned_data)
    except MindWeaveError as error:
        add_problem(form, error)
        return _groups(request, form)
    return redirect("sso_groups", org.slug)


def _groups(request: HttpRequest, form: MappingForm) -> HttpResponse:
    org = org_of(request)
    roles = roles_to_give(org.id)
    rows: list[dict[str, Any]] = [
        {"mapping": row, "role": roles[row.role].name if row.role in roles else row.role}
        for row in selectors.mapping_list(org.id)
    ]
    context = {
        "tab": "sso",
        "part": "groups",
        "form": form,
        "rows": rows,
        "pushed": selectors.pushed_groups(org.id),
        "governs_roles": any(row["mapping"].role for row in rows),
    }
    return render(request, "sso/groups.html", context, status=400 if form.errors else 200)


@org_page(capability=CAPABILITY, title=TITLE, key="settings", personal=True)
@step_up_required
@require_POST
def group_remove(request: HttpRequest, mapping_id: UUID) -> HttpResponse:
    """Have a group give this no more."""
    services.remove_mapping(org_id=org_of(request).id, mapping_id=mapping_id)
    return redirect("sso_groups", org_of(request).slug)
