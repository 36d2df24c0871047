"""Pages of the kernel."""

from django.urls import path
from django.views.generic import RedirectView

from apps.core.web import guide, pages

urlpatterns = [
    path("dev/components", pages.components, name="components"),
    path("guide", RedirectView.as_view(pattern_name="guide", query_string=True), name="guide_bare"),
    path("guide/", guide.guide, name="guide"),
    path("guide/img/<str:name>", guide.guide_image, name="guide_image"),
    path("guide/<slug:slug>", guide.guide, name="guide_page"),
]
