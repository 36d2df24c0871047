"""The chain: what an entry's digest is made of, and the sealer that appends committed entries to it.

``digest = SHA-256("mindweave.audit.entry.v1\\n" + canonical JSON of the entry)``; ``chain = SHA-256(previous chain +
digest)``; the first entry's previous is ``SHA-256("mindweave.audit.chain.v1\\n" + id of the chain)``. Canonical JSON
has sorted keys, no spaces, UTF-8. Values that can be erased enter by their digests (see :mod:`apps.audit.sealed`).
"""

import hashlib
import json
import logging
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from apps.audit.signing import sign, statement
from apps.core.clock import now
from apps.core.ids import uuid7

__all__ = ["COLUMNS", "NO_ORG", "Raw", "canonical", "chain_of", "entry_digest", "genesis", "link", "seal", "seal_all"]

logger = logging.getLogger(__name__)

# The chain of what belongs to no organisation.
NO_ORG = UUID(int=0)
BATCH = 2000
CHECKPOINT_ENTRIES = 1000
CHECKPOINT_EVERY = timedelta(hours=1)
_LOCK = "audit.sealer"

COLUMNS = (
    "e.id, e.occurred_at, e.org_id, e.action, e.actor_kind, e.actor_id, e.actor_label, e.impersonator_id, host(e.ip),"
    " e.user_agent, e.correlation_id, e.target_type, e.target_id, e.target_label, e.changes::text, e.reason,"
    " e.sealed::text"
)
_NAMES = (
    "id", "occurred_at", "org_id", "action", "actor_kind", "actor_id", "actor_label", "impersonator_id", "ip",
    "user_agent", "correlation_id", "target_type", "target_id", "target_label", "changes", "reason", "sealed",
)  # fmt: skip
Raw = tuple[Any, ...]


# ---------------------------------------------------------------- digests
def canonical(row: Raw) -> dict[str, Any]:
    """The entry as its digest sees it, from a row of :data:`COLUMNS`; of ``sealed`` only the digests."""
    entry: dict[str, Any] = {
        name: str(value) if isinstance(value, UUID) else value for name, value in zip(_NAMES, row, strict=True)
    }
    entry["occurred_at"] = moment_text(row[1])
    entry["changes"] = json.loads(entry["changes"])
    entry["sealed"] = [box["sum"] for box in json.loads(entry["sealed"])]
    return entry


def moment_text(moment: datetime) -> str:
    """RFC 3339 in UTC with six digits of a second, always."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def entry_digest(entry: dict[str, Any]) -> bytes:
    """The digest of a :func:`canonical` entry."""
    text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(b"mindweave.audit.entry.v1\n" + text.encode()).digest()


def link(previous: bytes, digest: bytes) -> bytes:
    """The chain's digest after an entry."""
    return hashlib.sha256(previous + digest).digest()


def genesis(chain_id: UUID) -> bytes:
    """What stands before the first entry of a chain."""
    return hashlib.sha256(b"mindweave.audit.chain.v1\n" + str(chain_id).encode()).digest()


def chain_of(org_id: UUID | None) -> UUID:
    """The chain that an organisation's entries are in."""
    return org_id or NO_ORG


# ---------------------------------------------------------------- the sealer
@dataclass
class _Head:
    """Where a chain stands, and what the batch adds to it."""

    position: int
    digest: bytes
    checkpoint_position: int
    checkpoint_at: datetime | None
    rows: list[tuple[UUID, int, UUID, datetime, bytes, bytes]] = field(default_factory=list)


def seal_all(*, batch: int = BATCH) -> int:
    """Seal until nothing committed waits; returns how many entries were sealed."""
    total = 0
    while sealed := seal(batch=batch):
        total += sealed
    return total


