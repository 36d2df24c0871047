"""Keys that values of the trail are sealed under, and that are destroyed to erase them.

Each person has a key in each organisation and one outside all; an organisation has one of its own; an address of
somebody unknown has one; and whoever nothing is known of shares one a month with all such, which is destroyed after
90 days. Keys are 256-bit AES-GCM, kept encrypted under the field keys.

Entries are found by address without the address: beside each stands a mark of it, made under the key of whom it is
sealed for. Which marks belong to an address is noted under a mark of the organisation's key, in rows that go with the
key of whom they are of: without its row, and without its key, a mark means nothing.
"""

import hmac
import ipaddress
import os
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import connection
from django.db.models.expressions import RawSQL

from apps.core.clock import now
from apps.core.crypto import decrypt, encrypt, rotate, token_digests
from apps.core.database import connect
from apps.core.ids import uuid7

__all__ = ["Owner", "address_owner", "address_subjects", "close_connection", "forget_cached_keys", "key_for",
           "mark_for", "marks_at", "open_keys", "rotate_keys", "strangers_owner"]  # fmt: skip

_T = TypeVar("_T")

_CACHED = 20_000
_BATCH = 500


class Owner(NamedTuple):
    """Whose key: a person's or an address's in an organisation (or outside all), or the organisation's own."""

    org_id: UUID | None = None
    person_id: UUID | None = None
    subject: str = ""


class _Opened(NamedTuple):
    """What a key does: it seals, and it marks addresses."""

    cipher: AESGCM
    marker: bytes


class _Key(NamedTuple):
    id: UUID
    opened: _Opened | None


def address_owner(org_id: UUID | None, email: str) -> Owner:
    """The owner that stands for an e-mail address of which nobody knows whose it is; only a keyed digest is kept."""
    return Owner(org_id, None, _subject(email))


def address_subjects(email: str) -> list[str]:
    """The subjects that an address may have been kept under: the one of today, and those under peppers, as long as
    these are there.
    """
    former = token_digests(email.strip().lower(), "audit.address")
    return [_subject(email), *(f"address:{digest.hex()}" for digest in former)]


# The key under which addresses are recognised. It stays for good, whatever becomes of peppers and of other keys: an
# address must be found to be erased as long as anything is sealed for it.
_ADDRESSES = Owner(None, None, "addresses")


def _subject(email: str) -> str:
    opened = _known(_ADDRESSES).opened
    assert opened is not None, "the key of addresses is not for anybody to destroy"
    digest = hmac.digest(opened.marker, email.strip().lower().encode("utf-8", "surrogatepass"), "sha256")
    return f"mail:{digest.hex()}"


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
    known = _known(owner)
    return known.id, None if known.opened is None else known.opened.cipher


def mark_for(owner: Owner, ip: str) -> bytes | None:
    """What an entry of the owner's is found by, for whoever looks for this address; None for what is no address."""
    key, address = _known(owner), _address(ip)
    if key.opened is None or not address:
        return None
    mark = _mark(key.opened.marker, address)
    if owner.org_id is not None:
        _note(owner.org_id, key.id, address, mark)
    return mark


# Which of an owner's marks were noted, and on which day: each process says so once a day.
_noted: dict[bytes, date] = {}
# A key that is destroyed meanwhile gets no row; what is noted in the same moment is swept by the nightly job.
_NOTE = """
INSERT INTO audit_address (org_id, mark, ip_mark, key_id, seen_on)
SELECT %s, %s, %s, id, %s FROM audit_key WHERE id = %s AND sealed_key IS NOT NULL
ON CONFLICT (org_id, mark, ip_mark) DO UPDATE SET seen_on = excluded.seen_on
WHERE audit_address.seen_on < excluded.seen_on
"""


