"""Signing in and refreshing past Django's request and DRF's view, which take half of their time.

Only what is plainly in order is read here; everything else goes the usual way, which says what is wrong with it. Both
ways call the same services and answer the same (``tests/identity/test_lane.py``).
"""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from django.conf import settings

from apps.core.api import ApiView
from apps.core.contracts import Actor
from apps.core.ratelimit import Counted, Limit, enforce
from apps.identity import services
from apps.identity.api import PASSWORD_LENGTH

__all__ = ["LARGEST", "PATHS", "Work", "counted", "work_of"]

# More than the largest of these bodies can be, with every character of it escaped.
LARGEST = 8_192

# What a body asks for, done by whom the actor says; what is answered, in JSON. It counts the request, where that has a
# limit, with what it counts itself.
Work = Callable[[Actor, Counted | None], dict[str, Any]]
_Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Credentials(msgspec.Struct, forbid_unknown_fields=True):
    email: Annotated[_Text, msgspec.Meta(max_length=254)]
    password: Annotated[_Text, msgspec.Meta(max_length=PASSWORD_LENGTH)]


class _Refresh(msgspec.Struct, forbid_unknown_fields=True):
    refresh_token: Annotated[_Text, msgspec.Meta(max_length=200)]


def _reader(kind: type[Any]) -> Callable[[bytes], Any]:
    decode = msgspec.json.Decoder(kind).decode

    def read(body: bytes) -> Any:
        """What the body says; None where the serializer has to look at it."""
        try:
            found = decode(body)
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
            return None
        texts = msgspec.structs.astuple(found)
        return None if any("\0" in text or not text.strip() for text in texts) else found

    return read


def _login(given: _Credentials) -> Work:
    def work(actor: Actor, caller: Counted | None) -> dict[str, Any]:
        pair = services.login(
            email=given.email, password=given.password, ip=actor.ip, user_agent=actor.user_agent, caller=caller
        )
        return services.as_body(pair)

    return work


def _refresh(given: _Refresh) -> Work:
    def work(actor: Actor, caller: Counted | None) -> dict[str, Any]:
        if caller is not None:
            caller.result = enforce(caller.limit, caller.identity)
        return services.as_body(services.refresh(refresh_token=given.refresh_token.strip()))

    return work


_WORKS: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], Work]]] = {
    "/auth/login": (_reader(_Credentials), _login),
    "/auth/refresh": (_reader(_Refresh), _refresh),
}
PATHS = frozenset(_WORKS)


def work_of(path: str, body: bytes) -> Work | None:
    """What a body sent to a path of :data:`PATHS` asks for; None where it is not plainly in order."""
    read, work = _WORKS[path]
    given = read(body)
    return None if given is None else work(given)


def counted(ip: str | None) -> Counted | None:
    """The request as it counts against its address, as with every view of the API; None without a limit."""
    limit = Limit(ApiView.limit.name, settings.API_REQUESTS_PER_MINUTE, 60)
    return Counted(limit, str(ip)) if limit.limit else None
