"""One after the other, and together: what waits for its turn is worked on as one.

Only one thread can compute at a time anyway. Whoever comes while nobody computes begins at once, on its own thread.
What arrives meanwhile gathers, and the first of it leads the next turn, of all that has gathered; the others sleep
until theirs is done. So the less time there is, the less each costs.
"""

import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

__all__ = ["Turns", "Work"]


class Work(Protocol):
    """What is worked on, and how much it is; ``error`` is what its caller is to see."""

    error: BaseException | None

    @property
    def size(self) -> int: ...


W = TypeVar("W", bound=Work)


class _Waiting(Generic[W]):
    __slots__ = ("leads", "woken", "work")

    def __init__(self, work: W) -> None:
        self.work = work
        # Held until it is done or has to lead; an Event is three objects more.
        self.woken = threading.Lock()
        self.woken.acquire()
        self.leads = False


class Turns(Generic[W]):
    """``act`` is called for some works at a time, by one thread at a time; then ``finish``, beside the next turn's act.

    The works of a turn are together of up to ``most`` in size, or it is one work of any. A turn of less than a quarter
    of that waits for the one before to be finished before it is itself and the next begins: what comes meanwhile
    gathers, where otherwise each would be a turn of its own. What either raises is every one's error. They set the
    errors of single works themselves, and whatever else there is to be known of them.
    """

    def __init__(
        self, act: Callable[[list[W]], None], finish: Callable[[list[W]], None] = lambda works: None, *, most: int
    ) -> None:
        self._act, self._finish, self.most = act, finish, most
        self._finishing = threading.Lock()
        self._lock = threading.Lock()
        self._waiting: list[_Waiting[W]] = []
        self._busy = False

    def run(self, work: W) -> None:
        """Return when ``work`` is finished; raises its error."""
        own = _Waiting(work)
        with self._lock:
            leads, self._busy = not self._busy, True
            self._waiting.append(own)
        if not leads:
            own.woken.acquire()
        if leads or own.leads:
            # Whoever has come this far and waits for the interpreter comes along.
            time.sleep(0)
            taken = self._take()
            self._lead([each.work for each in taken], taken[1:])
        if work.error is not None:
            raise work.error

    def _take(self) -> list[_Waiting[W]]:
        """The first that wait, as many as one turn may have."""
        with self._lock:
            size = count = 0
            for waiting in self._waiting:
                size += waiting.work.size
                if count and size > self.most:
                    break
                count += 1
            taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def _lead(self, works: list[W], followers: list[_Waiting[W]]) -> None:
        """Act, hand the lead on, finish, and tell the followers; the first of ``works`` is the leader's own."""
        try:
            try:
                self._act(works)
                small = 4 * sum(work.size for work in works) < self.most
                alone = self._finishing.acquire(blocking=small)
            finally:
                self._hand_on()
            try:
                self._finish(works)
            finally:
                if alone:
                    self._finishing.release()
        except BaseException as raised:
            for work in works:
                work.error = work.error or raised
        finally:
            for follower in followers:
                follower.woken.release()

    def _hand_on(self) -> None:
        with self._lock:
            heir = self._waiting[0] if self._waiting else None
            self._busy = heir is not None
        if heir is not None:
            heir.leads = True
            heir.woken.release()
