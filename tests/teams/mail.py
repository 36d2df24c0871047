"""Links of invitations, read out of the mails: they stand nowhere else."""

import re

from apps.core.tenancy import system_scope
from apps.notify.models import EmailMessage

__all__ = ["mails_to", "token_of"]


def mails_to(email: str, template: str = "") -> list[EmailMessage]:
    """The mails to an address, oldest first."""
    with system_scope("the test reads the mail"):
        rows = EmailMessage.objects.filter(to=email).order_by("created_at", "id")
        return list(rows.filter(template=template) if template else rows)


def token_of(email: str) -> str:
    """The token in the newest invitation to an address."""
    found = re.search(r"/invite/(\S+)", mails_to(email, "invitation")[-1].text)
    assert found is not None
    return found[1]
