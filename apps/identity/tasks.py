"""What a worker does for accounts: mail whose sending would tell whether there is an account."""

from apps.identity.services import addresses, passwords
from apps.scheduler.background import background_task

__all__ = ["after_sign_up", "reset_mail", "verification"]


@background_task(name="identity.after_sign_up")
def after_sign_up(email: str, is_new: bool) -> None:
    """Mail a new person the link that proves their address, or tell the owner of a taken one."""
    if is_new:
        addresses.send_verification(email=email)
    else:
        addresses.tell_registered(email=email)


@background_task(name="identity.verification")
def verification(email: str) -> None:
    """Mail the link that proves an address again."""
    addresses.send_verification(email=email)


@background_task(name="identity.reset_mail")
def reset_mail(email: str) -> None:
    """Mail the link to a new password."""
    passwords.send_reset(email=email)
