"""Pages of the kernel: in development, every component on one page."""

from decimal import Decimal

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.core.errors import NotFound
from apps.core.web.sample import NEW_TEXT, OLD_TEXT, SampleForm, sample_chart, sample_snippets

__all__ = ["components"]


@require_safe
def components(request: HttpRequest) -> HttpResponse:
    """``/dev/components``: what pages are made of, light and dark; 404 outside development."""
    if not settings.DEVELOPMENT:
        raise NotFound()
    wrong = SampleForm({"name": "", "scopes": ["read"]}, auto_id="wrong_%s")
    context = {
        "form": SampleForm(),
        "wrong": wrong,
        "snippets": sample_snippets(),
        "amounts": [Decimal(text) for text in ("0", "0.000073", "0.0501", "5.26", "26200.699655", "1284310")],
        "counts": [7, 412, 18_406, 18_812_345, 1_280_000_000],
        "times": [830, 8_450, 14_000, 123_000, 11_040_000],
        "values": [12, 18, 17, 22, 9, 4, 14, 21, 25, 19],
        "parts": [(1, 42), (2, 27), (3, 16), (4, 9), (0, 6)],
        "series": range(1, 8),
        "tones": ["", "ok", "warn", "danger"],
        "choices": [
            ("Cost", "metric=cost", True),
            ("Calls", "metric=calls", False),
            ("Tokens", "metric=tokens", False),
        ],
        "kinds": {"": "Anything", "a": "One kind", "b": "Another"},
        "periods": {"28d": "Last 28 days", "90d": "Last 90 days"},
        "chosen": ["gait-planner", "fleet-api"],
        "chart": sample_chart(),
        "old": OLD_TEXT,
        "new": NEW_TEXT,
    }
    return render(request, "core/components.html", context)
