"""All addresses of MindWeave: the API exactly as documented, the pages, the staff admin."""

from importlib.util import find_spec

from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path

from mindweave.admin_site import staff_site

urlpatterns: list[URLPattern | URLResolver] = [path("admin/", staff_site.urls)]

# Each app brings its own: `api_urls` for the API, `web_urls` for pages.
for _app in settings.MINDWEAVE_APPS:
    for _module in ("api_urls", "web_urls"):
        if find_spec(f"{_app}.{_module}"):
            urlpatterns.append(path("", include(f"{_app}.{_module}")))

handler400 = "apps.core.middleware.bad_request"
handler403 = "apps.core.middleware.forbidden"
handler404 = "apps.core.middleware.not_found"
handler500 = "apps.core.middleware.server_error"
