"""Settings: roles, built-in and the organisation's own."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts import selectors, services
from apps.accounts.contracts import RoleInfo
from apps.accounts.permissions import GROUPS
from apps.accounts.roles_forms import DeleteRoleForm, OwnRoleForm
from apps.accounts.web import can, capabilities, org_page
from apps.core.errors import Conflict, MindWeaveError, PermissionDenied, ValidationFailed
from apps.core.web.forms import add_problem, sentence
from apps.identity.web import user_id_of

__all__ = ["role_delete", "role_new", "role_page", "roles_page"]

# Members of a role that its page names; the others are counted.
_NAMED = 20


@org_page(capability="member.read", title="Roles", key="settings")
@never_cache
@require_http_methods(["GET", "HEAD"])
def roles_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/settings/roles``: every role with who has it, and what the built-in ones may do, as a matrix."""
    org = request.org  # type: ignore[attr-defined]
    roles, holders = selectors.roles_of_org(org.id), selectors.role_holders(org.id)
    built_in = [role for role in roles if role.built_in]
    context = {
        "tab": "roles",
        "roles": [{"role": role, "members": holders.get(role.key, 0)} for role in roles],
        "built_in": built_in,
        "groups": [
            (group, [(each.words, [each.name in role.capabilities for role in built_in]) for each in permissions])
            for group, permissions in GROUPS.items()
        ],
        "may_manage": can(request, "role.manage"),
    }
    return render(request, "accounts/roles.html", context)


@org_page(capability="role.manage", title="New role", key="settings", personal=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def role_new(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/settings/roles/new``: a form for a role; ``?from=`` starts with what another may do."""
    org, held = request.org, capabilities(request)  # type: ignore[attr-defined]
    model = selectors.role_find(org_id=org.id, role=request.GET.get("from", "viewer"))
    form = OwnRoleForm(
        request.POST or None, held=held, initial={"capabilities": model.capabilities if model else frozenset()}
    )
    if request.method == "POST" and form.is_valid():
        try:
            role = services.create_role(org_id=org.id, by_user_id=user_id_of(request), **form.cleaned_data)
        except (Conflict, ValidationFailed, PermissionDenied) as error:
            add_problem(form, error)
        else:
            messages.success(request, f"The role {role.name} was made. Give it to members on their pages.")
            return redirect("roles", org.slug)
    context = {"tab": "roles", "form": form, "models": selectors.roles_of_org(org.id), "model": model}
    return render(request, "accounts/role_new.html", context, status=400 if form.errors else 200)


@org_page(capability="member.read", title="Role", key="settings", personal=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def role_page(request: HttpRequest, role_id: UUID) -> HttpResponse:
    """``/o/<slug>/settings/roles/<id>``: what one of the organisation's own roles may do, who has it, and its end."""
    org, held = request.org, capabilities(request)  # type: ignore[attr-defined]
    role = selectors.role_get(org_id=org.id, role_id=role_id)
    may_change = can(request, "role.manage") and role.capabilities <= held
    form = OwnRoleForm(
        request.POST or None,
        held=held,
        initial={"name": role.name, "description": role.description, "capabilities": role.capabilities},
    )
    if request.method == "POST":
        if not can(request, "role.manage"):
            raise PermissionDenied("Your role lacks 'role.manage' here")
        if form.is_valid():
            try:
                services.update_role(
                    org_id=org.id, role_id=role_id, changes=form.cleaned_data, by_user_id=user_id_of(request)
                )
            except (Conflict, ValidationFailed) as error:
                add_problem(form, error)
            else:
                messages.success(request, "Saved. Whoever has the role may do what it says from now on.")
                return redirect("role", org.slug, role_id)
    return render(
        request, "accounts/role.html", _role(request, role, form, may_change), status=400 if form.errors else 200
    )


def _role(request: HttpRequest, role: RoleInfo, form: OwnRoleForm, may_change: bool) -> dict[str, Any]:
    org, held = request.org, capabilities(request)  # type: ignore[attr-defined]
    members, number = selectors.members_with_role(org_id=org.id, role=role.key, limit=_NAMED)
    others = [each for each in selectors.roles_of_org(org.id) if each.key != role.key and each.capabilities <= held]
    return {
        "tab": "roles",
        "one": role,
        "form": form,
        "members": members,
        "number": number,
        "more": number - len(members),
        "groups": [
            (group, [each.words for each in permissions if each.name in role.capabilities])
            for group, permissions in GROUPS.items()
            if any(each.name in role.capabilities for each in permissions)
        ],
        "may_change": may_change,
        "may_manage": can(request, "role.manage"),
        "delete": DeleteRoleForm(roles=others, initial={"replacement": "viewer"}),
    }


@org_page(capability="role.manage", title="Role", key="settings", personal=True)
@require_POST
def role_delete(request: HttpRequest, role_id: UUID) -> HttpResponse:
    """Delete a role; its members get the one that was chosen."""
    org = request.org  # type: ignore[attr-defined]
    role = selectors.role_get(org_id=org.id, role_id=role_id)
    try:
        services.delete_role(
            org_id=org.id,
            role_id=role_id,
            replacement=request.POST.get("replacement") or None,
            by_user_id=user_id_of(request),
        )
    except MindWeaveError as error:
        messages.error(request, f"{sentence(error)}.")
        return redirect("role", org.slug, role_id)
    messages.success(request, f"The role {role.name} was deleted.")
    return redirect("roles", org.slug)
