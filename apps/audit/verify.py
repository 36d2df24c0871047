"""Whether a chain is what it was: every entry against its digest, every digest against the chain, the chain against
what was signed.

What is found first is named by its position, its entry and a reason:

- ``altered``: an entry, or what is sealed in it, is not what was sealed, or the chain was written anew;
- ``missing``: an entry, or its place in the chain, is gone; at the end too, which the signed head tells;
- ``inserted``: an entry stands in the trail or in the chain that was not sealed there;
- ``reordered``: two places were exchanged;
- ``bad_signature``: a checkpoint or the head is not signed by a key of ours.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from django.db import connection

from apps.audit.chain import (
    COLUMNS,
    NO_ORG,
    canonical,
    checkpoint_statement,
    entry_digest,
    genesis,
    head_statement,
    link,
)
from apps.audit.contracts import Broken, Verified
from apps.audit.keys import open_keys
from apps.audit.sealed import commitment, open_box
from apps.audit.signing import is_signed

__all__ = ["chains", "verify_chain"]

_BATCH = 2000


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    position: int
    kind: str
    digest: bytes
    made_at: datetime
    key_id: UUID
    signature: bytes


@dataclass(frozen=True, slots=True)
class _Place:
    position: int
    entry_id: UUID
    occurred_at: datetime
    digest: bytes
    chain: bytes
    row: tuple[Any, ...]


def chains() -> list[UUID]:
    """Every chain there is, by what is sealed, what is signed and what is noted of it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT chain_id FROM audit_chain UNION SELECT chain_id FROM audit_checkpoint ORDER BY 1")
        return [row[0] for row in cursor.fetchall()]


def verify_chain(
    chain_id: UUID,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    cursor: tuple[int, bytes] | None = None,
    seconds: float | None = None,
    tell: Callable[[int], None] | None = None,
) -> Verified:
    """Verify a chain from its oldest kept checkpoint, or from the last checkpoint before ``since``, to its head.

    With ``until`` it ends behind the first entry that was done then. With ``seconds`` it stops after that time;
    ``next`` of the answer is then the ``cursor`` to go on with. ``tell`` is called with the number of entries as they
    are verified. Ends at the first thing that is broken.
    """
    return _Walk(chain_id, since, until, cursor, seconds, tell).run()


