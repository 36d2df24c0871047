"""Imports on the web: files of usage events, how far each is, what was refused of it, and a form for more."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.web import org_page
from apps.core.errors import MindWeaveError, ValidationFailed
from apps.core.pagination import paginate
from apps.core.web.forms import sentence
from apps.projects.selectors import project_list
from apps.usage.imports import selectors, services
from apps.usage.imports.finish import KEPT_AFTER_FAILURE
from apps.usage.imports.upload import FormFileHandler, receive, refuse_announced
from apps.usage.models import Import
from apps.usage.models.imports import UNFINISHED

__all__ = ["import_cancel", "import_page", "import_resume", "import_upload", "imports_page"]

_SHOWN = "25"
_LINES = "50"


@org_page(capability="usage.import", title="Imports", key="imports")
@never_cache
@require_safe
def imports_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/imports``: the organisation's imports, newest first, and a form that takes files.

    While one is under way the list asks for itself anew; htmx gets the list alone.
    """
    org = request.org  # type: ignore[attr-defined]
    page = _page(request, selectors.import_list(org_id=org.id).select_related("project"), _SHOWN)
    context: dict[str, Any] = {
        "rows": page.rows,
        "next": page.next_cursor,
        "is_first": "cursor" not in request.GET,
        "is_going_on": any(row.state in UNFINISHED for row in page.rows),
    }
    if request.headers.get("HX-Request"):
        return render(request, "usage/imports_list.html", context)
    context |= {
        "projects": [(project.slug, project.name) for project in project_list(org.id)],
        "chosen": request.GET.get("project", "")[:100],
        "most_bytes": settings.USAGE_IMPORT_MAX_BYTES,
    }
    return render(request, "usage/imports.html", context)


@org_page(capability="usage.import", title="Import", key="imports")
@never_cache
@require_safe
def import_page(request: HttpRequest, import_id: UUID) -> HttpResponse:
    """``/o/<slug>/imports/<id>``: how far an import is, what it counted, and the lines that were refused, by pages."""
    org = request.org  # type: ignore[attr-defined]
    row = selectors.import_get(org_id=org.id, import_id=import_id)
    page = _page(request, selectors.problem_list(row), _LINES, order=("line", "id"))
    context = {
        "row": row,
        "problems": page.rows,
        "next": page.next_cursor,
        "is_first": "cursor" not in request.GET,
        "is_going_on": row.state in UNFINISHED,
        "may_cancel": row.state in UNFINISHED or row.is_resumable,
        "kept_days": KEPT_AFTER_FAILURE.days,
    }
    alone = request.headers.get("HX-Request")
    return render(request, "usage/import_parts.html" if alone else "usage/import.html", context)


def _page(request: HttpRequest, rows: Any, limit: str, **options: Any) -> Any:
    """A page of a list; a cursor that is none of it begins at the beginning."""
    asked = {"limit": limit, **({"cursor": request.GET["cursor"]} if request.GET.get("cursor") else {})}
    try:
        return paginate(rows, asked, **options)
    except ValidationFailed:
        return paginate(rows, {"limit": limit}, **options)


# ---------------------------------------------------------------- writes
@csrf_exempt  # what it calls is protected, once the handler of files is set: looking for the token reads the form
@org_page(capability="usage.import", title="Imports", key="imports")
@require_POST
def import_upload(request: HttpRequest) -> HttpResponse:
    """Take the one file of a form in, for the project it names.

    Who asks for JSON (the page's script does) gets the address of the import, or the problem; others are sent on.
    """
    request.upload_handlers = [FormFileHandler(request)]
    org_id = request.org.id  # type: ignore[attr-defined]
    # The script asks again by itself: what has no place yet is not read for it each time.
    refuse_announced(request, (lambda: services.refuse_too_many(org_id)) if _is_by_script(request) else None)
    answer: HttpResponse = _upload(request)
    return answer


@csrf_protect
def _upload(request: HttpRequest) -> HttpResponse:
    org = request.org  # type: ignore[attr-defined]
    try:
        row = _taken(request, org.id)
    except MindWeaveError as error:
        if _is_by_script(request):
            raise
        messages.error(request, f"{sentence(error)}.")
        return redirect("imports", org.slug)
    if _is_by_script(request):
        return JsonResponse({"id": str(row.pk), "url": reverse("import", args=[org.slug, row.pk])}, status=202)
    messages.success(request, f"{row.name} is here and is being counted. You may leave this page.")
    return redirect("import", org.slug, row.pk)


def _is_by_script(request: HttpRequest) -> bool:
    return "application/json" in request.headers.get("Accept", "")


def _taken(request: HttpRequest, org_id: UUID) -> Import:
    format = request.POST.get("format", "")
    if format not in ("", *services.FORMATS):
        raise ValidationFailed("This format is not known", errors=[{"pointer": "format", "detail": "jsonl or csv"}])
    project = project_list(org_id).filter(slug=request.POST.get("project", "")[:100].replace("\0", "")).first()
    if project is None:
        raise ValidationFailed("Choose the project whose usage it is", errors=[{"pointer": "project", "detail": "one"}])
    services.check_new_upload(org_id=org_id, project_id=project.pk, idempotency_key=None)
    stored_as, size, name = receive(request)
    return services.start_upload(
        org_id=org_id, project_id=project.pk, key_id=None, stored_as=stored_as, size=size, name=name, format=format
    )


@org_page(capability="usage.import", title="Imports", key="imports")
@require_POST
def import_cancel(request: HttpRequest, import_id: UUID) -> HttpResponse:
    """End an import and remove its file; what was counted stays."""
    return _acted(request, import_id, services.cancel_import, "{} is cancelled. What was counted stays.")


@org_page(capability="usage.import", title="Imports", key="imports")
@require_POST
def import_resume(request: HttpRequest, import_id: UUID) -> HttpResponse:
    """Go on with an upload that failed, behind the last line that was counted."""
    return _acted(request, import_id, services.resume_import, "{} goes on where it stopped.")


def _acted(request: HttpRequest, import_id: UUID, act: Any, said: str) -> HttpResponse:
    org = request.org  # type: ignore[attr-defined]
    name = selectors.import_get(org_id=org.id, import_id=import_id).name
    try:
        act(org_id=org.id, import_id=import_id)
    except MindWeaveError as error:
        messages.error(request, f"{sentence(error)}.")
    else:
        messages.success(request, said.format(name))
    return redirect("import", org.slug, import_id)
