"""What apps add to ``/health/ready``: states that are worth a look and keep nobody from being served."""

from collections.abc import Callable

from django.db import DatabaseError

__all__ = ["OK", "register_check", "run_checks"]

OK = "ok"

_checks: dict[str, Callable[[], str]] = {}


def register_check(name: str, check: Callable[[], str]) -> None:
    """``check`` answers :data:`OK`, or says in a few words what is wrong; it must be quick and cross organisations."""
    _checks[name] = check


def run_checks() -> dict[str, str]:
    """What each check says; one whose query fails is ``unknown``."""
    found: dict[str, str] = {}
    for name, check in sorted(_checks.items()):
        try:
            found[name] = check()
        except DatabaseError:
            found[name] = "unknown"
    return found