def seal(*, batch: int = BATCH) -> int:
    """Append committed entries to their chains, at most ``batch``, in one transaction; returns how many.

    Zero while another process seals. An entry is ripe when its transaction is older than every one that still runs, so
    that none can appear before it any more: entries are taken by (transaction, number), and the cursor never misses
    one, whatever order transactions commit in. A process that dies leaves nothing half done.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [_LOCK])
        if not cursor.fetchone()[0]:
            return 0
        rows, place = _ripe(cursor, batch)
        if not rows:
            return 0
        by_chain: dict[UUID, list[Raw]] = defaultdict(list)
        for row in rows:
            by_chain[chain_of(row[2])].append(row)
        heads = _heads(cursor, list(by_chain))
        for chain_id, entries in by_chain.items():
            _append(heads[chain_id], chain_id, entries)
        _write(cursor, heads)
        cursor.execute("UPDATE audit_sealer SET xid = %s::xid8, seq = %s, moved_at = now()", place)
    return len(rows)


def _ripe(cursor: Any, batch: int) -> tuple[list[Raw], tuple[str, int]]:
    """The next entries in order, and the cursor behind them."""
    cursor.execute("SELECT xid::text, seq, xid >= pg_snapshot_xmax(pg_current_snapshot()) FROM audit_sealer")
    xid, seq, is_foreign = cursor.fetchone()
    where = "(e.xid, e.seq) > (%s::xid8, %s) AND e.xid < pg_snapshot_xmin(pg_current_snapshot())"
    order = "e.xid, e.seq"
    if is_foreign:
        # The database was restored into another server, whose transactions are numbered anew: whatever has a number
        # that this one has not reached is of the old one, and over.
        where = (
            "(e.xid < pg_snapshot_xmin(pg_current_snapshot()) OR e.xid >= pg_snapshot_xmax(pg_current_snapshot()))"
            " AND %s::text IS NOT NULL AND %s::bigint IS NOT NULL"
        )
        order = "e.seq"
    cursor.execute(
        f"SELECT {COLUMNS}, e.xid::text, e.seq, pg_snapshot_xmin(pg_current_snapshot())::text FROM audit_entry e"  # noqa: S608
        f" WHERE {where} AND NOT EXISTS (SELECT 1 FROM audit_seal s WHERE s.entry_id = e.id"
        f" AND s.occurred_at = e.occurred_at) ORDER BY {order} LIMIT %s",
        [xid, seq, batch],
    )
    rows = cursor.fetchall()
    if not rows:
        if is_foreign:
            cursor.execute("UPDATE audit_sealer SET xid = pg_snapshot_xmin(pg_current_snapshot()), seq = 0")
        return [], (xid, seq)
    place = (xid, seq) if is_foreign else (rows[-1][-3], rows[-1][-2])
    return [row[:-3] for row in rows], place


def _heads(cursor: Any, chain_ids: list[UUID]) -> dict[UUID, _Head]:
    cursor.execute(
        "SELECT chain_id, position, digest, checkpoint_position, checkpoint_at FROM audit_chain"
        " WHERE chain_id = ANY(%s)",
        [chain_ids],
    )
    found = {row[0]: _Head(row[1], bytes(row[2]), row[3], row[4]) for row in cursor.fetchall()}
    return {chain_id: found.get(chain_id) or _Head(0, genesis(chain_id), 0, None) for chain_id in chain_ids}


def _append(head: _Head, chain_id: UUID, entries: list[Raw]) -> None:
    for row in entries:
        digest = entry_digest(canonical(row))
        head.position, head.digest = head.position + 1, link(head.digest, digest)
        head.rows.append((chain_id, head.position, row[0], row[1], digest, head.digest))


def _write(cursor: Any, heads: dict[UUID, _Head]) -> None:
    columns = zip(*(row for head in heads.values() for row in head.rows), strict=True)
    cursor.execute(
        "INSERT INTO audit_seal (chain_id, position, entry_id, occurred_at, digest, chain) SELECT * FROM"
        " unnest(%s::uuid[], %s::bigint[], %s::uuid[], %s::timestamptz[], %s::bytea[], %s::bytea[])",
        [list(column) for column in columns],
    )
    for chain_id, head in heads.items():
        write_head(cursor, chain_id, head.position, head.digest)
        due = head.checkpoint_at is None or now() - head.checkpoint_at >= CHECKPOINT_EVERY
        if due or head.position // CHECKPOINT_ENTRIES > head.checkpoint_position // CHECKPOINT_ENTRIES:
            write_checkpoint(cursor, chain_id, head.position, head.digest, "mark")


def head_statement(chain_id: UUID, position: int, digest: bytes, moment: datetime) -> bytes:
    """What the signature of a chain's head is over."""
    return statement(kind="head", chain=str(chain_id), position=position, digest=digest.hex(), at=moment_text(moment))


def write_head(cursor: Any, chain_id: UUID, position: int, digest: bytes) -> None:
    """Note and sign how far a chain has come."""
    moment = now()
    key_id, signature = sign(head_statement(chain_id, position, digest, moment))
    cursor.execute(
        "INSERT INTO audit_chain (chain_id, position, digest, signed_at, key_id, signature)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (chain_id) DO UPDATE SET position = excluded.position,"
        " digest = excluded.digest, signed_at = excluded.signed_at, key_id = excluded.key_id,"
        " signature = excluded.signature",
        [chain_id, position, digest, moment, key_id, signature],
    )


def checkpoint_statement(chain_id: UUID, position: int, digest: bytes, kind: str, moment: datetime) -> bytes:
    """What the signature of a checkpoint is over."""
    return statement(kind=kind, chain=str(chain_id), position=position, digest=digest.hex(), at=moment_text(moment))


def write_checkpoint(cursor: Any, chain_id: UUID, position: int, digest: bytes, kind: str) -> None:
    """Sign what the chain's digest is at a position, for good: ``mark``, or ``close`` where what came before may go."""
    moment = now()
    key_id, signature = sign(checkpoint_statement(chain_id, position, digest, kind, moment))
    cursor.execute(
        "INSERT INTO audit_checkpoint (id, chain_id, position, kind, digest, made_at, key_id, signature)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (chain_id, position, kind) DO NOTHING",
        [uuid7(), chain_id, position, kind, digest, moment, key_id, signature],
    )
    cursor.execute(
        "UPDATE audit_chain SET checkpoint_position = greatest(checkpoint_position, %s), checkpoint_at = %s"
        " WHERE chain_id = %s",
        [position, moment, chain_id],
    )
