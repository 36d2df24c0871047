"""Pages of analytics: Home, and the first run that ends on it."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from apps.accounts.web import can, org_page
from apps.analytics.day_panel import METRICS, STACKS
from apps.analytics.export import PANELS, csv_response
from apps.analytics.first_event import FirstEvent, first_event, has_usage
from apps.analytics.home import home, home_days
from apps.analytics.live import snapshot
from apps.analytics.period import PERIODS, period_of
from apps.core.errors import MindWeaveError, NotFound
from apps.core.registry import home_tiles
from apps.core.web.forms import add_problem, new_once, take_once
from apps.identity.web import user_id_of
from apps.projects import selectors as projects
from apps.projects.contracts import ProjectInfo
from apps.projects.forms import ProjectForm
from apps.projects.permissions import may_manage_keys
from apps.projects.services import create_api_key, create_project
from apps.projects.snippets import public_url, snippets

__all__ = ["first_event_page", "first_run", "home_csv", "home_page", "live"]


def _days(request: HttpRequest) -> dict[str, str]:
    """What the panel of days shows: ``metric`` and ``stack`` of the address."""
    metric, stack = request.GET.get("metric", ""), request.GET.get("stack", "")
    return {"metric": metric if metric in METRICS else "spend", "stack": stack if stack in STACKS else "model"}


# ---------------------------------------------------------------- Home
@org_page(capability="usage.read", title="Home", key="home")
@require_safe
def home_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/``: what was spent, on what, by whom, and what happens now."""
    org = request.org  # type: ignore[attr-defined]
    period = period_of(request.GET.get("period"), org.timezone)
    days = _days(request)
    context: dict[str, Any] = {"period": period, "periods": PERIODS, "metrics": METRICS, "stacks": STACKS}
    if request.headers.get("HX-Target") == "days":
        context["panel"] = home_days(org_id=org.id, period=period, **days)
        response = render(request, "analytics/home_days.html", context)
        # The same address answers with the whole page to everybody else.
        response.headers["Vary"] = "HX-Target, Cookie"
        return response
    page = home(org_id=org.id, slug=org.slug, period=period, **days)
    context |= {"home": page, "panel": page.panel, "live": snapshot(org.id, org.timezone)}
    context["tiles"] = _tiles(request, period)
    context["may_see_prices"] = can(request, "price.read")
    if page.is_empty:
        context["ever"] = has_usage(org.id)
    return render(request, "analytics/home.html", context)


def _tiles(request: HttpRequest, period: Any) -> list[dict[str, Any]]:
    """Tiles that other apps have put on Home, for those who may see them."""
    org = request.org  # type: ignore[attr-defined]
    return [
        {"tile": tile, "context": tile.context(org, period)}
        for tile in home_tiles.all()
        if not tile.capability or can(request, tile.capability)
    ]


@org_page(capability="usage.read", title="Home", key="home")
@require_safe
def home_csv(request: HttpRequest, panel: str) -> HttpResponse:
    """``/o/<slug>/home/<panel>.csv``: what a panel of Home shows, exactly."""
    org = request.org  # type: ignore[attr-defined]
    if panel not in PANELS:
        raise NotFound()
    period = period_of(request.GET.get("period"), org.timezone)
    page = home(org_id=org.id, slug=org.slug, period=period, **_days(request))
    header, rows = PANELS[panel](page)
    name = f"{org.slug}-{panel}-{period.first.isoformat()}-{period.last.isoformat()}"
    return csv_response(name, header, rows)


@org_page(capability="usage.read", title="Home")
@never_cache
@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/live``: what the socket says, for pages that cannot have one."""
    org = request.org  # type: ignore[attr-defined]
    return JsonResponse(snapshot(org.id, org.timezone))


# ---------------------------------------------------------------- first run
@org_page(capability="usage.read", title="Get started", key="home", personal=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def first_run(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/welcome``: project, key, snippet, and the first event as it arrives.

    Each step is a form; the key is in the answer to its form only. Loading that answer again makes no second key: the
    form's ``once`` is taken a single time.
    """
    org = request.org  # type: ignore[attr-defined]
    form = ProjectForm(teams={})
    made: tuple[Any, str] | None = None
    if request.method == "POST" and request.POST.get("step") == "project" and can(request, "project.manage"):
        form = ProjectForm(request.POST, teams={})
        if form.is_valid():
            try:
                project = create_project(org_id=org.id, name=form.cleaned_data["name"])
            except MindWeaveError as error:
                add_problem(form, error)
            else:
                return redirect(f"{request.path}?project={project.slug}")
    current = _chosen_project(request)
    if request.method == "POST" and request.POST.get("step") == "key" and current and _may_make_key(request, current):
        if not take_once(request):
            return redirect(f"{request.path}?project={current.slug}")
        made = create_api_key(
            org_id=org.id,
            project_id=current.id,
            name="First key",
            scopes=["ingest", "read"],
            owner_id=user_id_of(request),
            by_user_id=user_id_of(request),
        )
    return render(request, "analytics/first_run.html", _first_run_context(request, form, current, made),
                  status=400 if form.errors else 200)  # fmt: skip


def _may_make_key(request: HttpRequest, project: ProjectInfo) -> bool:
    return may_manage_keys(org_id=project.org_id, user_id=user_id_of(request), project_id=project.id)


def _chosen_project(request: HttpRequest) -> ProjectInfo | None:
    """The project that the address names; without one the newest, so that a visit goes on where it stopped."""
    org = request.org  # type: ignore[attr-defined]
    rows = projects.project_list(org.id)
    slug = request.POST.get("project") or request.GET.get("project")
    found = rows.filter(slug=slug).first() if slug else rows.order_by("-created_at").first()
    if slug and found is None:
        raise NotFound()
    return projects.project_info(found) if found else None


def _first_run_context(
    request: HttpRequest, form: ProjectForm, project: ProjectInfo | None, made: tuple[Any, str] | None
) -> dict[str, Any]:
    org = request.org  # type: ignore[attr-defined]
    keys = (
        [projects.key_info(key) for key in projects.key_list(org_id=org.id, project_id=project.id)] if project else []
    )
    working = [key for key in keys if key.revoked_at is None]
    event = first_event(org.id, project.id) if project else None
    return {
        "form": form,
        "project": project,
        "made": made,
        "key": made[0] if made else (working[0] if working else None),
        "once": new_once(),
        "event": event,
        "snippets": snippets(base_url=public_url(request), token=made[1] if made else None),
        "host": request.get_host(),
        "may_make_project": can(request, "project.manage"),
        "may_make_key": project is not None and _may_make_key(request, project),
    }


@org_page(capability="usage.read", title="Get started")
@never_cache
@require_safe
def first_event_page(request: HttpRequest, project_slug: str) -> HttpResponse:
    """The fragment that waits: 204 until the project's first event is there."""
    org = request.org  # type: ignore[attr-defined]
    project = projects.project_list(org.id).filter(slug=project_slug).first()
    if project is None:
        raise NotFound()
    event: FirstEvent | None = first_event(org.id, project.pk)
    if event is None:
        return HttpResponse(status=204)
    context = {"event": event, "project": projects.project_info(project)}
    return render(request, "analytics/first_event_live.html", context)
