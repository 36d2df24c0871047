"""Errors as answers: problem+json for programs, a page for people; the same code either way."""

import logging
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import orjson
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import resolve

from apps.core import errors, ports
from apps.core.context import current

__all__ = ["as_mindweave_error", "pointer_errors", "problem_response", "tell_refusal", "wants_html"]

logger = logging.getLogger(__name__)

# Paths that speak JSON whatever the Accept header says.
API_PREFIXES = (
    "/v1/", "/otlp/", "/auth/", "/orgs", "/teams", "/projects", "/users/", "/analytics/", "/audit", "/mcp/",
    "/governance/", "/alerts", "/exports", "/schedules", "/gateway/", "/registry/", "/health/", "/metrics",
    "/openapi.json", "/invitations", "/stripe/", "/scim/", "/.well-known/",
)  # fmt: skip


def wants_html(request: HttpRequest) -> bool:
    """Whether a person in a browser asked, so that an error is a page."""
    if request.path.startswith(API_PREFIXES):
        return False
    return "text/html" in request.headers.get("Accept", "text/html")


def problem_response(error: errors.MindWeaveError, request: HttpRequest, *, org_id: UUID | None = None) -> HttpResponse:
    """The answer to an error: RFC 9457 ``application/problem+json``, or its HTML page.

    What it refuses is told to ``core.ports.refusals``; ``org_id`` is the organisation of the request, where the request
    does not know it itself.
    """
    tell_refusal(error, request, org_id=org_id)
    problem = error.as_problem(correlation_id=current().correlation_id)
    if wants_html(request):
        response = HttpResponse(_page({**problem, "detail": error.detail}, request), status=error.status)
    else:
        response = HttpResponse(orjson.dumps(problem), status=error.status, content_type="application/problem+json")
    for name, value in error.headers.items():
        response.headers[name] = value
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def tell_refusal(error: errors.MindWeaveError, request: HttpRequest, *, org_id: UUID | None = None) -> None:
    """Have a refusal heard of, whatever the answer to it looks like."""
    if error.status != HTTPStatus.FORBIDDEN and error.foreign_org is None:
        return
    org = getattr(request, "org", None)
    try:
        # The pattern and not the path: that may carry a token.
        route = (request.resolver_match or resolve(request.path)).route
    except Http404:
        route = "unknown"
    ports.refusals.get()(
        error=error,
        method=request.method or "",
        route=f"/{route}",
        org_id=org_id or (org.id if org is not None else None),
    )


def _page(problem: dict[str, Any], request: HttpRequest) -> str:
    """The page of a problem: inside its organisation where the reader has got that far, else outside.

    Its detail is the error's own: what the status means in general is said by the page, in plain words.
    """
    context = {"problem": problem, "again": _again(request)}
    if getattr(request, "org", None) is not None:
        try:
            return render_to_string("errors/problem_inside.html", context, request=request)
        except Exception:  # the shell asks the database, which may be what failed
            logger.warning("An error page was shown without its shell", exc_info=True)
            request.org = None  # type: ignore[attr-defined]
    return render_to_string("errors/problem.html", context, request=request)


def _again(request: HttpRequest) -> str:
    """Where trying again leads: this address, or for a form that was sent, the page of ours that it stood on."""
    if request.method in {"GET", "HEAD"}:
        return request.get_full_path()
    came = urlsplit(request.headers.get("Referer", ""))
    if came.netloc != request.META.get("HTTP_HOST", "") or not came.path.startswith("/") or came.path[1:2] in "/\\":
        return ""
    return f"{came.path}?{came.query}" if came.query else came.path


def as_mindweave_error(error: Exception) -> errors.MindWeaveError | None:
    """The MindWeave error that a framework's exception means, or None for an unexpected one."""
    match error:
        case errors.MindWeaveError():
            return error
        case Http404():
            return errors.NotFound()
        case DjangoPermissionDenied():
            return errors.PermissionDenied(str(error))
        case ValidationError():
            return errors.ValidationFailed("Some fields are not valid", errors=_django_errors(error))
        case SuspiciousOperation():
            return errors.BadRequest("The request looks tampered with")
    return None


def _django_errors(error: ValidationError) -> list[errors.FieldError]:
    if hasattr(error, "error_dict"):
        return [
            {"pointer": f"/{name}" if name != "__all__" else "", "detail": message}
            for name, messages in error.message_dict.items()
            for message in messages
        ]
    return [{"pointer": "", "detail": message} for message in error.messages]


def pointer_errors(detail: Any, pointer: str = "") -> list[errors.FieldError]:
    """Flatten the nested errors of a DRF serializer into JSON pointers."""
    if isinstance(detail, dict):
        found: list[errors.FieldError] = []
        for name, inner in detail.items():
            step = "" if name == "non_field_errors" else f"/{str(name).replace('~', '~0').replace('/', '~1')}"
            found += pointer_errors(inner, pointer + step)
        return found
    if isinstance(detail, list):
        if all(not isinstance(item, dict | list) for item in detail):
            return [{"pointer": pointer, "detail": str(item)} for item in detail]
        return [e for i, item in enumerate(detail) if item for e in pointer_errors(item, f"{pointer}/{i}")]
    return [{"pointer": pointer, "detail": str(detail)}]
