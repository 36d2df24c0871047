"""The one error model: every refusal is a :class:`MindWeaveError`, answered as RFC 9457 problem details.

``code`` is a stable word that programs may match; ``detail`` is a sentence for people that says what and where.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, TypedDict
from uuid import UUID

__all__ = [
    "BadRequest",
    "Conflict",
    "FieldError",
    "MethodNotAllowed",
    "MindWeaveError",
    "NotAcceptable",
    "NotAuthenticated",
    "NotFound",
    "PayloadTooLarge",
    "PermissionDenied",
    "PreconditionFailed",
    "RateLimited",
    "Unavailable",
    "Unprocessable",
    "UnsupportedMediaType",
    "ValidationFailed",
]


class FieldError(TypedDict):
    """One thing wrong in a body: ``pointer`` is a JSON pointer (RFC 6901), or a query parameter's name."""

    pointer: str
    detail: str


class MindWeaveError(Exception):
    """A refusal with a status, a stable code, a title and a detail.

    ``errors`` lists what is wrong where; ``extra`` adds members to the problem document; ``headers`` to the answer.
    """

    status: ClassVar[int] = 500
    code: str = "internal_error"
    title: str = "Something went wrong"
    # The organisation that was asked for by somebody who must not learn of it; never part of the answer.
    foreign_org: UUID | None = None

    def __init__(
        self,
        detail: str = "",
        *,
        code: str | None = None,
        title: str | None = None,
        errors: Sequence[FieldError] | None = None,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.code = code or self.code
        self.title = title or self.title
        self.errors = list(errors or [])
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})

    def as_problem(self, *, correlation_id: str) -> dict[str, Any]:
        """The RFC 9457 document of this error."""
        problem: dict[str, Any] = {
            "type": f"urn:mindweave:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail or HTTPStatus(self.status).description or self.title,
            "code": self.code,
            "correlation_id": correlation_id,
        }
        if self.errors:
            problem["errors"] = self.errors
        return {**self.extra, **problem}


class BadRequest(MindWeaveError):
    status, code, title = 400, "bad_request", "The request cannot be read"


class ValidationFailed(MindWeaveError):
    status, code, title = 400, "validation_failed", "The request is not valid"


class NotAuthenticated(MindWeaveError):
    """401; carries ``WWW-Authenticate`` as RFC 9110 asks."""

    status, code, title = 401, "not_authenticated", "Who you are is not known"

    def __init__(self, detail: str = "", **kwargs: Any) -> None:
        super().__init__(detail, **kwargs)
        self.headers.setdefault("WWW-Authenticate", 'Bearer realm="mindweave"')


class PermissionDenied(MindWeaveError):
    status, code, title = 403, "permission_denied", "This is not allowed to you"


class NotFound(MindWeaveError):
    """404; ``foreign_org`` says, to us alone, whose organisation was asked for by somebody outside it."""

    status, code, title = 404, "not_found", "There is nothing here"

    def __init__(self, detail: str = "", *, foreign_org: UUID | None = None, **kwargs: Any) -> None:
        super().__init__(detail, **kwargs)
        self.foreign_org = foreign_org


class MethodNotAllowed(MindWeaveError):
    status, code, title = 405, "method_not_allowed", "This method is not offered here"


class NotAcceptable(MindWeaveError):
    status, code, title = 406, "not_acceptable", "No representation fits what you accept"


class Conflict(MindWeaveError):
    status, code, title = 409, "conflict", "This does not fit the present state"


class PreconditionFailed(MindWeaveError):
    status, code, title = 412, "precondition_failed", "It has changed since you read it"


class PayloadTooLarge(MindWeaveError):
    status, code, title = 413, "payload_too_large", "The body is too large"


class UnsupportedMediaType(MindWeaveError):
    status, code, title = 415, "unsupported_media_type", "This kind of body is not taken here"


class Unprocessable(MindWeaveError):
    status, code, title = 422, "unprocessable", "The request cannot be carried out"


class RateLimited(MindWeaveError):
    """429; ``retry_after`` is in whole seconds."""

    status, code, title = 429, "rate_limited", "Too many requests"

    def __init__(self, detail: str = "", *, retry_after: int = 1, **kwargs: Any) -> None:
        super().__init__(detail, **kwargs)
        self.headers.setdefault("Retry-After", str(max(1, retry_after)))


class Unavailable(MindWeaveError):
    """503; ``retry_after`` is in whole seconds."""

    status, code, title = 503, "unavailable", "This is not available right now"

    def __init__(self, detail: str = "", *, retry_after: int | None = None, **kwargs: Any) -> None:
        super().__init__(detail, **kwargs)
        if retry_after is not None:
            self.headers.setdefault("Retry-After", str(max(1, retry_after)))
