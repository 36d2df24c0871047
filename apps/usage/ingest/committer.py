"""Group commit for small requests.

Whoever comes while nobody commits does so at once, on its own thread and connection: a lone request costs no change of
threads. What arrives meanwhile gathers, and the first of it leads the next commit, of all that has gathered. There is
no window to wait for; a thousand at a time share one fsync.
"""

from collections.abc import Callable
from dataclasses import dataclass

from django.db import connection

from apps.usage.ingest.inbox import InboxRow, insert_again
from apps.usage.ingest.turns import Turns

__all__ = ["GroupCommitter", "committer", "joined_rows"]


@dataclass(slots=True)
class _Rows:
    rows: list[InboxRow]
    error: BaseException | None = None

    @property
    def size(self) -> int:
        return len(self.rows)


class GroupCommitter:
    """Commits rows of many threads together."""

    MAX_ROWS = 500

    def __init__(self, write: Callable[[list[InboxRow]], None] = insert_again) -> None:
        self._write = write
        self._turns: Turns[_Rows] = Turns(self._commit, most=self.MAX_ROWS)

    def commit(self, rows: list[InboxRow]) -> None:
        """Return when ``rows`` are committed; raises what the commit raised."""
        self._turns.run(_Rows(rows))

    def _commit(self, works: list[_Rows]) -> None:
        try:
            self._write(joined_rows([row for work in works for row in work.rows]))
        except BaseException:
            connection.close()
            raise


def joined_rows(rows: list[InboxRow]) -> list[InboxRow]:
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
