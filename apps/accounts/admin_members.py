"""Members in the staff admin, and the door through which staff enter an organisation in a member's place."""

from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import action
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextareaWidget, UnfoldBooleanWidget

from apps.accounts import impersonation, services
from apps.accounts.forms import ReasonForm
from apps.accounts.models import AccessReview, CustomRole, Impersonation, Membership, Role
from apps.core.admin import ReadOnlyAdmin
from apps.core.errors import MindWeaveError, NotFound
from apps.core.web.forms import add_problem

__all__ = ["AccessReviewAdmin", "CustomRoleAdmin", "ImpersonationAdmin", "MembershipAdmin"]


class EnterForm(forms.Form):
    """Why, for how long, and whether to write."""

    reason = forms.CharField(
        min_length=impersonation.LEAST_REASON, max_length=300, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="The organisation's owners read it in their audit trail.",
    )  # fmt: skip
    minutes = forms.IntegerField(min_value=1, initial=15, widget=UnfoldAdminIntegerFieldWidget)
    may_write = forms.BooleanField(
        required=False, label="Also write", widget=UnfoldBooleanWidget,
        help_text="Without it pages can only be read. Keys, members and deletion stay out of reach in any case.",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        most = settings.IMPERSONATION_MINUTES
        self.fields["minutes"].help_text = f"At most {most}; it can be ended before."
        self.fields["minutes"].max_value = most  # type: ignore[attr-defined]
        self.fields["minutes"].initial = min(15, most)


class RoleFilter(admin.SimpleListFilter):
    """The built-in roles, and all that organisations made as one: their words are too many to list."""

    title = "role"
    parameter_name = "role"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*Role.choices, ("own", "Made by the organisation")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        if chosen == "own":
            return queryset.exclude(role__in=Role.values)
        return queryset.filter(role=chosen) if chosen in Role.values else queryset


@admin.register(CustomRole)
class CustomRoleAdmin(ReadOnlyAdmin):
    list_display = ("name", "key", "org", "number", "created_at", "updated_at")
    list_select_related = ("org",)
    list_filter = (("org", AutocompleteSelectFilter),)
    search_fields = ("name", "key", "org__name")
    ordering = ("-created_at",)

    @admin.display(description="Permissions")
    def number(self, role: CustomRole) -> int:
        return len(role.capabilities)


@admin.register(AccessReview)
class AccessReviewAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "org", "reviewer", "next_due", "note")
    list_select_related = ("org", "reviewer")
    list_filter = (("org", AutocompleteSelectFilter),)
    search_fields = ("reviewer__email", "org__name")
    ordering = ("-created_at",)


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    list_display = ("user", "org", "role", "created_at")
    list_select_related = ("user", "org")
    list_filter = (RoleFilter, ("org", AutocompleteSelectFilter))
    search_fields = ("user__email", "org__name")
    ordering = ("-created_at",)
    actions_detail = ("enter", "make_owner")
    actions_row = ("enter",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        rows: QuerySet[Membership] = super().get_queryset(request).select_related("user", "org")
        return rows

    @action(description="Enter in their place", url_path="enter")
    def enter(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """A page that asks for a reason, and then the organisation as this member sees it."""
        member = Membership.objects.select_related("org", "user").filter(pk=object_id).first()
        if member is None:
            raise NotFound()
        form = EnterForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                impersonation.start(request=request, org_id=member.org.pk, user_id=member.user.pk, **form.cleaned_data)
            except MindWeaveError as error:
                add_problem(form, error)
            else:
                return redirect(f"/o/{member.org.slug}/")
        context = {
            **self.admin_site.each_context(request), "title": f"Enter {member.org} as {member.user}",
            "opts": self.opts, "form": form, "member": member,
            "back": reverse("admin:accounts_membership_change", args=[member.pk]),
        }  # fmt: skip
        return render(request, "staff/enter.html", context, status=400 if form.errors else 200)

    @action(description="Make an owner", url_path="owner")
    def make_owner(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Where the only owner's account is closed: another one, for a reason that the trail keeps."""
        member = Membership.objects.select_related("org", "user").filter(pk=object_id).first()
        if member is None:
            raise NotFound()
        form, problem = ReasonForm(request.POST or None), ""
        if request.method == "POST" and form.is_valid():
            try:
                services.appoint_owner(org_id=member.org.pk, user_id=member.user.pk, **form.cleaned_data)
            except MindWeaveError as error:
                problem = error.errors[0]["detail"] if error.errors else error.detail
            else:
                messages.success(request, f"{member.user} is an owner of {member.org}.")
                return redirect("admin:accounts_membership_change", object_id)
        change = {"key": "owner", "verb": "Make an owner", "consequence": "They may do everything in it, for good."}
        context = {
            **self.admin_site.each_context(request), "title": f"Make {member.user} an owner of {member.org}",
            "opts": self.opts, "orgs": [member.org], "form": form, "problem": problem, "change": change,
            "back": reverse("admin:accounts_membership_change", args=[member.pk]),
        }  # fmt: skip
        return render(request, "staff/reason.html", context, status=400 if form.errors or problem else 200)


@admin.register(Impersonation)
class ImpersonationAdmin(ReadOnlyAdmin):
    """Who was in whose place, and why."""

    list_display = ("started_at", "staff", "user", "org", "may_write", "ends_at", "ended_at", "end_reason", "reason")
    list_select_related = ("staff", "user", "org")
    list_filter = ("may_write",)
    ordering = ("-started_at",)
    actions_detail = ("end_now",)

    @action(description="End it now", url_path="end", permissions=["end"])
    def end_now(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Let the staff member be themselves again, at once."""
        if request.method == "POST":
            impersonation.end_by_staff(stay_id=object_id)
            messages.success(request, "It has ended.")
            return redirect("admin:accounts_impersonation_change", object_id)
        context = {
            **self.admin_site.each_context(request), "title": "End this stay", "opts": self.opts,
            "words": "The staff member is themself again with their next click.", "button": "End it now",
            "back": reverse("admin:accounts_impersonation_change", args=[object_id]),
        }  # fmt: skip
        return render(request, "staff/sure.html", context)

    def has_end_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(self.admin_site.has_permission(request))
