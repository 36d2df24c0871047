"""What a sign-in by a provider is refused with."""

from apps.core.errors import MindWeaveError

__all__ = ["SsoRefused"]


class SsoRefused(MindWeaveError):
    """A sign-in that is not let through.

    ``detail`` is for whoever signs in; ``reason`` says in the trail what exactly was wrong, and never holds secrets.
    """

    status, code, title = 403, "sso_refused", "This sign-in was refused"

    def __init__(self, reason: str, detail: str = "", *, code: str | None = None) -> None:
        super().__init__(
            detail
            or "What your identity provider answered was not accepted. Begin again; if it happens again, ask an "
            "administrator of your organisation: the trail says why.",
            code=code,
        )
        self.reason = reason
