"""What an entry says of people and of an organisation's affairs: sealed when it is written, opened when it is read.

An entry carries a box for each owner of something in it: the person who acted, the person it was done to, the
organisation, and whoever else it names. In a box is a salt of 128 bits and the values as JSON; beside it stands the
SHA-256 of both, which is what the chain covers. With the owner's key destroyed the box cannot be opened, and the digest
cannot be guessed at for want of the salt; the chain stays as it was.
"""

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from apps.audit import registry
from apps.audit.keys import Owner, address_owner, key_for, mark_for, open_keys, strangers_owner
from apps.audit.models import AuditEntry
from apps.core.database import later

__all__ = ["ERASED", "NewEntry", "commitment", "open_box", "reveal", "seal_entry", "values_of"]

ERASED = "[erased]"

_PERSONAL_FIELDS = frozenset(
    {"email", "new_email", "name", "first_name", "last_name", "full_name", "given_name", "family_name", "display_name",
     "user_name", "username", "phone", "subject", "name_id", "external_id"}
)  # fmt: skip
_EMAIL = re.compile(r"[^@\s\"'<>,;:]+@[^@\s\"'<>,;:]+\.[^@\s\"'<>,;:.]+")
_NONCE, _SALT = 12, 16


# ---------------------------------------------------------------- writing
@dataclass(slots=True)
class NewEntry:
    """An entry on its way into the table: the fields of :class:`~apps.audit.models.AuditEntry`, in their order.

    Not the model: every write of the product leaves an entry, and what Django does to make a row costs several times
    what is in it.
    """

    id: UUID
    occurred_at: datetime
    org_id: UUID | None
    action: str
    actor_kind: str
    actor_id: UUID | None
    actor_label: str
    impersonator_id: UUID | None
    ip: str | None
    user_agent: str
    correlation_id: str
    target_type: str
    target_id: str
    target_label: str
    changes: dict[str, Any]
    reason: str
    sealed: list[dict[str, str]] = field(default_factory=list)
    ip_mark: bytes | None = None

    def insert(self) -> None:
        """Write it with the next statement of the transaction, or with its commit."""
        later(
            _INSERT,
            [
                self.id, self.occurred_at, self.org_id, self.action, self.actor_kind, self.actor_id, self.actor_label,
                self.impersonator_id, self.ip, self.user_agent, self.correlation_id, self.target_type, self.target_id,
                self.target_label, json.dumps(self.changes), self.reason, json.dumps(self.sealed), self.ip_mark,
            ],
        )  # fmt: skip


_NAMES = tuple(each.name for each in fields(NewEntry))
_CASTS = {"ip": "::inet", "changes": "::jsonb", "sealed": "::jsonb"}
_INSERT = (
    f"INSERT INTO audit_entry ({', '.join(_NAMES)})"  # noqa: S608 - names of columns
    f" VALUES ({', '.join(f'%s{_CASTS.get(name, str())}' for name in _NAMES)})"
)


def seal_entry(entry: NewEntry, people: Mapping[str, UUID] = MappingProxyType({})) -> None:
    """Move what is personal or an organisation's own out of the columns of a new entry into its boxes.

    ``people`` says of changes that name a third person, whose they are.
    """
    boxes: dict[Owner, dict[str, Any]] = {}
    for owner, name, value in _parts(entry, people):
        if value in ("", None, {}):
            continue
        values = boxes.setdefault(owner, {})
        values[name] = {**values[name], **value} if name in values else value
    entry.sealed = [_box(entry.id, owner, values) for owner, values in boxes.items()]


def _parts(entry: NewEntry, people: Mapping[str, UUID]) -> Iterator[tuple[Owner, str, Any]]:
    """What goes into which box; each column that is taken is emptied."""
    actor = _actor_owner(entry)
    if actor is not None:
        entry.ip_mark = mark_for(actor, entry.ip) if entry.ip else None
        yield actor, "ip", entry.ip
        yield actor, "user_agent", entry.user_agent
        entry.ip, entry.user_agent = None, ""
        if entry.actor_kind in ("user", "staff", "anonymous"):
            yield actor, "actor_label", entry.actor_label
            entry.actor_label = ""
    for name, person_id in people.items():
        if name in entry.changes:
            yield Owner(entry.org_id, person_id), "changes", {name: entry.changes.pop(name)}
    label_is_personal, personal = _personal(entry)
    if label_is_personal or personal:
        target = _target_owner(entry, personal)
        yield target, "changes", personal
        entry.changes = {name: pair for name, pair in entry.changes.items() if name not in personal}
        if label_is_personal:
            yield target, "target_label", entry.target_label
            entry.target_label = ""
    if entry.org_id is not None:
        own = Owner(entry.org_id)
        yield own, "target_label", entry.target_label
        yield own, "changes", entry.changes
        yield own, "reason", entry.reason
        entry.target_label, entry.changes, entry.reason = "", {}, ""


