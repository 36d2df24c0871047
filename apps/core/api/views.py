"""The base of every API view: caller → organisation → capability → scope, and one form of error.

The scope of the organisation holds until the answer is rendered: serializers are lazy.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from operator import attrgetter
from typing import Any, ClassVar
from uuid import UUID

import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from rest_framework import exceptions as drf
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import errors, ports
from apps.core.api.parsers import StrictJSONParser
from apps.core.authentication import actor_of
from apps.core.body import read_raw
from apps.core.context import bind
from apps.core.contracts import Actor
from apps.core.idempotency import run_once
from apps.core.openapi import ApiSchema
from apps.core.problems import as_mindweave_error, pointer_errors, problem_response
from apps.core.ratelimit import Limit, RateResult, enforce
from apps.core.stepup import require_fresh
from apps.core.tenancy import org_scope

__all__ = ["ApiView"]


class ApiView(APIView):
    """An endpoint. Each method it offers must be named in ``capabilities``; one without a row there is 405.

    - ``capabilities``: method → the capability a person needs in the organisation; ``""`` for any member;
      ``None`` together with ``org_required = False`` for any signed-in caller.
    - ``scopes``: method → the scope an API key needs; a method not named is closed to keys.
    - ``org_required``: whether the endpoint works inside an organisation (almost all do).
    - ``public``: methods open to anybody.
    - ``step_up``: methods that want a credential shown a short while ago (:mod:`apps.core.stepup`); closed to keys.
    """

    parser_classes = (StrictJSONParser,)
    schema = ApiSchema()

    capabilities: ClassVar[Mapping[str, str | None]] = {}
    scopes: ClassVar[Mapping[str, str]] = {}
    public: ClassVar[frozenset[str]] = frozenset()
    step_up: ClassVar[frozenset[str]] = frozenset()
    org_required: ClassVar[bool] = True
    # What a POST sent twice means is said by `Idempotency-Key`, except where the body carries its own ids.
    idempotent: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit("api", 600, 60)

    actor: Actor
    org_id: UUID | None = None
    # What a person's role gives them in the organisation of the request, read once; empty for a key.
    held: frozenset[str] = frozenset()

    # ------------------------------------------------------------------ dispatch
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        with ExitStack() as stack:
            self.stack = stack
            response = super().dispatch(request, *args, **kwargs)
            if isinstance(response, Response) and not response.is_rendered:
                response.render()
            return response

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        # DRF takes a missing length for an empty body; a chunked one has none, and a body all the same.
        if "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower():
            raw = read_raw(request, settings.MAX_BODY_BYTES)
            request._body = raw
            request.META["CONTENT_LENGTH"] = str(len(raw))
        return super().initialize_request(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # HEAD is GET without a body, in what it needs too.
        method = "GET" if request.method == "HEAD" else request.method or ""
        if method != "OPTIONS" and method not in self.allowed_methods:
            raise errors.MethodNotAllowed(headers={"Allow": ", ".join(self.allowed_methods)})
        super().initial(request, *args, **kwargs)
        self.actor = actor_of(request)
        self.stack.enter_context(bind(actor=self.actor))
        self.rate = self.check_limit(request)
        if method == "OPTIONS" or method in self.public:
            return
        if not self.actor.is_authenticated:
            raise errors.NotAuthenticated("Sign in, or send an API key or an access token")
        self.check_scope(method)
        if self.org_required:
            self.org_id = self.resolve_org(request, **kwargs)
            self.check_capability(method)
            self.stack.enter_context(org_scope(self.org_id))
        if method in self.step_up:
            # Last: who may not do it at all is told so, and not asked to confirm first.
            require_fresh(self.actor)
        key = request.headers.get("Idempotency-Key")
        if method == "POST" and key is not None and self.idempotent:
            self._once(key)

    def _once(self, key: str) -> None:
        """Put the replaying of earlier answers around this request's handler."""
        handler: Any = attrgetter("post")(self)

        def once(request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return run_once(
                key,
                actor=self.actor,
                org_id=self.org_id,
                path=request.path,
                body=orjson.dumps(request.data, option=orjson.OPT_SORT_KEYS),
                work=lambda: handler(request, *args, **kwargs),
            )

        vars(self)["post"] = once

    @property
    def allowed_methods(self) -> list[str]:
        offered = set(self.capabilities) | set(self.public)
        methods = {m for m in offered if hasattr(self, m.lower())} | {"OPTIONS"}
        return sorted(methods | {"HEAD"} if "GET" in methods else methods)

    # ------------------------------------------------------------------ how often
    rate: RateResult | None = None

    def check_limit(self, request: Request) -> RateResult | None:
        """Count the request against its caller: a key has its own limit (0: none), others share the class's."""
        limit, key = self.limit, getattr(request._request, "api_key", None)
        if key is not None and key.rate_limit_per_minute is not None:
            limit = Limit(limit.name, key.rate_limit_per_minute, 60)
        elif limit is ApiView.limit:
            limit = Limit(limit.name, settings.API_REQUESTS_PER_MINUTE, 60)
        if limit.limit == 0:
            return None
        return enforce(limit, str(self.actor.id or self.actor.ip))

    # ------------------------------------------------------------------ who and where
    def check_scope(self, method: str) -> None:
        """A key may do only what its scopes say."""
        if self.actor.kind != "key":
            return
        needed = self.scopes.get(method)
        if needed is None:
            raise errors.PermissionDenied("API keys cannot do this; a signed-in person can", code="keys_not_allowed")
        if needed and needed not in self.actor.scopes:
            raise errors.PermissionDenied(f"This key lacks the scope {needed!r}", code="scope_missing")

    def path_org_id(self, **kwargs: Any) -> UUID | None:
        """The organisation that the path means; a view of ``/things/{id}`` looks up the thing's owner here."""
        return kwargs.get("org_id")

    def resolve_org(self, request: Request, **kwargs: Any) -> UUID:
        """The organisation of the request; one that is not the caller's is 404, its existence is not told."""
        permissions = ports.permissions.get()
        named = self.path_org_id(**kwargs) or self._header_org(request)
        if self.actor.kind == "key":
            org_id = self.actor.org_id
            if org_id is None or (named is not None and named != org_id):
                raise errors.NotFound(foreign_org=named)
            refusal = permissions.entry_refusal(self.actor, org_id)
        else:
            org_id = named or permissions.default_org_id(self.actor)
            if org_id is None:
                raise errors.NotFound("You belong to no organisation yet", code="no_organization")
            entered = permissions.enter(self.actor, org_id)
            if entered is None:
                raise errors.NotFound(foreign_org=org_id)
            self.held, refusal = entered
        if refusal is not None:
            raise refusal
        return org_id

    def check_capability(self, method: str) -> None:
        """A person may do only what their role says; a key's scope has been checked already."""
        capability = self.capabilities.get(method)
        if not capability or self.actor.kind == "key":
            return
        self.require(capability)

    def require(self, capability: str) -> None:
        """Refuse a person who lacks ``capability`` in the organisation of the request; for what depends on the body."""
        if self.org_id is None or not (capability in self.held or self.is_granted(capability)):
            raise errors.PermissionDenied(f"Your role lacks {capability!r} here", extra={"capability": capability})

    def is_granted(self, capability: str) -> bool:
        """Whether a person whose role lacks ``capability`` holds it for what the path names; asked of nobody else."""
        return False

    @staticmethod
    def _header_org(request: Request) -> UUID | None:
        raw = request.headers.get("X-Org-Id")
        if not raw:
            return None
        try:
            return UUID(raw)
        except ValueError as error:
            raise errors.ValidationFailed(
                "X-Org-Id is not an id", errors=[{"pointer": "X-Org-Id", "detail": "a UUID"}]
            ) from error

    # ------------------------------------------------------------------ input and errors
    def valid(self, serializer_class: type[Any], **kwargs: Any) -> dict[str, Any]:
        """The body, checked by a serializer."""
        serializer = serializer_class(data=self.request.data, context={"view": self}, **kwargs)
        serializer.is_valid(raise_exception=True)
        data: dict[str, Any] = serializer.validated_data
        return data

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]
        error = self._known(exc)
        if error is None:
            raise exc
        response = problem_response(error, self.request._request, org_id=self.org_id)
        response.exception = True  # type: ignore[attr-defined]
        return response

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(response, Response):
            response = super().finalize_response(request, response, *args, **kwargs)
            response.headers.setdefault("Cache-Control", "no-store")
        if self.rate is not None:
            for name, value in self.rate.headers().items():
                response.headers.setdefault(name, value)
        return response

    @staticmethod
    def _known(exc: Exception) -> errors.MindWeaveError | None:
        match exc:
            case drf.ValidationError():
                return errors.ValidationFailed("Some fields are not valid", errors=pointer_errors(exc.detail))
            case drf.NotAuthenticated() | drf.AuthenticationFailed():
                return errors.NotAuthenticated(str(exc.detail))
            case drf.PermissionDenied():
                return errors.PermissionDenied(str(exc.detail))
            case drf.NotFound():
                return errors.NotFound()
            case drf.MethodNotAllowed():
                return errors.MethodNotAllowed(str(exc.detail))
            case drf.NotAcceptable():
                return errors.NotAcceptable(str(exc.detail))
            case drf.UnsupportedMediaType():
                return errors.UnsupportedMediaType(str(exc.detail))
            case drf.ParseError():
                return errors.BadRequest(str(exc.detail))
        return as_mindweave_error(exc)