def _note(org_id: UUID, key_id: UUID, address: str, mark: bytes) -> None:
    """Keep whose mark stands for an address in an organisation: committed at once, as keys are."""
    today, own = now().date(), _known(Owner(org_id)).opened
    if own is None or _noted.get(mark) == today:
        return
    values = [org_id, _mark(own.marker, address), mark, today, key_id]
    _on_own(lambda connection: connection.execute(_NOTE, values))
    if len(_noted) >= _CACHED:
        _noted.clear()
    _noted[mark] = today


def _known(owner: Owner) -> _Key:
    known = _cache.get(owner)
    if known is None:
        known = _find_or_make(owner)
        if len(_cache) >= _CACHED:
            _cache.clear()
        _cache[owner] = known
    return known


def _address(ip: str) -> str:
    """One spelling for each address; empty for what is none."""
    try:
        found = ipaddress.ip_address(ip.strip())
    except ValueError:
        return ""
    return str(getattr(found, "ipv4_mapped", None) or found)


def _mark(marker: bytes, text: str) -> bytes:
    return hmac.digest(marker, text.encode(), "sha256")[:16]


def _open(sealed: bytes) -> _Opened:
    key = decrypt(sealed)
    return _Opened(AESGCM(key), hmac.digest(key, b"mindweave.audit.mark.v1", "sha256"))


def forget_cached_keys() -> None:
    """Empty this process's memory of keys; for tests."""
    with _lock:
        _cache.clear()
        _opened.clear()
        _noted.clear()


def close_connection() -> None:
    """Close the connection of this module's own, which opens again when it is needed; for tests."""
    global _own
    with _lock:
        if _own is not None:
            _own.close()
            _own = None


def _find_or_make(owner: Owner) -> _Key:
    return _on_own(lambda connection: _ask(connection, owner))


def _on_own(work: Callable[[psycopg.Connection], _T]) -> _T:
    """Do something on the connection of this module's own, which commits each statement."""
    with _lock:
        try:
            return work(_connection())
        except psycopg.OperationalError:
            return work(_connection(anew=True))  # the server was restarted since


def _connection(*, anew: bool = False) -> psycopg.Connection:
    global _own, _pid
    if _own is None or anew or _own.closed or _pid != os.getpid():
        _own, _pid = connect(), os.getpid()
    return _own


def _ask(own: psycopg.Connection, owner: Owner) -> _Key:
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
    return _Key(row[0], None if row[1] is None else _open(bytes(row[1])))


# ---------------------------------------------------------------- for reading
_opened: dict[UUID, _Opened] = {}


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
    return {key_id: opened.cipher for key_id, opened in _remembered(rows)}


# Of those whose keys are left: what is noted in the moment of an erasure is found by nobody until it is swept.
_AT_ADDRESS = """
SELECT ip_mark FROM audit_address JOIN audit_key ON audit_key.id = key_id
WHERE audit_address.org_id = %s AND mark = %s AND sealed_key IS NOT NULL
"""


def marks_at(org_id: UUID, ip: str) -> RawSQL | None:
    """The marks under which entries of the organisation from an address stand, as a subquery; None where there are none
    to be. One query, for the organisation's own key: how many people it has does not matter.
    """
    address = _address(ip)
    if not address:
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, sealed_key FROM audit_key"
            " WHERE org_id = %s AND person_id IS NULL AND subject = '' AND sealed_key IS NOT NULL",
            [org_id],
        )
        own = _remembered(cursor.fetchall())
    if not own:
        return None
    return RawSQL(_AT_ADDRESS, (org_id, _mark(own[0][1].marker, address)))  # noqa: S611 - all of it is above


def _remembered(rows: list[tuple[UUID, Any]]) -> list[tuple[UUID, _Opened]]:
    if len(_opened) + len(rows) > _CACHED:
        _opened.clear()
    found = []
    for key_id, sealed in rows:
        opened = _opened.get(key_id)
        if opened is None:
            opened = _opened[key_id] = _open(bytes(sealed))
        found.append((key_id, opened))
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
