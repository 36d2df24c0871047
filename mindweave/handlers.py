"""Django's handlers of requests: of pages, and of calls of the API without what only a browser needs."""

from functools import lru_cache

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest
from django.urls import ResolverMatch, get_resolver

__all__ = ["API_MIDDLEWARE", "ApiHandler", "PageHandler"]

# What of the middleware a call of the API needs that names its caller by a header.
API_MIDDLEWARE = [
    "apps.core.middleware.RequestContextMiddleware",
    "apps.core.middleware.SecurityHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "apps.core.middleware.ProblemMiddleware",
]


@lru_cache(maxsize=4096)
def _match(urls: str, path: str) -> ResolverMatch:
    """What a path leads to. Django looks through all patterns for it, two hundred of them, with every request."""
    return get_resolver(urls).resolve(path)


class PageHandler(WSGIHandler):
    """Django's handler, which remembers what the latest paths led to."""

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        request.resolver_match = found = _match(settings.ROOT_URLCONF, request.path_info)
        return found


class ApiHandler(PageHandler):
    """The same with :data:`API_MIDDLEWARE`."""

    def load_middleware(self, is_async: bool = False) -> None:
        whole = settings.MIDDLEWARE
        settings.MIDDLEWARE = API_MIDDLEWARE
        try:
            super().load_middleware(is_async)
        finally:
            settings.MIDDLEWARE = whole