def _actor_owner(entry: NewEntry) -> Owner | None:
    if entry.actor_kind in ("user", "staff") and entry.actor_id is not None:
        return Owner(entry.org_id, entry.actor_id)
    if entry.actor_kind in ("user", "staff", "anonymous"):
        return strangers_owner(entry.org_id, entry.occurred_at)
    # A key's address is the organisation's own matter; a worker of ours has none.
    return Owner(entry.org_id) if entry.org_id is not None and entry.actor_kind == "key" else None


def _personal(entry: NewEntry) -> tuple[bool, dict[str, Any]]:
    """Whether the target's label is personal, and those of the changes that are."""
    of_person = registry.is_person(entry.target_type)
    personal = {
        name: pair
        for name, pair in entry.changes.items()
        if (of_person and name in _PERSONAL_FIELDS) or _EMAIL.search(json.dumps(pair))
    }
    return of_person or bool(_EMAIL.search(entry.target_label)), personal


def _target_owner(entry: NewEntry, personal: dict[str, Any]) -> Owner:
    if registry.is_person(entry.target_type):
        try:
            return Owner(entry.org_id, UUID(entry.target_id))
        except ValueError:
            pass
    # Whoever is not signed in may name any address, as many as they like: those get no key each.
    found = _EMAIL.search(f"{entry.target_label} {json.dumps(personal)}")
    if found is None or entry.actor_kind == "anonymous":
        return strangers_owner(entry.org_id, entry.occurred_at)
    return address_owner(entry.org_id, found.group())


def _box(entry_id: UUID, owner: Owner, values: dict[str, Any]) -> dict[str, str]:
    key_id, cipher = key_for(owner)
    salt, text = os.urandom(_SALT), json.dumps(values, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    box = ""
    if cipher is not None:
        nonce = os.urandom(_NONCE)
        sealed = cipher.encrypt(nonce, salt + text.encode(), entry_id.bytes)
        box = base64.b64encode(nonce + sealed).decode()
    return {"key": str(key_id), "sum": commitment(salt, text), "box": box}


def commitment(salt: bytes, text: str) -> str:
    """What the chain covers in the values' place: hex of SHA-256(salt, then the values' JSON in UTF-8)."""
    return hashlib.sha256(salt + text.encode()).hexdigest()


# ---------------------------------------------------------------- reading
def open_box(entry_id: UUID, box: dict[str, str], ciphers: dict[UUID, AESGCM]) -> tuple[bytes, str] | None:
    """The salt and the JSON in a box; None where its key was destroyed. ``InvalidTag`` where the box was changed."""
    cipher = ciphers.get(UUID(box["key"]))
    if cipher is None or not box["box"]:
        return None
    raw = base64.b64decode(box["box"])
    opened = cipher.decrypt(raw[:_NONCE], raw[_NONCE:], entry_id.bytes)
    return opened[:_SALT], opened[_SALT:].decode()


def values_of(
    boxes: Sequence[dict[str, str]], entry_id: UUID, ciphers: dict[UUID, AESGCM]
) -> tuple[dict[str, Any], bool]:
    """The values of all boxes that open, and whether one did not."""
    values: dict[str, Any] = {}
    erased = False
    for box in boxes:
        try:
            opened = open_box(entry_id, box, ciphers)
        except (InvalidTag, ValueError):
            opened = None
        if opened is None:
            erased = True
            continue
        for name, value in json.loads(opened[1]).items():
            values[name] = {**values[name], **value} if name == "changes" and name in values else value
    return values, erased


def reveal(entries: Iterable[AuditEntry]) -> None:
    """Put what is sealed into the fields of the entries; what cannot be opened says so (``erased``)."""
    # A deferred field is left alone: whoever did not ask for it does not wait for it.
    rows = [entry for entry in entries if entry.__dict__.get("sealed")]
    ciphers = open_keys(UUID(box["key"]) for entry in rows for box in entry.sealed)
    for entry in rows:
        values, entry.erased = values_of(entry.sealed, entry.pk, ciphers)
        for name, value in values.items():
            known = entry.__dict__.get(name)
            setattr(entry, name, {**known, **value} if name == "changes" and known else value)
        if not entry.erased:
            continue
        if entry.actor_kind in ("user", "staff", "anonymous") and not entry.__dict__.get("actor_label"):
            entry.actor_label = ERASED
        if not entry.__dict__.get("target_label"):
            entry.target_label = ERASED
