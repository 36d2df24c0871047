"""Where a visit starts: the public page, one's home, a new organisation."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from apps.accounts import selectors, services
from apps.accounts.forms import OrganizationForm
from apps.core.errors import MindWeaveError
from apps.core.web.forms import add_problem
from apps.identity.web import user_id_of

__all__ = ["start", "welcome"]


@require_safe
@never_cache
def start(request: HttpRequest) -> HttpResponse:
    """``/``: the public page; signed in, the way to one's organisation, or to making the first one."""
    if not request.user.is_authenticated:
        return render(request, "accounts/landing.html")
    org_id = selectors.default_org_id(user_id_of(request))
    return redirect("/welcome" if org_id is None else f"/o/{selectors.org_get(org_id).slug}/")


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def welcome(request: HttpRequest) -> HttpResponse:
    """``/welcome``: make an organisation, then go on to its first event. ``?new=1`` makes another one."""
    if request.method != "POST" and "new" not in request.GET:
        org_id = selectors.default_org_id(user_id_of(request))
        if org_id is not None:
            return redirect("first_run", selectors.org_get(org_id).slug)
    form = OrganizationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            org = services.create_organization(owner_id=user_id_of(request), **form.cleaned_data)
        except MindWeaveError as error:
            add_problem(form, error)
        else:
            return redirect("first_run", org.slug)
    status = 400 if form.errors else 200
    return render(request, "accounts/welcome.html", {"form": form}, status=status)
