"""Keys that values of the trail are sealed under, and that are destroyed to erase them.

Each person has a key in each organisation and one outside all; an organisation has one of its own; an address of
somebody unknown has one; and whoever nothing is known of shares one a month with all such, which is destroyed after
90 days. Keys are 256-bit AES-GCM, kept encrypted under the field keys.
"""

import os
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import connection

from apps.core.clock import now
from apps.core.crypto import decrypt, encrypt, rotate, token_digest, token_digests
from apps.core.database import connect
from apps.core.ids import uuid7

__all__ = ["Owner", "address_owner", "address_subjects", "forget_cached_keys", "key_for", "open_keys", "rotate_keys",
           "strangers_owner"]  # fmt: skip

_CACHED = 20_000
_BATCH = 500


class Owner(NamedTuple):
    """Whose key: a person's or an address's in an organisation (or outside all), or the organisation's own."""

    org_id: UUID | None = None
    person_id: UUID | None = None
    subject: str = ""


class _Key(NamedTuple):
    id: UUID
    cipher: AESGCM | None


def address_owner(org_id: UUID | None, email: str) -> Owner:
    """The owner that stands for an e-mail address of which nobody knows whose it is; only a keyed digest is kept."""
    return Owner(org_id, None, f"address:{token_digest(email.strip().lower(), 'audit.address').hex()}")


def address_subjects(email: str) -> list[str]:
    """The subjects that an address may have been kept under, one for each pepper."""
    return [f"address:{digest.hex()}" for digest in token_digests(email.strip().lower(), "audit.address")]


def strangers_owner(org_id: UUID | None, at: datetime | None = None) -> Owner:
    """The owner of what is kept of people of whom nothing is known: one a month."""
    return Owner(org_id, None, f"month:{(at or now()).astimezone(UTC):%Y-%m}")


# ---------------------------------------------------------------- for writing
_cache: dict[Owner, _Key] = {}
_lock = threading.Lock()
_own: psycopg.Connection | None = None
_pid = 0


def key_for(owner: Owner) -> tuple[UUID, AESGCM | None]:
    """The id and cipher to seal with, made on first use; no cipher where the owner has been forgotten.

    Made on a connection of its own and committed at once: inside the caller's transaction two writers would wait for
    each other, and a rolled-back one would take the key of what others have sealed by then. A process remembers keys;
    one that was destroyed meanwhile seals what nobody can open, which is what its destruction asked for.
    """
    known = _cache.get(owner)
    if known is None:
        known = _find_or_make(owner)
        if len(_cache) >= _CACHED:
            _cache.clear()
        _cache[owner] = known
    return known


def forget_cached_keys() -> None:
    """Empty this process's memory of keys and close its connection; for tests."""
    global _own
    with _lock:
        _cache.clear()
        _opened.clear()
        if _own is not None:
            _own.close()
            _own = None


def _find_or_make(owner: Owner) -> _Key:
    with _lock:
        try:
            return _ask(owner)
        except psycopg.OperationalError:
            _connection(anew=True)  # the server was restarted since
            return _ask(owner)


def _connection(*, anew: bool = False) -> psycopg.Connection:
    global _own, _pid
    if _own is None or anew or _own.closed or _pid != os.getpid():
        _own, _pid = connect(), os.getpid()
    return _own


def _ask(owner: Owner) -> _Key:
    own = _connection()
    find = (
        "SELECT id, sealed_key FROM audit_key WHERE org_id IS NOT DISTINCT FROM %s"
        " AND person_id IS NOT DISTINCT FROM %s AND subject = %s"
    )
    row = own.execute(find, owner).fetchone()
    if row is None:
        fresh = encrypt(AESGCM.generate_key(256))
        own.execute(
            "INSERT INTO audit_key (id, org_id, person_id, subject, sealed_key) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            [uuid7(), *owner, fresh],
        )
        row = own.execute(find, owner).fetchone()
        assert row is not None
    return _Key(row[0], None if row[1] is None else AESGCM(decrypt(bytes(row[1]))))


# ---------------------------------------------------------------- for reading
_opened: dict[UUID, AESGCM] = {}


def open_keys(ids: Iterable[UUID]) -> dict[UUID, AESGCM]:
    """Ciphers of the keys that still exist, in one query. The database is asked each time: a destroyed key is gone at
    once on every process, whatever they remember.
    """
    wanted = list(set(ids))
    if not wanted:
        return {}
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, sealed_key FROM audit_key WHERE id = ANY(%s) AND sealed_key IS NOT NULL", [wanted])
        rows = cursor.fetchall()
    if len(_opened) + len(rows) > _CACHED:
        _opened.clear()
    found = {}
    for key_id, sealed in rows:
        cipher = _opened.get(key_id)
        if cipher is None:
            cipher = _opened[key_id] = AESGCM(decrypt(bytes(sealed)))
        found[key_id] = cipher
    return found


# ---------------------------------------------------------------- rotation of the field keys
def rotate_keys() -> int:
    """Reseal every key under the current field key; returns how many. See :func:`apps.core.rotation.rotate_all`."""
    total, last = 0, UUID(int=0)
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id, sealed_key FROM audit_key WHERE id > %s AND sealed_key IS NOT NULL ORDER BY id LIMIT %s",
                [last, _BATCH],
            )
            rows = cursor.fetchall()
            if not rows:
                return total
            # One that was destroyed since it was read stays destroyed.
            cursor.executemany(
                "UPDATE audit_key SET sealed_key = %s WHERE id = %s AND sealed_key IS NOT NULL",
                [(rotate(bytes(sealed)), key_id) for key_id, sealed in rows],
            )
        total, last = total + len(rows), rows[-1][0]
