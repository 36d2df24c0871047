"""Refusals as SCIM has them (RFC 7644, 3.12)."""

from typing import Any

from apps.core.errors import MindWeaveError

__all__ = ["ERROR_SCHEMA", "ScimError", "as_body"]

ERROR_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:Error"
# What our own refusals are called there.
_TYPES = {"validation_failed": "invalidValue", "already_member": "uniqueness", "bad_request": "invalidSyntax"}


class ScimError(MindWeaveError):
    """A refusal with a ``scimType``, a word of RFC 7644's table 9; empty where the status says it all."""

    status, code, title = 400, "scim_refused", "The request cannot be carried out"

    def __init__(self, detail: str, scim_type: str = "", *, status: int = 400) -> None:
        super().__init__(detail)
        self.scim_type = scim_type
        self.status = status  # type: ignore[misc]


def as_body(error: MindWeaveError) -> dict[str, Any]:
    """The error document; ``status`` is a string there."""
    detail = error.detail or error.title
    if error.errors:
        detail = "; ".join(f"{item['pointer']}: {item['detail']}" for item in error.errors)
    body = {"schemas": [ERROR_SCHEMA], "status": str(error.status), "detail": detail}
    scim_type = getattr(error, "scim_type", "") or _TYPES.get(error.code, "")
    return {**body, "scimType": scim_type} if scim_type and error.status in {400, 409} else body
