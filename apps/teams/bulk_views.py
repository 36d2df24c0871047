"""Settings → Members: what is done to those that were ticked."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from apps.accounts import selectors as accounts
from apps.accounts.contracts import MemberInfo
from apps.accounts.ports import keys_of_members
from apps.accounts.web import can, org_page
from apps.core.errors import MindWeaveError
from apps.core.web.forms import sentence
from apps.identity.web import user_id_of
from apps.teams import selectors, services
from apps.teams.bulk import MOST_AT_ONCE, BulkRefused

__all__ = ["members_bulk"]


@org_page(capability="member.manage", title="Members", key="settings", personal=True)
@never_cache
@require_POST
def members_bulk(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/settings/members/bulk``: another role, a team, or the end of membership, which is asked twice."""
    org = request.org  # type: ignore[attr-defined]
    chosen = _chosen(request, org.id)
    act = request.POST.get("act", "")
    if not chosen:
        messages.error(request, "Tick who it is about first.")
    elif len(chosen) > MOST_AT_ONCE:
        messages.error(request, f"{MOST_AT_ONCE} people at the most at once.")
    elif act == "remove" and request.POST.get("sure") != "1":
        return _ask(request, org.id, chosen)
    else:
        _do(request, act, chosen)
    return redirect("members", org.slug)


def _chosen(request: HttpRequest, org_id: UUID) -> list[MemberInfo]:
    """Those of the ticked who are members; whoever left meanwhile is left out, and what is no id is nobody."""
    ticked = set(request.POST.getlist("user_id"))
    return [one for one in accounts.member_infos(org_id) if str(one.user_id) in ticked]


def _ask(request: HttpRequest, org_id: UUID, chosen: list[MemberInfo]) -> HttpResponse:
    me = user_id_of(request)
    keys = keys_of_members.get()
    rows = [{"member": one, "keys": keys.count(org_id, one.user_id)} for one in chosen if one.user_id != me]
    context = {
        "tab": "members",
        "rows": rows,
        "keys": sum(row["keys"] for row in rows),  # type: ignore[misc]
        "with_me": len(rows) != len(chosen),
        "me": me,
    }
    return render(request, "teams/members_remove.html", context)


def _do(request: HttpRequest, act: str, chosen: list[MemberInfo]) -> None:
    org = request.org  # type: ignore[attr-defined]
    names = {one.user_id: one.label for one in chosen}
    common: dict[str, Any] = {"org_id": org.id, "user_ids": list(names), "by_user_id": user_id_of(request)}
    try:
        if act == "remove":
            done, words = services.remove_members(**common, keys_to=_uuid(request, "keys_to")), "no longer here"
        elif act == "team" and can(request, "team.manage") and (team_id := _uuid(request, "team_id")) is not None:
            done = services.add_members_to_team(**common, team_id=team_id)
            words = f"now in {selectors.team_names(org.id)[team_id]}"
        elif act == "role" and (role := request.POST.get("role", "")):
            done = services.change_member_roles(**common, role=role)
            words = f"now {accounts.role_label(org_id=org.id, role=role)} here"
        else:
            messages.error(request, "Choose what is to be done with them.")
            return
    except BulkRefused as error:
        for item in error.errors:
            name = list(names.values())[int(item["pointer"].rpartition("/")[2])]
            messages.error(request, f"{name}: {item['detail']}. Nobody was changed.")
    except MindWeaveError as error:
        messages.error(request, f"{sentence(error)}. Nobody was changed.")
    else:
        left = len(chosen) - len(done)
        rest = f" For {left} it was so already." if left else ""
        messages.success(request, f"{len(done)} {'person is' if len(done) == 1 else 'people are'} {words}.{rest}")


def _uuid(request: HttpRequest, name: str) -> UUID | None:
    try:
        return UUID(request.POST.get(name, ""))
    except ValueError:
        return None
