"""What is wrong with the settings of the trail, and what to set."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from apps.core.errors import ValidationFailed

__all__ = ["check_stream"]


@register()
def check_stream(app_configs: Any = None, **kwargs: Any) -> Sequence[CheckMessage]:
    """The stream of the whole trail, where one is set."""
    from apps.audit.streams import check_url

    if not settings.AUDIT_STREAM_URL:
        return []
    found: list[CheckMessage] = []
    try:
        check_url(settings.AUDIT_STREAM_URL)
    except ValidationFailed as error:
        found.append(Error("AUDIT_STREAM_URL is not a receiver", hint=error.errors[0]["detail"], id="mindweave.E041"))
    if settings.AUDIT_STREAM_FORMAT not in {"json", "cef"}:
        found.append(Error("AUDIT_STREAM_FORMAT is not known", hint="json or cef", id="mindweave.E042"))
    if urlsplit(settings.AUDIT_STREAM_URL).scheme in {"http", "https"} and not _is_secret(settings.AUDIT_STREAM_SECRET):
        hint = "whsec_ and at least 24 bytes in base64: the receiver knows by it that the calls are ours"
        found.append(Error("AUDIT_STREAM_SECRET does not sign a webhook's calls", hint=hint, id="mindweave.E043"))
    return found


def _is_secret(text: str) -> bool:
    try:
        return text.startswith("whsec_") and len(base64.b64decode(text.removeprefix("whsec_"), validate=True)) >= 24
    except binascii.Error:
        return False
