"""What a unit of work (a request, a task, a bus delivery, a command) carries along: who, and under which ids.

Context variables, so threads, coroutines and nested work each see their own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from apps.core.contracts import ANONYMOUS, Actor
from apps.core.ids import uuid7

__all__ = ["RequestContext", "bind", "bind_new", "current", "set_actor"]


@dataclass(frozen=True, slots=True)
class RequestContext:
    """``correlation_id`` joins everything that one request causes; ``traceparent`` is the W3C header, if any came."""

    correlation_id: str
    actor: Actor = ANONYMOUS
    traceparent: str | None = None
    tracestate: str | None = None


_current: ContextVar[RequestContext | None] = ContextVar("mindweave_context", default=None)


def current() -> RequestContext:
    """The context of this work; made on first use where no entrance has bound one (a shell, a test)."""
    context = _current.get()
    if context is None:
        context = RequestContext(correlation_id=str(uuid7()))
        _current.set(context)
    return context


def set_actor(actor: Actor) -> None:
    """Name who acts from here on inside the bound context."""
    _current.set(replace(current(), actor=actor))


@contextmanager
def bind(**changes: Any) -> Iterator[RequestContext]:
    """Run the block under a context with ``changes``; the present correlation id is kept, or one made."""
    base = _current.get() or RequestContext(correlation_id=str(changes.get("correlation_id") or uuid7()))
    bound = replace(base, **changes)
    token = _current.set(bound)
    try:
        yield bound
    finally:
        _current.reset(token)


class bind_new:
    """:func:`bind` of a whole context, for the busiest entrance: without a generator and without a copy."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: RequestContext) -> None:
        self._context = context

    def __enter__(self) -> RequestContext:
        self._token = _current.set(self._context)
        return self._context

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
