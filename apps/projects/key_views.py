"""Pages of keys: one key, its replacing and revoking, and all keys of an organisation."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts.web import can, org_page
from apps.audit.services import record_read
from apps.core.clock import now
from apps.core.errors import Conflict, MindWeaveError, PermissionDenied
from apps.core.etags import etag
from apps.core.web.downloads import csv_response
from apps.core.web.forms import add_problem, new_once, sentence, take_once
from apps.identity.selectors import users_by_ids
from apps.identity.web import step_up_required, user_id_of
from apps.projects import selectors, services
from apps.projects.access import granted_here
from apps.projects.contracts import SCOPE_WORDS, ApiKeyInfo, ProjectInfo
from apps.projects.forms import OVERLAPS, KeyChangeForm, KeyPolicyForm
from apps.projects.key_book import FILTERS, KeyRow, key_rows, words_of_filter
from apps.projects.pages import people_to_choose, project_by_slug, project_head
from apps.projects.permissions import may_manage_keys
from apps.projects.ports import usage_reader
from apps.projects.views import show_project

__all__ = ["key_page", "key_revoke", "key_rotate", "keys_csv", "keys_page"]


# ---------------------------------------------------------------- one key
@org_page(capability="key.read", title="Key", key="projects", personal=True, granted=granted_here)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def key_page(request: HttpRequest, project_slug: str, key_id: UUID) -> HttpResponse:
    """One key: what it may, from where, its last use, its usage, and a form for what may be changed."""
    org = request.org  # type: ignore[attr-defined]
    project = project_by_slug(org.id, project_slug)
    key = selectors.key_get(org_id=org.id, project_id=project.id, key_id=key_id)
    form = _change_form(request, project, key)
    if request.method == "POST":
        if not can(request, "key.manage"):
            raise PermissionDenied("Your role lacks 'key.manage' here")
        if form.is_valid() and _change(request, project, form):
            messages.success(request, "Saved. Every process obeys within a second.")
            return redirect("key", org.slug, project.slug, key.id)
    return _show_key(request, project, key, form)


def _change_form(request: HttpRequest, project: ProjectInfo, key: ApiKeyInfo) -> KeyChangeForm:
    me = user_id_of(request)
    people = people_to_choose(request, besides=key.owner_id)
    if people is not None:
        people = [(me, "Yours"), *(one for one in people if one[0] != me)]
    environments = selectors.project_settings_get(org_id=project.org_id, project_id=project.id).environments
    return KeyChangeForm(
        request.POST or None, key=key, org_id=project.org_id, environments=environments, people=people
    )  # fmt: skip


def _change(request: HttpRequest, project: ProjectInfo, form: KeyChangeForm) -> bool:
    version = form.cleaned_data["version"]
    try:
        services.update_api_key(
            org_id=project.org_id,
            project_id=project.id,
            key_id=form.key.id,
            changes=form.changes,
            if_match=etag(version) if version else None,
            by_user_id=user_id_of(request),
        )
    except PermissionDenied:
        raise
    except MindWeaveError as error:
        for item in error.errors:
            item["pointer"] = _FIELDS.get(item["pointer"], item["pointer"])
        add_problem(form, error)
        return False
    return True


_FIELDS = {"/owner_id": "/owner", "/expires_at": "/ends_on"}


def _show_key(request: HttpRequest, project: ProjectInfo, key: ApiKeyInfo, form: KeyChangeForm) -> HttpResponse:
    org = request.org  # type: ignore[attr-defined]
    people = users_by_ids({each for each in (key.owner_id, key.created_by_id) if each})
    reason, times = selectors.key_rejections(org.id, ids=[key.id]).get(key.id, ("", 0))
    successor = key.replaced_by_id and selectors.key_list(org_id=org.id).filter(pk=key.replaced_by_id).first()
    context = {
        **project_head(request, project, "keys"),
        "key": key,
        "owner": people.get(key.owner_id) if key.owner_id else None,
        "maker": people.get(key.created_by_id) if key.created_by_id else None,
        "scopes": [SCOPE_WORDS.get(scope, scope) for scope in key.scopes],
        "refused": times,
        "refused_why": reason,
        "successor": selectors.key_info(successor) if successor else None,
        "usage": usage_reader.get().last_days(org_id=org.id, dimension="key", id=key.id)
        if can(request, "usage.read")
        else None,
        "form": form,
        "once": new_once(),
        "overlaps": OVERLAPS,
        "may_manage": project.archived_at is None
        and may_manage_keys(org_id=org.id, user_id=user_id_of(request), project_id=project.id),
    }
    return render(request, "projects/key.html", context, status=400 if form.errors else 200)


@org_page(capability="key.manage", title="Keys", key="projects", granted=granted_here)
@require_POST
def key_revoke(request: HttpRequest, project_slug: str, key_id: UUID) -> HttpResponse:
    """Revoke a key: dead on every process within a second."""
    org = request.org  # type: ignore[attr-defined]
    project = project_by_slug(org.id, project_slug)
    services.revoke_api_key(org_id=org.id, project_id=project.id, key_id=key_id, by_user_id=user_id_of(request))
    messages.success(request, "The key is revoked. Whatever still uses it is refused from now on.")
    return redirect("project", org.slug, project.slug)


@org_page(capability="key.manage", title="Keys", key="projects", personal=True, granted=granted_here)
@never_cache
@require_POST
def key_rotate(request: HttpRequest, project_slug: str, key_id: UUID) -> HttpResponse:
    """Replace a key: the new one is in this answer only, the old one goes on as chosen. Sent again, makes no other."""
    org = request.org  # type: ignore[attr-defined]
    project = project_by_slug(org.id, project_slug)
    key = selectors.key_get(org_id=org.id, project_id=project.id, key_id=key_id)
    if "admin" in key.scopes:
        return step_up_required(_rotate)(request, project, key)
    return _rotate(request, project, key)


def _rotate(request: HttpRequest, project: ProjectInfo, key: ApiKeyInfo) -> HttpResponse:
    org = request.org  # type: ignore[attr-defined]
    if not take_once(request):
        return redirect("project", org.slug, project.slug)
    chosen = request.POST.get("overlap", "")
    seconds = int(chosen) if chosen.isdecimal() and int(chosen) in OVERLAPS else None
    overlap = services.ROTATION_OVERLAP if seconds is None else timedelta(seconds=seconds)
    try:
        made = services.rotate_api_key(
            org_id=org.id, project_id=project.id, key_id=key.id, overlap=overlap, by_user_id=user_id_of(request)
        )
    except Conflict as error:
        messages.error(request, f"{sentence(error)}.")
        return redirect("project", org.slug, project.slug)
    old = selectors.key_get(org_id=org.id, project_id=project.id, key_id=key.id)
    return show_project(request, project, None, made, old)


# ---------------------------------------------------------------- all keys
@org_page(capability="key.read", title="API keys", key="settings")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def keys_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/settings/keys``: every key of the organisation, what is worth a look, and what is asked of all."""
    org = request.org  # type: ignore[attr-defined]
    policy = selectors.key_policy_get(org.id)
    initial = {"max_life_days": policy.max_life_days, "leaked_keys": policy.leaked_keys}
    form = KeyPolicyForm(request.POST or None, initial=initial)
    if request.method == "POST":
        if not can(request, "settings.manage"):
            raise PermissionDenied("Your role lacks 'settings.manage' here")
        if form.is_valid():
            try:
                services.update_key_policy(org_id=org.id, changes=form.cleaned_data)
            except MindWeaveError as error:
                add_problem(form, error)
            else:
                messages.success(request, "Saved. Keys that exist stay as they are.")
                return redirect("keys", org.slug)
    rows, chosen = key_rows(org.id), request.GET.get("show", "")
    shown = words_of_filter(chosen)
    context: dict[str, Any] = {
        "tab": "keys",
        "rows": [row for row in rows if shown is None or shown.holds(row, policy)],
        "every": len(rows),
        "filters": [(name, each.label, sum(each.holds(row, policy) for row in rows)) for name, each in FILTERS.items()],
        "show": chosen if shown else "",
        "shown": shown,
        "policy": policy,
        "form": form,
        "may_manage": can(request, "settings.manage"),
    }
    record_read(what="API keys", org_id=org.id)
    return render(request, "projects/keys.html", context, status=400 if form.errors else 200)


