"""What sockets of all apps have in common: whose handshake is taken, and what its headers are."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

__all__ = ["headers_of", "is_same_origin"]


def headers_of(scope: Mapping[str, Any]) -> dict[str, str]:
    """The headers of a handshake, by their names in lower case."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def is_same_origin(scope: Mapping[str, Any]) -> bool:
    """Whether a handshake comes from a page of ours: its ``Origin`` is the host it asks, or the public address.

    Browsers send cookies along with anybody's handshake, so a session counts only then.
    """
    headers = headers_of(scope)
    origin = urlsplit(headers.get("origin", ""))
    if origin.scheme not in {"http", "https"} or not origin.netloc:
        return False
    return origin.netloc.lower() in {headers.get("host", "").lower(), urlsplit(settings.PUBLIC_URL).netloc.lower()}
