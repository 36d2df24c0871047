"""What is wrong with the mail of this deployment, said at start."""

from typing import Any

from django.conf import settings
from django.core import checks

__all__ = ["check_mail_goes_out"]


@checks.register("notify")
def check_mail_goes_out(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Mail has somewhere to go, or somebody can look at it."""
    if not settings.EMAIL_BACKEND.endswith("dummy.EmailBackend") or settings.MINDWEAVE_DEV_MAILBOX:
        return []
    return [
        checks.Warning(
            "mails go nowhere: EMAIL_URL is not set",
            hint="set EMAIL_URL, such as smtp+tls://user:password@mail.example.com:587",
            id="notify.W001",
        )
    ]
