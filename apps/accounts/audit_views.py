"""Settings → Audit log: the trail to read, to take away and to verify."""

import json
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.web import can, org_page
from apps.audit import registry
from apps.audit import selectors as audit
from apps.audit import services as audit_services
from apps.audit.contracts import AuditFilter
from apps.audit.export import export_response
from apps.core.errors import NotFound, ValidationFailed
from apps.core.pagination import paginate

__all__ = ["FORMATS", "asked_of", "audit_entry", "audit_export", "audit_page", "audit_verify", "filter_said"]

_ORDER = ("-occurred_at", "-id")
_PAGE = "50"
FORMATS = {"csv": "CSV, for a spreadsheet", "jsonl": "JSON lines, verifiable", "cef": "CEF, for a SIEM"}
# How long a page may take to verify; the night's verification takes what it needs.
_SECONDS = 8.0


class FilterForm(forms.Form):
    """What the log is narrowed to, as the address of the page has it."""

    action = forms.CharField(max_length=100, required=False)
    actor = forms.UUIDField(required=False)
    target = forms.CharField(max_length=200, required=False)
    start = forms.DateField(required=False)
    end = forms.DateField(required=False)
    correlation = forms.CharField(max_length=100, required=False)
    ip = forms.GenericIPAddressField(required=False)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A filter, and what was wrong with it, in words."""

    wanted: AuditFilter
    problem: str = ""
    is_narrow: bool = False


def asked_of(request: HttpRequest) -> _Asked:
    """What the address of a page narrows the log to."""
    form = FilterForm(request.GET)
    if not form.is_valid():
        return _Asked(AuditFilter(), "An id, an address or a day of the filter cannot be read; everything is shown.")
    data = form.cleaned_data
    zone = ZoneInfo(request.user.timezone or request.org.timezone)  # type: ignore[attr-defined,union-attr]
    wanted = AuditFilter(
        action=data["action"] or None,
        actor_id=data["actor"],
        target_id=data["target"].strip() or None,
        correlation_id=data["correlation"].strip() or None,
        ip=data["ip"] or None,
        start=data["start"] and datetime.combine(data["start"], time(), zone),
        # Days are meant from the first to the last, both included.
        end=data["end"] and datetime.combine(data["end"] + timedelta(days=1), time(), zone),
    )
    return _Asked(wanted, is_narrow=wanted != AuditFilter())


@org_page(capability="audit.read", title="Audit log", key="settings")
@never_cache
@require_safe
def audit_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/settings/audit``: the newest entries that meet the filter, and whether the chain is whole."""
    org = request.org  # type: ignore[attr-defined]
    asked = asked_of(request)
    try:
        query = {"limit": _PAGE, **({"cursor": request.GET["cursor"]} if request.GET.get("cursor") else {})}
        page = paginate(audit.audit_list(asked.wanted), query, order=_ORDER)
    except ValidationFailed:
        asked = replace(asked, problem="That page is no longer there; this is the first.")
        page = paginate(audit.audit_list(asked.wanted), {"limit": _PAGE}, order=_ORDER)
    audit_services.record_read(what="audit log", org_id=org.id)
    known = registry.actions()
    context = {
        "tab": "audit",
        "rows": [(entry, known.get(entry.action, entry.action)) for entry in page.rows],
        "next": page.next_cursor,
        "asked": asked,
        "filter": {name: request.GET.get(name, "") for name in FilterForm.base_fields},
        "families": _families(known),
        "chain": audit.chain_status(org.id),
        "may_manage": can(request, "audit.manage"),
        "exports": _exports(request),
        "query": urlencode(filter_said(request)),
        "is_first": not request.GET.get("cursor"),
    }
    return render(request, "accounts/audit.html", context)


def _exports(request: HttpRequest) -> list[tuple[str, str]]:
    """The files that hold what the filter shows, as words and address."""
    kept = filter_said(request)
    page = reverse("audit_export", args=[request.org.slug])  # type: ignore[attr-defined]
    return [(words, f"{page}?{urlencode({**kept, 'format': form})}") for form, words in FORMATS.items()]


def filter_said(request: HttpRequest) -> dict[str, str]:
    """The parts of the address that narrow the log, as they stand in it."""
    return {name: request.GET[name] for name in FilterForm.base_fields if request.GET.get(name)}


def _families(known: Any) -> list[tuple[str, str]]:
    """What to filter actions by: whole families, then single ones."""
    families = sorted({name.split(".")[0] for name in known})
    return [(f"{family}.*", f"All of {family}") for family in families] + [(name, name) for name in known]


@org_page(capability="audit.read", title="Audit log", key="settings")
@never_cache
@require_safe
def audit_entry(request: HttpRequest, entry_id: UUID) -> HttpResponse:
    """``/o/<slug>/settings/audit/<id>``: one entry: who, what, on what, before and after, from where, why."""
    entry = audit.audit_get(entry_id)
    if entry is None:
        raise NotFound()
    audit_services.record_read(what="audit log", org_id=request.org.id)  # type: ignore[attr-defined]
    context = {
        "tab": "audit",
        "entry": entry,
        "words": registry.actions().get(entry.action, entry.action),
        "before": _lines(entry.changes, 0),
        "after": _lines(entry.changes, 1),
        "place": audit.place_of(entry),
    }
    return render(request, "accounts/audit_entry.html", context)


def _lines(changes: dict[str, list[Any]], side: int) -> str:
    """One side of the changes as text, a field a line; what is null there is left out."""
    sides = {name: pair[side] for name, pair in changes.items() if pair[side] is not None}
    return "\n".join(
        f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in sides.items()
    )


@org_page(capability="audit.read", title="Audit log", key="settings")
@never_cache
@require_safe
def audit_export(request: HttpRequest) -> Any:
    """``/o/<slug>/settings/audit/export``: what the filter shows as a file; ``format`` is jsonl, csv or cef."""
    form: Any = request.GET.get("format", "jsonl")
    if form not in ("jsonl", "csv", "cef"):
        raise ValidationFailed("The format is jsonl, csv or cef", errors=[{"pointer": "format", "detail": "unknown"}])
    asked = asked_of(request)
    if asked.problem:
        # A page says so above what it shows; a file of everything would pass for what was asked for.
        raise ValidationFailed("An id, an address or a day of the filter cannot be read")
    return export_response(request.org.id, asked.wanted, form)  # type: ignore[attr-defined]


@org_page(capability="audit.read", title="Audit log", key="settings")
@require_POST
def audit_verify(request: HttpRequest) -> HttpResponse:
    """Verify the chain now, as far as a page's patience goes."""
    org = request.org  # type: ignore[attr-defined]
    found = audit_services.verify_org(org_id=org.id, seconds=_SECONDS)
    if found.broken is not None:
        where = f"position {found.broken.position:,}" if found.broken.position else f"entry {found.broken.entry_id}"
        messages.error(request, f"The chain is broken at {where}: {found.broken.reason.replace('_', ' ')}.")
    elif found.complete:
        messages.success(request, f"Verified: {found.entries:,} entries are as they were sealed.")
    else:
        messages.success(request, f"Verified the first {found.entries:,} entries; the rest is verified every night.")
    return redirect("audit", org.slug)
