"""What the loop does not know of a caller it asks PostgreSQL, and goes on with the request when the answer is there.

With many organisations keys come that a process has not seen, or not lately. Were such a request worked on by a thread,
that would take the interpreter from the loop again and again, for what the loop does better together with others.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import NamedTuple
from uuid import UUID

from django.http import HttpRequest

from apps.core.asking import Asker, Rows
from apps.core.authentication import client_ip
from apps.projects.authentication import token_of_request
from apps.projects.contracts import KeyContext
from apps.projects.selectors import key_asked, key_heard, key_remembered
from apps.usage.ingest.attribution import directory_asked, directory_heard, is_directory_young

__all__ = ["Caller", "Learning", "caller_of", "known_key"]

logger = logging.getLogger(__name__)


class Caller(NamedTuple):
    """Who sends: a token, where it is used from and by what."""

    token: str
    ip: str | None
    agent: str


def caller_of(request: HttpRequest) -> Caller | None:
    """Who sends a request; None where it names no key."""
    token = token_of_request(request)
    return None if token is None else Caller(token, client_ip(request), request.META.get("HTTP_USER_AGENT", ""))


def known_key(caller: Caller) -> KeyContext | None:
    """The caller's key, where it may send events and this process knows it and its organisation's people."""
    key = _remembered(caller)
    return key if key is not None and "ingest" in key.scopes and is_directory_young(key.org_id) else None


def _remembered(caller: Caller) -> KeyContext | None:
    return key_remembered(caller.token, ip=caller.ip, user_agent=caller.agent)


class Learning:
    """Learns what :func:`known_key` is to know: the key, then its organisation's people; each once at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asker = Asker(loop)
        self._asker.open()
        # Who waits, by token: a busy sender has many requests under way when a process sees it for the first time.
        self._waiting: dict[str, list[Callable[[], object]]] = {}

    def learn(self, caller: Caller, then: Callable[[], object]) -> None:
        """Call ``then``, later, when that is known which can be; the rest is for whoever may wait for more."""
        if (waiting := self._waiting.get(caller.token)) is not None:
            waiting.append(then)
            return
        self._waiting[caller.token] = [then]
        self._learn(caller, partial(self._learnt, caller.token))

    def _learnt(self, token: str) -> None:
        """Each by itself: what fails in one is logged by the loop, and keeps none of the others waiting."""
        for then in self._waiting.pop(token):
            self._loop.call_soon(then)

    def _learn(self, caller: Caller, then: Callable[[], object]) -> None:
        if (key := _remembered(caller)) is not None:
            self._learn_people(key.org_id, then)
        elif (asked := key_asked(caller.token)) is not None:
            question, version = asked
            self._asker.ask(question, partial(self._key_heard, caller, version, then))
        else:
            then()

    def _key_heard(
        self, caller: Caller, version: int, then: Callable[[], object], rows: Rows, error: BaseException | None
    ) -> None:
        known = error is None and _is_kept(lambda: key_heard(caller.token, version, rows))
        key = _remembered(caller) if known else None
        if key is None or is_directory_young(key.org_id):
            then()
        else:
            self._learn_people(key.org_id, then)

    def _learn_people(self, org_id: UUID, then: Callable[[], object]) -> None:
        if (asked := directory_asked(org_id)) is None:
            then()
            return
        question, changes = asked
        self._asker.ask(question, partial(_people_heard, org_id, changes, then))

    def close(self) -> None:
        """Learn nothing more."""
        self._asker.close()


def _people_heard(
    org_id: UUID, changes: int, then: Callable[[], object], rows: Rows, error: BaseException | None
) -> None:
    if error is None:
        _is_kept(lambda: directory_heard(org_id, changes, rows))
    then()


def _is_kept(keep: Callable[[], object]) -> bool:
    """Whether an answer could be kept; where it fails the request goes on all the same, and the lane answers it."""
    try:
        return keep() is not False
    except Exception:
        logger.exception("what was asked of a caller could not be kept")
        return False
