"""What still depends on an older pepper: what ``manage.py rotate_peppers`` tells before one is taken away.

A digest cannot be made anew without the token, so a store changes over as its tokens are used; each says how far it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

__all__ = ["PepperStatus", "PepperStore", "pepper_statuses", "register_pepper_store"]


@dataclass(frozen=True, slots=True)
class PepperStatus:
    """``living`` tokens of a store, ``current`` of them known to be under the current pepper."""

    living: int
    current: int

    @property
    def older(self) -> int:
        """How many would be lost, or may be, if the older peppers went now."""
        return self.living - self.current


@dataclass(frozen=True, slots=True)
class PepperStore:
    """``status`` takes the moment since which the current pepper is the first (None: not known).

    ``remedy`` says in words how what is older comes to the current one, or ends.
    """

    name: str
    remedy: str
    status: Callable[[datetime | None], PepperStatus]


_stores: dict[str, PepperStore] = {}


def register_pepper_store(store: PepperStore) -> None:
    """Have a store of digests looked at."""
    _stores[store.name] = store


def pepper_statuses(since: datetime | None) -> list[tuple[PepperStore, PepperStatus]]:
    """Every store and how far it is, by name."""
    return [(store, store.status(since)) for _, store in sorted(_stores.items())]
