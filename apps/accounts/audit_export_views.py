"""Settings → Audit log → Exports: files of the log that a worker makes, how far they are, and the way to fetch them."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from apps.accounts.audit_views import FORMATS, asked_of, filter_said
from apps.accounts.web import org_page
from apps.audit import selectors as audit
from apps.audit import services as audit_services
from apps.audit.export import file_response
from apps.core.errors import MindWeaveError
from apps.core.web.forms import sentence
from apps.identity.selectors import users_by_ids

__all__ = ["audit_export_file", "audit_exports"]

_SHOWN = 20


@org_page(capability="audit.read", title="Exports of the audit log", key="settings")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def audit_exports(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/settings/audit/exports``: the latest exports, and a form for another of what the address says."""
    org: Any = request.org  # type: ignore[attr-defined]
    asked = asked_of(request)
    said = filter_said(request)
    if request.method == "POST":
        form = request.POST.get("format", "")
        try:
            if form in FORMATS and not asked.problem:
                audit_services.request_export(org_id=org.id, wanted=asked.wanted, form=form)
                messages.success(request, "The file is being made. You may leave this page.")
        except MindWeaveError as error:
            messages.error(request, f"{sentence(error)}.")
        return redirect("audit_exports", org.slug)
    rows = list(audit.export_list().order_by("-created_at", "-id")[:_SHOWN])
    context = {
        "tab": "audit",
        "rows": rows,
        "people": users_by_ids({row.requested_by_id for row in rows if row.requested_by_id}),
        "running": next((row for row in rows if row.state in ("queued", "running")), None),
        "formats": FORMATS,
        "asked": asked,
        "said": said,
        "query": urlencode(said),
    }
    return render(request, "accounts/audit_exports.html", context)


@org_page(capability="audit.read", title="Exports of the audit log", key="settings")
@never_cache
@require_safe
def audit_export_file(request: HttpRequest, export_id: UUID) -> Any:
    """``/o/<slug>/settings/audit/exports/<id>``: the file, until its time is over."""
    return file_response(*audit_services.fetch_export(org_id=request.org.id, export_id=export_id))  # type: ignore[attr-defined]
