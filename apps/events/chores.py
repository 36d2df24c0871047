"""Small work that apps below the scheduler have done again and again, by whichever process runs the bus.

A chore is called about once a second, in a thread of its own, so that it delays no event and no other chore. Several
buses may run: a chore that only one may do takes a lock itself.
"""

import logging
import threading
from collections.abc import Callable

from django.db import connection

from apps.core.context import bind
from apps.core.contracts import system_actor
from apps.core.tenancy import system_scope

__all__ = ["chores", "register_chore", "run_chore"]

logger = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
_chores: dict[str, Callable[[], object]] = {}


def register_chore(name: str, work: Callable[[], object]) -> None:
    """Have ``work`` called about once a second; it returns soon, and leaves nothing half done when it is killed."""
    _chores[name] = work


def chores() -> dict[str, Callable[[], object]]:
    """All chores by name."""
    return dict(_chores)


def run_chore(name: str, stopping: threading.Event) -> None:
    """Do one again and again until stopped. Where it fails, that is logged, and it is tried again."""
    work = _chores[name]
    while not stopping.is_set():
        try:
            with bind(actor=system_actor(f"bus:{name}")), system_scope(f"chore {name}"):
                work()
        except Exception:
            logger.exception("chore %s failed; it is tried again", name)
            connection.close()
        stopping.wait(EVERY_SECONDS)
    connection.close()
