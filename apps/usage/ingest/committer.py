"""Group commit for small requests.

One thread commits; while it does, what arrives gathers and goes into the next commit together. There is no window to
wait for: a lone request is committed at once, a thousand at a time share one fsync.
"""

import threading
from collections.abc import Callable

from django.db import connection

from apps.usage.ingest.inbox import InboxRow, insert_again

__all__ = ["GroupCommitter", "committer"]


class _Waiting:
    __slots__ = ("done", "error", "row")

    def __init__(self, row: InboxRow) -> None:
        self.row = row
        # Held until the commit; an Event is three objects more.
        self.done = threading.Lock()
        self.done.acquire()
        self.error: BaseException | None = None


class GroupCommitter:
    """Hands rows to the committing thread and waits for their commit."""

    MAX_ROWS = 500

    def __init__(self, write: Callable[[list[InboxRow]], None] = insert_again) -> None:
        self._write = write
        self._wake = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._thread: threading.Thread | None = None
        self._stopping = False

    def commit(self, row: InboxRow) -> None:
        """Return when ``row`` is committed; raises what the commit raised."""
        waiting = _Waiting(row)
        with self._wake:
            self._waiting.append(waiting)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="usage-committer", daemon=True)
                self._thread.start()
            self._wake.notify()
        waiting.done.acquire()
        if waiting.error is not None:
            raise waiting.error

    def stop(self) -> None:
        """End the thread and its connection once nothing waits; the next row starts another."""
        with self._wake:
            thread, self._stopping = self._thread, True
            self._wake.notify()
        if thread is not None:
            thread.join()
        self._thread, self._stopping = None, False

    def _run(self) -> None:
        try:
            self._work()
        finally:
            connection.close()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._waiting:
                    if self._stopping:
                        return
                    self._wake.wait()
                batch, self._waiting = self._waiting[: self.MAX_ROWS], self._waiting[self.MAX_ROWS :]
            error: BaseException | None = None
            try:
                self._write(_joined([waiting.row for waiting in batch]))
            except BaseException as raised:
                error = raised
                connection.close()
            for waiting in batch:
                waiting.error = error
                waiting.done.release()


def _joined(rows: list[InboxRow]) -> list[InboxRow]:
    """One row an organisation: the drain reads frames, and fewer rows cost less."""
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
