"""Organisations and members for staff: to look at, to suspend and to resume."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from apps.accounts import services, staff
from apps.accounts.admin_life import OrgExportAdmin, OrgSlugAdmin, OrgTombstoneAdmin
from apps.accounts.admin_members import AccessReviewAdmin, CustomRoleAdmin, ImpersonationAdmin, MembershipAdmin
from apps.accounts.forms import ExtendForm, ReasonForm
from apps.accounts.models import Organization, OrgStatus
from apps.core.admin import StaffModelAdmin
from apps.core.clock import now
from apps.core.errors import MindWeaveError

__all__ = [
    "AccessReviewAdmin",
    "CustomRoleAdmin",
    "ImpersonationAdmin",
    "MembershipAdmin",
    "OrgExportAdmin",
    "OrgSlugAdmin",
    "OrgTombstoneAdmin",
    "OrganizationAdmin",
]

AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class _Change:
    """What staff may do to organisations; ``cannot`` says of one why not, empty where it can be done."""

    key: str
    verb: str
    done: str
    consequence: str
    service: Callable[..., None]
    cannot: Callable[[Organization], str]
    form: type[ReasonForm] = ReasonForm


def _each(service: Callable[..., Any]) -> Callable[..., None]:
    """A service for one organisation, done to several: to all of them or to none."""

    def service_of_all(*, org_ids: Sequence[UUID], **given: Any) -> None:
        with transaction.atomic():
            for org_id in org_ids:
                service(org_id=org_id, **given)

    return service_of_all


def _living(settled: OrgStatus, words: str) -> Callable[[Organization], str]:
    def cannot(org: Organization) -> str:
        if org.status == OrgStatus.DELETED:
            return "deleted"
        return words if org.status == settled else ""

    return cannot


def _not_to_save(org: Organization) -> str:
    if org.status != OrgStatus.DELETED:
        return "not deleted"
    return "" if org.can_be_restored(now()) else "past its grace"


SUSPEND = _Change(
    "suspend",
    "Suspend",
    "suspended",
    "Their keys and API calls are refused within a second and nothing new is counted. Their people can still read the "
    "pages and change nothing.",
    services.suspend_organizations,
    _living(OrgStatus.SUSPENDED, "suspended already"),
)
RESUME = _Change(
    "resume",
    "Resume",
    "resumed",
    "Their keys work again within a second and their people can write again. What was refused meanwhile is not counted "
    "later.",
    services.resume_organizations,
    _living(OrgStatus.ACTIVE, "not suspended"),
)
RESTORE = _Change(
    "restore",
    "Restore",
    "restored",
    "Everything is as it was before the deletion, a suspension included; keys work again within a second and the "
    "members are told by mail.",
    _each(services.restore_organization),
    _not_to_save,
)
EXTEND = _Change(
    "extend",
    "Extend the grace of",
    "grace extended",
    "They stay deleted, and can be restored for so many days more before they are erased.",
    _each(services.extend_grace),
    _not_to_save,
    ExtendForm,
)
CHANGES = (SUSPEND, RESUME, RESTORE, EXTEND)


@admin.register(Organization)
class OrganizationAdmin(StaffModelAdmin):
    list_display = ("name", "slug", "status", "plan", "timezone", "raw_retention_days", "created_at", "erase_at")
    list_filter = ("status", "plan", "requires_mfa")
    search_fields = ("name", "slug")
    ordering = ("name",)
    actions = ("suspend", "resume", "restore", "extend")

    def get_urls(self) -> list[URLPattern]:
        pages = [
            path(f"{change.key}/", self.admin_site.admin_view(self._changer(change)), name=_url_name(change))
            for change in CHANGES
        ]
        return [*pages, *super().get_urls()]

    # ------------------------------------------------------------ the page of one
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        org = self.get_object(request, object_id)
        if org is None or request.method not in ("GET", "HEAD"):
            # Not there, or a write, which it refuses.
            response: HttpResponse = super().change_view(request, object_id, form_url, extra_context)
            return response
        offered = [change for change in CHANGES if not change.cannot(org)]
        context = {
            "title": org.name,
            "original": org,
            "facts": staff.facts(org),
            "panels": staff.panels(org.pk),
            "tenant_links": staff.tenant_links(org) if org.status != OrgStatus.DELETED else [],
            "changes": [(change.verb, _address(change, [org.pk])) for change in offered],
            "trail_url": f"{reverse('admin:audit_auditentry_changelist')}?q={org.pk}",
        }
        return self._page(request, "organization", context)

    # ------------------------------------------------------------ suspending and resuming
    @admin.action(description="Suspend…")
    def suspend(self, request: HttpRequest, queryset: QuerySet[Organization]) -> HttpResponse | None:
        return self._ask(request, queryset, SUSPEND)

    @admin.action(description="Resume…")
    def resume(self, request: HttpRequest, queryset: QuerySet[Organization]) -> HttpResponse | None:
        return self._ask(request, queryset, RESUME)

    @admin.action(description="Restore…")
    def restore(self, request: HttpRequest, queryset: QuerySet[Organization]) -> HttpResponse | None:
        return self._ask(request, queryset, RESTORE)

    @admin.action(description="Extend the grace…")
    def extend(self, request: HttpRequest, queryset: QuerySet[Organization]) -> HttpResponse | None:
        return self._ask(request, queryset, EXTEND)

    def _ask(self, request: HttpRequest, queryset: QuerySet[Organization], change: _Change) -> HttpResponse | None:
        ids = list(queryset.values_list("pk", flat=True)[: AT_ONCE + 1])
        if len(ids) > AT_ONCE:
            self.message_user(request, f"{change.verb} {AT_ONCE} organisations at once at most.", messages.ERROR)
            return None
        return HttpResponseRedirect(_address(change, ids))

    def _changer(self, change: _Change) -> Callable[[HttpRequest], HttpResponse]:
        def view(request: HttpRequest) -> HttpResponse:
            return self._confirm(request, change)

        return view

    def _confirm(self, request: HttpRequest, change: _Change) -> HttpResponse:
        """Ask for the reason, then do it to all of them or to none."""
        named = request.POST if request.method == "POST" else request.GET
        ids = _uuids(named.getlist("id"))
        orgs = list(Organization.objects.filter(pk__in=ids).order_by("name", "id")) if len(ids) <= AT_ONCE else []
        back = _back(orgs)
        if not orgs or len(orgs) < len(ids):
            said = f"Choose 1 to {AT_ONCE} organisations that exist. Nothing was changed."
            self.message_user(request, said, messages.ERROR)
            return HttpResponseRedirect(back)
        form = change.form(request.POST if request.method == "POST" else None)
        problem = _cannot(orgs, change)
        if request.method == "POST" and form.is_valid() and not problem:
            try:
                change.service(org_ids=[org.pk for org in orgs], **form.cleaned_data)
            except MindWeaveError as error:
                problem = error.detail or error.title
            else:
                self.message_user(request, f"{', '.join(org.name for org in orgs)}: {change.done}.", messages.SUCCESS)
                return HttpResponseRedirect(back)
        title = f"{change.verb} {orgs[0].name if len(orgs) == 1 else f'{len(orgs)} organisations'}"
        context = {"title": title, "orgs": orgs, "change": change, "form": form, "problem": problem, "back": back}
        refused = problem or (request.method == "POST" and form.errors)
        return self._page(request, "reason", context, status=400 if refused and request.method == "POST" else 200)

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
        request.current_app = self.admin_site.name
        context = {**self.admin_site.each_context(request), "opts": self.opts, **context}
        return TemplateResponse(request, f"staff/{name}.html", context, status=status)


def _url_name(change: _Change) -> str:
    return f"accounts_organization_{change.key}"


def _address(change: _Change, ids: Sequence[UUID]) -> str:
    return f"{reverse(f'admin:{_url_name(change)}')}?{urlencode([('id', each) for each in ids])}"


def _back(orgs: Sequence[Organization]) -> str:
    if len(orgs) == 1:
        return reverse("admin:accounts_organization_change", args=[orgs[0].pk])
    return reverse("admin:accounts_organization_changelist")


def _uuids(texts: Sequence[str]) -> set[UUID]:
    """The ids; what is none stands for an organisation that does not exist."""
    found = set()
    for text in texts:
        try:
            found.add(UUID(text))
        except ValueError:
            found.add(UUID(int=0))
    return found


def _cannot(orgs: Sequence[Organization], change: _Change) -> str:
    """Why the change cannot be made, as a sentence; the service has the last word, with the rows locked."""
    reasons: dict[str, list[str]] = {}
    for org in orgs:
        if why := change.cannot(org):
            reasons.setdefault(why, []).append(org.name)
    said = [f"{', '.join(names)}: {why}." for why, names in reasons.items()]
    return " ".join([*said, "Nothing was changed."]) if said else ""
