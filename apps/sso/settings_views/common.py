"""What the pages of single sign-on have in common."""

from typing import Any, Final

from django.http import HttpRequest

__all__ = ["CAPABILITY", "TITLE", "org_of"]

CAPABILITY: Final = "sso.manage"
TITLE: Final = "Single sign-on"


def org_of(request: HttpRequest) -> Any:
    """The organisation of a page, which ``@org_page`` found."""
    return request.org  # type: ignore[attr-defined]