@org_page(capability="key.read", title="API keys", key="settings")
@require_safe
def keys_csv(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/settings/keys.csv``: the same keys, with all that is known of each."""
    org = request.org  # type: ignore[attr-defined]
    policy, shown = selectors.key_policy_get(org.id), words_of_filter(request.GET.get("show", ""))
    rows = [row for row in key_rows(org.id) if shown is None or shown.holds(row, policy)]
    header = [
        "name", "prefix", "project", "environment", "state", "owner", "scopes", "created_at", "expires_at",
        "revoked_at", "last_used_at", "last_used_ip", "allowed_ips", "refused", "id",
    ]  # fmt: skip
    record_read(what="API keys", org_id=org.id, key="csv")
    return csv_response(f"{org.slug}-keys-{now():%Y-%m-%d}", header, map(_line, rows))


def _line(row: KeyRow) -> list[Any]:
    key = row.key
    times = [each.isoformat() if each else "" for each in (key.created_at, key.expires_at, key.revoked_at)]
    return [
        key.name, key.prefix, row.project, key.environment, row.state, row.owner or "service account",
        " ".join(key.scopes), *times, key.last_used_at.isoformat() if key.last_used_at else "", key.last_used_ip,
        " ".join(key.allowed_ips), row.refused, key.id,
    ]  # fmt: skip
