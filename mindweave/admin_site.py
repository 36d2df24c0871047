"""The staff admin: one site over every model, behind a second factor.

Apps register their models on Django's default site (`@admin.register`), which is this one.
"""

import json
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin import sites
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.module_loading import autodiscover_modules
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django_otp import login as otp_login
from unfold.sites import UnfoldAdminSite

from apps.core.errors import MindWeaveError, NotAuthenticated, PermissionDenied
from apps.core.overview import panels
from apps.identity import mfa, webauthn
from apps.identity.forms import KeyForm
from apps.identity.selectors import factor_list
from apps.identity.services import valid_second_factor

__all__ = ["StaffSite"]

_SECRET = "staff.enrolling"  # noqa: S105 - the session's key for it


class StaffSite(UnfoldAdminSite):
    """Staff sign in on the product's login page, then prove a second factor; who has none enrols one first."""

    site_header = "MindWeave staff"
    site_title = "MindWeave staff"
    index_title = "Overview"
    index_template = "staff/overview.html"

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Only what goes through services: libraries' own pages write round them, and the trail would not know."""
        # Read here: that module registers a model of its own, which must find this site in its place.
        from apps.core.admin import StaffModelAdmin

        if admin_class is not None and issubclass(admin_class, StaffModelAdmin):
            super().register(model_or_iterable, admin_class, **options)

    def has_permission(self, request: HttpRequest) -> bool:
        user: Any = request.user
        return bool(user.is_active and user.is_staff and user.is_verified())

    def extra_urls(self) -> list[URLPattern]:
        return [
            path("enrol/", self.enrol, name="enrol"),
            path("verify/", self.verify, name="verify"),
        ]

    @method_decorator(never_cache)
    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The overview: what every part of the product says of itself, its problems first."""
        shown = [
            (each, [(words, reverse(f"admin:{route}_changelist")) for words, route in each.links]) for each in panels()
        ]
        problems = [(each.title, problem) for each, _ in shown for problem in each.panel.problems]
        context = {**(extra_context or {}), "panels": shown, "problems": problems}
        response: TemplateResponse = super().index(request, context)
        return response

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        target = self._target(request)
        user: Any = request.user
        if not user.is_authenticated:
            return redirect_to_login(target, "/login")
        if not (user.is_active and user.is_staff):
            raise PermissionDenied("This part is for MindWeave's staff")
        if user.is_verified():
            return HttpResponseRedirect(target)
        step = "verify" if mfa.device_of(user) else "enrol"
        return redirect(f"{reverse(f'admin:{step}')}?{urlencode({'next': target})}")

    @method_decorator([never_cache, csrf_protect])
    def verify(self, request: HttpRequest) -> HttpResponse:
        """Ask for the second factor: a code of the app, a recovery code, or a security key or passkey."""
        user = self._staff(request)
        device = mfa.device_of(user)
        if device is None:
            return redirect("admin:enrol")
        problem = ""
        if request.method == "POST":
            try:
                if proved := self._proved(request, user, device):
                    otp_login(request, proved)
                    return HttpResponseRedirect(self._target(request))
                problem = "That code is not right; codes change every 30 seconds."
            except MindWeaveError as error:
                problem = error.detail
        kinds = {factor.kind for factor in factor_list(user.pk)}
        begun = webauthn.begin_proof(user=user) if kinds - {"totp"} else None
        key = {"token": begun["challenge_token"], "options": json.dumps(begun["options"])} if begun else None
        return self._page(request, "verify", {"title": "Second factor", "problem": problem, "key": key})

    def _proved(self, request: HttpRequest, user: Any, device: Any) -> Any:
        """The factor that was shown, as django-otp wants it; None for a wrong code."""
        if request.POST.get("by") != "key":
            return device if valid_second_factor(user, request.POST.get("code", "")) else None
        form = KeyForm(request.POST)
        if not form.is_valid():
            raise NotAuthenticated("The browser sent no key; try again", code="invalid_credential")
        given = form.cleaned_data
        return webauthn.finish_proof(user=user, token=given["challenge_token"], credential=given["credential"])

    @method_decorator([never_cache, csrf_protect])
    def enrol(self, request: HttpRequest) -> HttpResponse:
        """Enrol an authenticator app, then show the recovery codes once."""
        user = self._staff(request)
        if mfa.device_of(user):
            return redirect("admin:verify")
        adapter, pending = mfa.MfaAdapter(), request.session.get(_SECRET)
        enrolment = mfa.new_enrolment(user, secret=adapter.decrypt(pending) if pending else None)
        if not pending:
            request.session[_SECRET] = adapter.encrypt(enrolment.secret)
        problem = ""
        if request.method == "POST":
            try:
                codes = mfa.enable_totp(user=user, secret=enrolment.secret, code=request.POST.get("code", ""))
            except MindWeaveError as error:
                problem = error.detail
            else:
                del request.session[_SECRET]
                otp_login(request, mfa.device_of(user))
                return self._page(request, "codes", {"title": "Recovery codes", "codes": codes})
        return self._page(
            request, "enrol", {"title": "Set up a second factor", "enrolment": enrolment, "problem": problem}
        )

    def _staff(self, request: HttpRequest) -> Any:
        if not (request.user.is_active and request.user.is_staff):
            raise PermissionDenied("This part is for MindWeave's staff")
        return request.user

    def _target(self, request: HttpRequest) -> str:
        index = reverse("admin:index")
        target = request.POST.get("next") or request.GET.get("next") or index
        own = url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure())
        return target if own and target.startswith(index) else index

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        context |= {**self.each_context(request), "title": context["title"], "next": self._target(request)}
        return render(request, f"staff/{name}.html", context)


def _install() -> StaffSite:
    """Put our site in the place of Django's default one, then let every app register there."""
    site = StaffSite(name="admin")
    # unfold has put a site of its own there: both names must change hands before anybody registers.
    admin.site = sites.site = site
    admin.autodiscover()
    autodiscover_modules("overview")
    return site


staff_site = _install()
