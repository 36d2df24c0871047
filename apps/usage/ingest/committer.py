"""Group commit for small requests.

Whoever comes while nobody commits does so at once, on its own thread and connection: a lone request costs no change of
threads. What arrives meanwhile gathers, and the first of it leads the next commit, of all that has gathered. There is
no window to wait for; a thousand at a time share one fsync.
"""

import threading
from collections.abc import Callable

from django.db import connection

from apps.usage.ingest.inbox import InboxRow, insert_again

__all__ = ["GroupCommitter", "committer"]


class _Waiting:
    __slots__ = ("error", "leads", "row", "woken")

    def __init__(self, row: InboxRow) -> None:
        self.row = row
        # Held until it is committed or has to lead; an Event is three objects more.
        self.woken = threading.Lock()
        self.woken.acquire()
        self.leads = False
        self.error: BaseException | None = None


class GroupCommitter:
    """Commits rows of many threads together."""

    MAX_ROWS = 500

    def __init__(self, write: Callable[[list[InboxRow]], None] = insert_again) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._busy = False

    def commit(self, row: InboxRow) -> None:
        """Return when ``row`` is committed; raises what the commit raised."""
        with self._lock:
            own = None
            if self._busy:
                own = _Waiting(row)
                self._waiting.append(own)
            self._busy = True
        if own is None:
            self._lead([row], [])
            return
        own.woken.acquire()
        if own.leads:
            self._lead_waiting()
        elif own.error is not None:
            raise own.error

    def _lead_waiting(self) -> None:
        with self._lock:
            taken, self._waiting = self._waiting[: self.MAX_ROWS], self._waiting[self.MAX_ROWS :]
        self._lead([waiting.row for waiting in taken], taken[1:])

    def _lead(self, rows: list[InboxRow], followers: list[_Waiting]) -> None:
        """Commit ``rows``, hand the lead on, and tell the followers; the first of ``rows`` is the leader's own."""
        error: BaseException | None = None
        try:
            self._write(_joined(rows))
        except BaseException as raised:
            error = raised
            connection.close()
        with self._lock:
            heir = self._waiting[0] if self._waiting else None
            self._busy = heir is not None
        if heir is not None:
            heir.leads = True
            heir.woken.release()
        for follower in followers:
            follower.error = error
            follower.woken.release()
        if error is not None:
            raise error


def _joined(rows: list[InboxRow]) -> list[InboxRow]:
    """One row an organisation: the drain reads frames, and fewer rows cost less."""
    if len(rows) == 1:
        return rows
    by_org: dict[object, list[InboxRow]] = {}
    for row in rows:
        by_org.setdefault(row.org_id, []).append(row)
    return [
        group[0]
        if len(group) == 1
        else InboxRow(
            org_id=group[0].org_id,
            received_at=min(row.received_at for row in group),
            events=sum(row.events for row in group),
            frames=b"".join(row.frames for row in group),
        )
        for group in by_org.values()
    ]


committer = GroupCommitter()
