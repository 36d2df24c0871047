"""Pages of the kernel."""

from django.urls import path

from apps.core.web import guide, pages

urlpatterns = [
    path("dev/components", pages.components, name="components"),
    path("guide/", guide.guide, name="guide"),
    path("guide/img/<str:name>", guide.guide_image, name="guide_image"),
    path("guide/<slug:slug>", guide.guide, name="guide_page"),
]
