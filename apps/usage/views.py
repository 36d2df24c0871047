"""Settings: the keys that are counted as tags, and the book of prices."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.web import can, org_page
from apps.core.clock import now
from apps.core.errors import MindWeaveError, PermissionDenied, ValidationFailed
from apps.core.web.forms import add_problem, sentence
from apps.usage import services
from apps.usage.drain.dims import MAX_TAG_VALUES
from apps.usage.forms import KIND_WORDS, PriceForm, TagForm
from apps.usage.selectors.prices import UNPRICED_DAYS, own_price, price_for, price_list, unpriced_models
from apps.usage.selectors.tags import tag_key_list

__all__ = ["price_end", "prices_page", "tag_remove", "tags_page"]


# ---------------------------------------------------------------- tags
@org_page(capability="usage.read", title="Tags", key="settings")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def tags_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/settings/tags``: the metadata keys that usage is counted by, and a form for one more."""
    org = request.org  # type: ignore[attr-defined]
    form = TagForm(request.POST or None)
    if request.method == "POST":
        if not can(request, "settings.manage"):
            raise PermissionDenied("Your role lacks 'settings.manage' here")
        if form.is_valid():
            key = form.cleaned_data["key"]
            try:
                services.register_tag_key(org_id=org.id, key=key)
            except MindWeaveError as error:
                add_problem(form, error)
            else:
                messages.success(request, f"Events are counted by {key} from now on.")
                return redirect("tags", org.slug)
    context = {
        "tab": "tags",
        "form": form,
        "rows": tag_key_list(org.id),
        "most_keys": services.MAX_TAG_KEYS,
        "most_values": MAX_TAG_VALUES,
        "may_manage": can(request, "settings.manage"),
    }
    return render(request, "usage/tags.html", context, status=400 if form.errors else 200)


@org_page(capability="settings.manage", title="Tags", key="settings")
@require_POST
def tag_remove(request: HttpRequest) -> HttpResponse:
    """Stop counting by a key, which the form names: a key may hold what an address cannot."""
    org = request.org  # type: ignore[attr-defined]
    key = request.POST.get("key", "")
    services.remove_tag_key(org_id=org.id, key=key.replace("\0", ""))
    messages.success(request, f"Events are not counted by {key} any more.")
    return redirect("tags", org.slug)


# ---------------------------------------------------------------- prices
@org_page(capability="price.read", title="Prices", key="settings")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def prices_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/settings/prices``: what each model costs here, what has no price, and a form for an own price.

    ``?model=`` fills the form from the price in force.
    """
    org = request.org  # type: ignore[attr-defined]
    may_manage = can(request, "price.manage")
    form = PriceForm(request.POST or None, initial=_initial(request), timezone=org.timezone)
    if request.method == "POST":
        if not may_manage:
            raise PermissionDenied("Your role lacks 'price.manage' here")
        if form.is_valid() and _set_price(request, form):
            return redirect("prices", org.slug)
    text = _text(request, "q")
    past = request.GET.get("past") == "1"
    context: dict[str, Any] = {
        "tab": "prices",
        "form": form,
        "open": form.is_bound or "model" in request.GET,
        "text": text,
        "past": past,
        "kinds": KIND_WORDS,
        "rows": price_list(org_id=org.id, text=text.lower(), past=past),
        "unpriced": unpriced_models(org_id=org.id, timezone=org.timezone),
        "unpriced_days": UNPRICED_DAYS,
        "may_manage": may_manage,
    }
    return render(request, "usage/prices.html", context, status=400 if form.errors else 200)


def _text(request: HttpRequest, name: str) -> str:
    return request.GET.get(name, "").replace("\0", "").strip()[:200]


def _initial(request: HttpRequest) -> dict[str, Any]:
    org = request.org  # type: ignore[attr-defined]
    model = _text(request, "model")
    if not model:
        return {}
    price = price_for(org_id=org.id, model=model)
    return {"model": model} if price is None else PriceForm.initial_of(price)


def _set_price(request: HttpRequest, form: PriceForm) -> bool:
    org = request.org  # type: ignore[attr-defined]
    try:
        services.price_set(org_id=org.id, **form.fields_of_service)
    except ValidationFailed as error:
        for item in error.errors:
            # "/units/input" is the field "input"; "/multipliers/batch" is one line of "multipliers".
            parts = item["pointer"].strip("/").split("/")
            field = next((part for part in reversed(parts) if part in form.fields), None)
            form.add_error(field, item["detail"])
        return False
    except MindWeaveError as error:
        form.add_error(None, sentence(error))
        return False
    messages.success(request, f"{form.cleaned_data['model']} has a price of your own.")
    return True


@org_page(capability="price.manage", title="Prices", key="settings")
@require_POST
def price_end(request: HttpRequest, price_id: UUID) -> HttpResponse:
    """End an own price now; the list price applies again."""
    org = request.org  # type: ignore[attr-defined]
    price = own_price(org_id=org.id, price_id=price_id)
    try:
        services.price_end(price_id=price.id, valid_to=now())
    except ValidationFailed:
        messages.error(request, "This price is not in force: it has ended, or has not begun.")
    else:
        messages.success(request, f"Your price of {price.model} has ended. The list price applies, where there is one.")
    return redirect("prices", org.slug)
