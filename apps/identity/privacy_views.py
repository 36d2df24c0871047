"""``/account/privacy``: what is kept of a person, theirs to take away and to have erased."""

from typing import Any

from django.contrib.auth import logout as django_logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.core.errors import MindWeaveError
from apps.core.personal import all_parts
from apps.core.web.forms import add_problem
from apps.identity import services
from apps.identity.forms import EraseForm
from apps.identity.web import account_context, step_up_required, user_id_of

__all__ = ["erased", "export", "privacy"]


@never_cache
@login_required
@step_up_required
@require_http_methods(["GET", "HEAD", "POST"])
def privacy(request: HttpRequest) -> HttpResponse:
    """What is kept, and the end of it: the form erases whoever types their own address."""
    user: Any = request.user
    form = EraseForm(request.POST or None, email=user.email)
    status = 400 if form.errors else 200
    if request.method == "POST" and form.is_valid():
        try:
            services.erase_person(user_id=user.pk, reason="asked by the person")
        except MindWeaveError as error:
            add_problem(form, error)
            status = error.status
        else:
            django_logout(request)
            return redirect("account_erased")
    titles = [part.title for part in all_parts()]
    context = {**account_context("privacy"), "form": form, "titles": titles}
    return render(request, "identity/privacy.html", context, status=status)


@never_cache
@login_required
@step_up_required
@require_POST
def export(request: HttpRequest) -> HttpResponse:
    """All of it as one file of JSON."""
    found = services.export_person(user_id=user_id_of(request))
    return JsonResponse(
        found, json_dumps_params={"indent": 2, "ensure_ascii": False},
        headers={"Content-Disposition": 'attachment; filename="mindweave-personal-data.json"'},
    )  # fmt: skip


@require_safe
def erased(request: HttpRequest) -> HttpResponse:
    """What is said to whoever is nobody here any more."""
    return render(request, "identity/erased.html")
