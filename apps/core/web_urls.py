"""Pages of the kernel."""

from django.urls import path

from apps.core.web import pages

urlpatterns = [path("dev/components", pages.components, name="components")]