class _Walk:
    def __init__(
        self,
        chain_id: UUID,
        since: datetime | None,
        until: datetime | None,
        place: tuple[int, bytes] | None,
        seconds: float | None,
        tell: Callable[[int], None] | None,
    ) -> None:
        self.chain_id, self.until, self.tell = chain_id, until, tell
        self.end = None if seconds is None else time.monotonic() + seconds
        self.head = self._head()
        self.checkpoints = self._checkpoints()
        self.sealer = self._sealer()
        self.seen = 0
        self.done = Verified(chain_id=chain_id, from_position=1, position=0, entries=0, checkpoints=0)
        self.position, self.digest = place or self._start(since)
        self.done = replace(self.done, from_position=self.position + 1, position=self.position)
        # From where on entries without a place in the chain are looked for.
        self.reached = self._moment_of(self.position)

    # ---------------------------------------------------------------- what is known before
    def _head(self) -> tuple[int, bytes, datetime, UUID, bytes] | None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT position, digest, signed_at, key_id, signature FROM audit_chain WHERE chain_id = %s",
                [self.chain_id],
            )
            row = cursor.fetchone()
        return (row[0], bytes(row[1]), row[2], row[3], bytes(row[4])) if row else None

    def _checkpoints(self) -> list[_Checkpoint]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT position, kind, digest, made_at, key_id, signature FROM audit_checkpoint"
                " WHERE chain_id = %s ORDER BY position, kind",
                [self.chain_id],
            )
            return [
                _Checkpoint(row[0], row[1], bytes(row[2]), row[3], row[4], bytes(row[5])) for row in cursor.fetchall()
            ]

    def _sealer(self) -> tuple[str, int]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT xid::text, seq FROM audit_sealer")
            found: tuple[str, int] = cursor.fetchone()
        return found

    def _signed(self, checkpoint: _Checkpoint) -> bool:
        message = checkpoint_statement(
            self.chain_id, checkpoint.position, checkpoint.digest, checkpoint.kind, checkpoint.made_at
        )
        return is_signed(message, key_id=checkpoint.key_id, signature=checkpoint.signature)

    def _start(self, since: datetime | None) -> tuple[int, bytes]:
        """Where to begin: behind what retention took, and not before ``since`` where that is asked."""
        start = (0, genesis(self.chain_id))
        for checkpoint in self.checkpoints:
            wanted = checkpoint.kind == "close" or (since is not None and checkpoint.made_at <= since)
            if wanted and checkpoint.position > start[0]:
                if not self._signed(checkpoint):
                    self._break(checkpoint.position, None, "bad_signature", "a checkpoint is not signed by us")
                    break
                start = (checkpoint.position, checkpoint.digest)
        return start

    def _moment_of(self, position: int) -> datetime | None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT occurred_at FROM audit_seal WHERE chain_id = %s AND position > %s ORDER BY position LIMIT 1",
                [self.chain_id, position],
            )
            row = cursor.fetchone()
        return row[0] if row else None

    # ---------------------------------------------------------------- walking
    def run(self) -> Verified:
        while self.done.broken is None:
            places = self._next()
            if not places:
                self._at_the_end()
                break
            self._batch(places)
            if self.tell:
                self.tell(self.done.entries)
            if self.done.broken or self._is_past(places[-1]):
                break
            if self.end is not None and time.monotonic() > self.end:
                return replace(self.done, next=(self.position, self.digest))
        return replace(self.done, complete=True)

    def _is_past(self, place: _Place) -> bool:
        return self.until is not None and place.occurred_at >= self.until

    def _next(self) -> list[_Place]:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT s.position, s.entry_id, s.occurred_at, s.digest, s.chain, {COLUMNS}"  # noqa: S608
                " FROM (SELECT * FROM audit_seal WHERE chain_id = %s AND position > %s ORDER BY position LIMIT %s) s"
                " LEFT JOIN audit_entry e ON e.id = s.entry_id AND e.occurred_at = s.occurred_at ORDER BY s.position",
                [self.chain_id, self.position, _BATCH],
            )
            return [_Place(row[0], row[1], row[2], bytes(row[3]), bytes(row[4]), row[5:]) for row in cursor.fetchall()]

    def _batch(self, places: Sequence[_Place]) -> None:
        ciphers = open_keys(UUID(box["key"]) for place in places if place.row[0] for box in json.loads(place.row[-1]))
        marks = {mark.position: mark for mark in self.checkpoints if self.position < mark.position}
        start = self.position
        for number, place in enumerate(places):
            if not self._is_whole(places, number, ciphers):
                return
            self.position, self.digest = place.position, place.chain
            self.done = replace(
                self.done,
                position=self.position,
                entries=self.done.entries + 1,
                first_at=self.done.first_at or place.occurred_at,
                last_at=place.occurred_at,
            )
            mark = marks.get(place.position)
            if mark is not None and not self._is_kept(mark, place):
                return
        later = [mark for mark in marks.values() if start < mark.position <= self.position]
        self.done = replace(self.done, checkpoints=self.done.checkpoints + len(later))
        newest = max(place.occurred_at for place in places)
        self._look_for_strangers(newest)

    def _is_whole(self, places: Sequence[_Place], number: int, ciphers: dict[UUID, Any]) -> bool:
        place = places[number]
        if place.position != self.position + 1:
            lost = self.position + 1
            what = "inserted" if place.position <= self.position else "missing"
            at = place.position if what == "inserted" else lost
            return self._break(at, place.entry_id if what == "inserted" else None, what, "a place of the chain")
        if link(self.digest, place.digest) != place.chain:
            following = places[number + 1] if number + 1 < len(places) else None
            return self._break(place.position, place.entry_id, self._why(place, following), "the chain does not go on")
        if place.row[0] is None:
            return self._break(place.position, place.entry_id, "missing", "the entry is gone")
        if entry_digest(canonical(place.row)) != place.digest:
            return self._break(place.position, place.entry_id, "altered", "the entry is not what was sealed")
        if not self._boxes_hold(place, ciphers):
            return self._break(place.position, place.entry_id, "altered", "a sealed value is not what was sealed")
        return True

    def _why(self, place: _Place, following: _Place | None) -> str:
        """What happened where the chain breaks off at ``place``, by how it goes on behind it."""
        if following is None or link(self.digest, following.digest) != following.chain:
            return "altered"
        # The next place is the one that belongs here: either this one belongs behind it, or nowhere.
        return "reordered" if link(following.chain, place.digest) == place.chain else "inserted"

    def _boxes_hold(self, place: _Place, ciphers: dict[UUID, Any]) -> bool:
        for box in json.loads(place.row[-1]):
            try:
                opened = open_box(place.entry_id, box, ciphers)
            except (InvalidTag, ValueError):
                return False
            if opened is not None and commitment(*opened) != box["sum"]:
                return False
        return True

    def _is_kept(self, mark: _Checkpoint, place: _Place) -> bool:
        if not self._signed(mark):
            return self._break(place.position, place.entry_id, "bad_signature", "a checkpoint is not signed by us")
        if mark.digest != place.chain:
            return self._break(place.position, place.entry_id, "altered", "the chain was written anew before here")
        return True

    def _look_for_strangers(self, newest: datetime | None) -> None:
        """An entry that the sealer has passed and that has no place in the chain."""
        org = "org_id IS NULL" if self.chain_id == NO_ORG else "org_id = %(org)s"
        period = "" if self.reached is None else " AND e.occurred_at >= %(from)s"
        period += "" if newest is None else " AND e.occurred_at < %(to)s"
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT e.id FROM audit_entry e WHERE e.{org}{period} AND (e.xid, e.seq) <= (%(xid)s::xid8, %(seq)s)"  # noqa: S608
                " AND NOT EXISTS (SELECT 1 FROM audit_seal s WHERE s.entry_id = e.id AND s.occurred_at = e.occurred_at)"
                " ORDER BY e.occurred_at LIMIT 1",
                {
                    "org": self.chain_id,
                    "from": self.reached,
                    "to": newest,
                    "xid": self.sealer[0],
                    "seq": self.sealer[1],
                },
            )
            row = cursor.fetchone()
        if row is not None:
            self._break(None, row[0], "inserted", "an entry was never sealed")
        self.reached = newest

    def _at_the_end(self) -> None:
        self._look_for_strangers(None)
        if self.done.broken is not None:
            return
        if self.head is None:
            if self.checkpoints and self.checkpoints[-1].position > 0:
                self._break(self.position + 1, None, "missing", "the head of the chain is gone")
            return
        position, digest, moment, key_id, signature = self.head
        last = max([position, *(mark.position for mark in self.checkpoints)])
        if last > self.position:
            self._break(self.position + 1, None, "missing", f"the chain had {last} places")
        elif not is_signed(head_statement(self.chain_id, position, digest, moment), key_id=key_id, signature=signature):
            self._break(position, None, "bad_signature", "the head of the chain is not signed by us")
        elif position == self.position and digest != self.digest:
            self._break(position, None, "altered", "the chain was written anew before here")

    def _break(self, position: int | None, entry_id: UUID | None, reason: str, detail: str) -> bool:
        self.done = replace(self.done, broken=Broken(position, entry_id, reason, detail))
        return False
