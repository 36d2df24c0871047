"""``POST /v1/events``, ``POST /v1/track``, ``GET /v1/health``: plain sync views, the fast lane of the product."""

import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple, TypeVar

import msgspec
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from apps.core import clock
from apps.core.body import read_body
from apps.core.errors import (
    MethodNotAllowed,
    MindWeaveError,
    NotAuthenticated,
    PermissionDenied,
    Unavailable,
    ValidationFailed,
)
from apps.core.problems import problem_response
from apps.core.ratelimit import Limit, RateResult, enforce
from apps.projects.authentication import key_of_request
from apps.projects.contracts import KeyContext
from apps.usage.contracts import IngestResult
from apps.usage.ingest.attribution import directory_of
from apps.usage.ingest.decode import decode_one
from apps.usage.pricing.book import get_book
from apps.usage.selectors.engine import engine_state
from apps.usage.services import SentBatch, ingest, ingest_batch
from apps.usage.telemetry import count_refused

__all__ = [
    "Answer",
    "answer_of",
    "events",
    "guarded",
    "health",
    "ingest_key",
    "limit_requests",
    "take_batch",
    "take_one",
    "track",
]

T = TypeVar("T")
View = Callable[[HttpRequest], HttpResponse]
_encode = msgspec.json.Encoder().encode


_CHECK_SECONDS = 1.0
_checked = threading.local()


def _check_connection() -> None:
    """Have this thread's connection looked at before its next use, at most once a second.

    Django does so with every request, which here would be half of all statements.
    """
    moment = time.monotonic()
    if moment - getattr(_checked, "at", 0.0) >= _CHECK_SECONDS and not connection.in_atomic_block:
        _checked.at = moment
        connection.close_if_unusable_or_obsolete()


class Answer(NamedTuple):
    """Events were taken in (202): the body, which is JSON, and the headers of the key's limit."""

    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def guarded(
    handler: Callable[[HttpRequest], T], request: HttpRequest, whole: Callable[[], HttpRequest]
) -> T | HttpResponse:
    """What the handler answers; errors as problems, a database that is away as 503.

    ``whole`` makes the request that a problem is rendered for. The body is read before anything is refused: a server
    that answers before it has read the body closes the connection, and the client sees a broken pipe.
    """
    try:
        _check_connection()
        return handler(request)
    except (OperationalError, InterfaceError):
        connection.close()
        error: MindWeaveError = Unavailable("The database cannot be reached; send this again", retry_after=2)
    except MindWeaveError as raised:
        error = raised
    count_refused(error.code)
    return problem_response(error, whole())


def fast_lane(handler: Callable[[HttpRequest], Answer | HttpResponse]) -> View:
    """A handler of the lane as a view of Django's."""

    @csrf_exempt
    @wraps(handler)
    def view(request: HttpRequest) -> HttpResponse:
        answer = guarded(handler, request, lambda: request)
        if isinstance(answer, HttpResponse):
            return answer
        headers = dict(answer.headers)
        return HttpResponse(answer.body, status=202, content_type="application/json", headers=headers)

    return view


def ingest_key(request: HttpRequest, *, scope: str = "ingest") -> KeyContext:
    """The key of a request, which must have ``scope``."""
    key = key_of_request(request)
    if key is None:
        raise NotAuthenticated("Send an API key: Authorization: Bearer mw_…")
    if scope not in key.scopes:
        raise PermissionDenied(f"This key lacks the scope {scope!r}", code="scope_missing")
    return key


# Requests a minute of a key that has no limit of its own.
DEFAULT_REQUESTS_A_MINUTE = 6000


def limit_requests(key: KeyContext) -> RateResult | None:
    """Count the request against the key's limit; None for a key without one. Raises :class:`RateLimited`."""
    if key.unlimited:
        return None
    limit = Limit("ingest", key.rate_limit_per_minute or DEFAULT_REQUESTS_A_MINUTE, 60)
    return enforce(limit, str(key.key_id))


def _answer(result: IngestResult, limits: RateResult | None) -> Answer:
    body: dict[str, Any] = {
        "accepted": result.accepted,
        "duplicates": result.duplicates,
        "rejected": [rejection.as_json() for rejection in result.rejected],
    }
    return Answer(_encode(body), tuple(limits.headers().items()) if limits is not None else ())


def answer_of(result: IngestResult, batch: SentBatch) -> bytes:
    """The body that answers a batch; of a single event what is wrong with it is raised."""
    if batch.is_single:
        _raise_rejection(result)
    return _answer(result, None).body


def _raise_rejection(result: IngestResult) -> None:
    for rejection in result.rejected:
        pointer = rejection.pointer.removeprefix("/events/0")
        raise ValidationFailed(
            rejection.detail, code=rejection.code, errors=[{"pointer": pointer, "detail": rejection.detail}]
        )


def take_batch(request: HttpRequest) -> Answer:
    """A batch: ``{"events": […]}`` or one event a line."""
    if request.method != "POST":
        raise MethodNotAllowed(headers={"Allow": "POST"})
    body = read_body(request)
    key = ingest_key(request)
    limits = limit_requests(key)
    batch = SentBatch(key, clock.now(), body, request.META.get("CONTENT_TYPE", ""))
    del body
    # What would ask the database while others wait has been asked before.
    directory_of(key.org_id)
    get_book()
    return _answer(ingest_batch(batch), limits)


def take_one(request: HttpRequest) -> Answer:
    """One event; what is wrong with it is the answer itself."""
    if request.method != "POST":
        raise MethodNotAllowed(headers={"Allow": "POST"})
    body = read_body(request)
    key = ingest_key(request)
    limits = limit_requests(key)
    result = ingest(key=key, events=[decode_one(body)], check_nul=False)
    _raise_rejection(result)
    return _answer(result, limits)


events = fast_lane(take_batch)
track = fast_lane(take_one)


@fast_lane
def health(request: HttpRequest) -> HttpResponse:
    """Whether events can be taken in, and how far counting is behind; ``degraded`` where a shard is stuck."""
    if request.method not in ("GET", "HEAD"):
        raise MethodNotAllowed(headers={"Allow": "GET, HEAD"})
    state = engine_state()
    stuck = sorted(state.stalled)
    body = {
        "status": "degraded" if stuck else "ok",
        "inbox": {"batches": state.batches, "events": state.events, "lag_seconds": round(state.lag_seconds, 3)},
        "drain": {
            "events_per_second": round(sum(shard.events_per_second for shard in state.shards), 1),
            "stalled_shards": stuck,
        },
    }
    response = HttpResponse(_encode(body), content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
