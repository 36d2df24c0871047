from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextareaWidget

from apps.core.admin import ReadOnlyAdmin, StaffModelAdmin
from apps.core.errors import MindWeaveError, NotFound
from apps.identity import mfa, services
from apps.identity.models import Challenge, FactorDevice, OAuthIdentity, RefreshToken, SignIn, SigningKey, User


class EraseReasonForm(forms.Form):
    """Why staff erase somebody."""

    reason = forms.CharField(
        max_length=300, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}), error_messages={"required": "Say why."},
        help_text="It stays readable in the audit trail: do not name them in it.",
    )  # fmt: skip


@admin.register(User)
class UserAdmin(StaffModelAdmin):
    list_display = ("email", "name", "is_staff", "is_active", "date_joined", "last_login")
    list_filter = ("is_staff", "is_active")
    search_fields = ("email", "name")
    ordering = ("email",)
    exclude = ("password",)
    actions = ("end_sessions", "remove_second_factor")
    actions_detail = ("erase",)

    @action(description="Erase…", url_path="erase")
    def erase(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """A page that says what it means and asks for a reason; then they are erased, or nothing happened."""
        user = User.objects.filter(pk=object_id).first()
        if user is None:
            raise NotFound()
        form, problem = EraseReasonForm(request.POST or None), ""
        if request.method == "POST" and form.is_valid():
            try:
                services.erase_person(user_id=user.pk, by_staff=True, **form.cleaned_data)
            except MindWeaveError as error:
                problem = error.detail or error.title
            else:
                self.message_user(request, "They are erased.", messages.SUCCESS)
                return redirect("admin:identity_user_changelist")
        context = {
            **self.admin_site.each_context(request), "title": f"Erase {user.email}", "opts": self.opts, "form": form,
            "problem": problem, "person": user, "back": reverse("admin:identity_user_change", args=[user.pk]),
        }  # fmt: skip
        return render(request, "staff/erase.html", context, status=400 if form.errors or problem else 200)

    @admin.action(description="End all their sign-ins")
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for user in queryset:
            services.end_all_sessions(user_id=user.pk, reason="ended_by_staff")
        self.message_user(request, "Their sign-ins have ended.")

    @admin.action(description="Remove their second factors")
    def remove_second_factor(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for user in queryset:
            mfa.disable_totp(user=user, reason="removed by staff")
        self.message_user(request, "They can enrol a new factor now.")


@admin.register(SignIn)
class SignInAdmin(ReadOnlyAdmin):
    list_display = ("id", "user", "kind", "device", "country", "created_at", "last_used_at", "ended_at", "end_reason")
    list_select_related = ("user",)
    list_filter = ("kind", ("ended_at", admin.EmptyFieldListFilter), ("user", AutocompleteSelectFilter))
    search_fields = ("user__email",)
    sortable_by = ()
    ordering = ("-last_used_at",)


@admin.register(RefreshToken)
class RefreshTokenAdmin(ReadOnlyAdmin):
    list_display = ("id", "family", "created_at", "used_at")
    list_select_related = ("family",)
    exclude = ("digest",)
    sortable_by = ()
    ordering = ("-id",)


@admin.register(SigningKey)
class SigningKeyAdmin(ReadOnlyAdmin):
    list_display = ("id", "created_at", "retired_at")
    exclude = ("private_pem",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[SigningKey]:
        """Without the private keys: to show a list is no reason to decrypt them."""
        rows: QuerySet[SigningKey] = super().get_queryset(request).defer("private_pem")
        return rows


@admin.register(FactorDevice)
class FactorDeviceAdmin(ReadOnlyAdmin):
    list_display = ("id", "user", "name", "is_passkey", "confirmed")
    list_select_related = ("user",)
    search_fields = ("user__email",)
    exclude = ("credential_id",)
    ordering = ("-id",)


@admin.register(OAuthIdentity)
class OAuthIdentityAdmin(ReadOnlyAdmin):
    list_display = ("id", "user", "provider", "email", "created_at", "last_used_at")
    list_select_related = ("user",)
    list_filter = ("provider",)
    search_fields = ("user__email", "email", "subject")
    sortable_by = ()
    ordering = ("-id",)


@admin.register(Challenge)
class ChallengeAdmin(ReadOnlyAdmin):
    list_display = ("id", "purpose", "user", "expires_at")
    list_select_related = ("user",)
    list_filter = ("purpose",)
    exclude = ("digest", "data")
    sortable_by = ()
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Challenge]:
        """Without what they hold: to show a list is no reason to decrypt it."""
        rows: QuerySet[Challenge] = super().get_queryset(request).defer("data")
        return rows
