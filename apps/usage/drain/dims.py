"""From names to surrogates: organisations, who, what and tag sets, interned once and remembered.

Interning commits by itself, outside the flush: a flush that fails leaves a name too many, never a number without a
name. An organisation belongs to one shard, so only :class:`What` rows are made by several processes at once.

All that is remembered has a bound. What is beyond it is forgotten all at once, which is simple and rare: what a flush
needs is read back by a statement.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from sys import intern
from typing import Final
from uuid import UUID

import msgspec
import numpy as np
import psycopg
from django.db import connection

from apps.accounts import selectors as accounts
from apps.core import clock
from apps.core.tenancy import system_scope
from apps.projects import selectors as projects
from apps.usage.drain.bounds import OTHER, NameBounds
from apps.usage.drain.keys import salt_words
from apps.usage.drain.whos import Ints, WhoRow, WhoTable
from apps.usage.ingest.frame import WhatKey, WhoKey

__all__ = ["Dimensions", "OrgEntry"]

# Some 0.6 kB each.
MAX_ORGS: Final = 20_000
MAX_WHATS: Final = 50_000
MAX_TAGSETS: Final = 50_000
# Of all organisations and keys together, 0.1 kB each.
MAX_TAG_VALUES_KNOWN: Final = 200_000
MAX_TAG_VALUES = 1000
_ORG_MAX_AGE = timedelta(seconds=30)
DEFAULT_RETENTION_DAYS = 7

Tags = tuple[tuple[str, str], ...]

# What the unique index of `usage_what` tells rows apart by: names themselves can be longer than an index holds.
_WHAT_DIGEST = " || ".join(
    f"md5({name})"
    for name in (
        "event_type", "model", "service_tier", "geo", "speed", "context_band", "mcp_server", "mcp_tool", "source",
        "status",
    )
)  # fmt: skip

_INTERN_WHATS = (
    "INSERT INTO usage_what (event_type, model, service_tier, batch, geo, speed, context_band, mcp_server, mcp_tool,"  # noqa: S608
    " source, status) SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::boolean[], %s::text[], %s::text[],"
    f" %s::text[], %s::text[], %s::text[], %s::text[], %s::text[]) ON CONFLICT (md5({_WHAT_DIGEST}), batch)"
    " DO UPDATE SET status = EXCLUDED.status RETURNING id, event_type, model, service_tier, batch, geo, speed,"
    " context_band, mcp_server, mcp_tool, source, status"
)

# A reference of the table would look up and lock the organisation for each row; this does once for all of its rows.
_INTERN_WHOS = (
    "WITH there AS (SELECT id FROM usage_org WHERE id = ANY(%s::integer[]) FOR KEY SHARE)"
    " INSERT INTO usage_who (org, project_id, team_id, person_id, key_id, tagset)"
    " SELECT w.* FROM unnest(%s::integer[], %s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::integer[])"
    " AS w (org, project_id, team_id, person_id, key_id, tagset) JOIN there ON there.id = w.org"
    " ON CONFLICT (org, project_id, team_id, person_id, key_id, tagset) DO UPDATE SET org = EXCLUDED.org"
    " RETURNING id, org, uuid_send(project_id), uuid_send(team_id), uuid_send(person_id), uuid_send(key_id), tagset"
)


@dataclass(slots=True)
class OrgEntry:
    """An organisation as the drain needs it."""

    id: int
    org_id: UUID
    k1: int
    k2: int
    salt: bytes
    timezone: str
    retention_days: int
    # Those of its projects that keep raw events for less, by the bytes of their ids.
    project_days: dict[bytes | None, int]
    checked_at: datetime


class Dimensions:
    """The interned dimensions of one shard."""

    def __init__(self) -> None:
        self._orgs: dict[UUID, OrgEntry] = {}
        self._whos = WhoTable()
        self._whats: dict[WhatKey, int] = {}
        self.what_keys: dict[int, WhatKey] = {}
        # Those of the latest :meth:`whos` alone.
        self.who_keys: dict[int, WhoRow] = {}
        self._tagsets: dict[tuple[int, Tags], int] = {}
        self._tag_values: dict[tuple[UUID, str], set[str]] = {}
        self._tag_values_known = 0
        self.bounds = NameBounds()

    # ------------------------------------------------------------------ organisations
    def orgs(self, org_ids: Iterable[UUID]) -> dict[UUID, OrgEntry]:
        """The organisations' entries; their time zones and retention at most 30 seconds old.

        All that are not known, or not any more, are read together: a flush of hundreds costs three statements.
        """
        moment = clock.now()
        wanted = set(org_ids)
        stale = [
            org_id
            for org_id in wanted
            if (entry := self._orgs.get(org_id)) is None or moment - entry.checked_at >= _ORG_MAX_AGE
        ]
        if stale:
            if len(self._orgs) > MAX_ORGS:
                self._orgs.clear()
                stale = list(wanted)
            self._read_orgs(stale, moment)
        return {org_id: self._orgs[org_id] for org_id in wanted}

    def org(self, org_id: UUID) -> OrgEntry:
        """One organisation's entry."""
        return self.orgs([org_id])[org_id]

    def _read_orgs(self, org_ids: list[UUID], moment: datetime) -> None:
        with system_scope("the drain reads time zone and retention"):
            infos = accounts.orgs_find(org_ids)
        shorter = projects.raw_retention_of_projects(org_ids)
        zones = {org_id: infos[org_id].timezone if org_id in infos else "UTC" for org_id in org_ids}
        # What is there is not erased, so its number is what it was.
        known = [
            (entry.id, org_id, entry.salt)
            for org_id in infos
            if (entry := self._orgs.get(org_id)) is not None and entry.timezone == zones[org_id]
        ]
        others = zones.keys() - {org_id for _, org_id, _ in known}
        numbered = _numbered({org_id: zones[org_id] for org_id in others}) if others else []
        for number, org_id, salt in known + numbered:
            retention = infos[org_id].raw_retention_days if org_id in infos else DEFAULT_RETENTION_DAYS
            own: dict[bytes | None, int] = {
                project.bytes: days for project, days in shorter.get(org_id, {}).items() if days < retention
            }
            k1, k2 = salt_words(salt)
            self._orgs[org_id] = OrgEntry(number, org_id, k1, k2, salt, zones[org_id], retention, own, moment)

    # ------------------------------------------------------------------ who
    def whos(self, wanted: Sequence[tuple[OrgEntry, list[WhoKey]]]) -> list[Ints]:
        """The numbers of each frame's whos; ``who_keys`` then says what these mean."""
        rows: list[WhoRow] = []
        tagsets = self._tagsets_of(wanted)
        # Mostly there are no tags, and what the frame names is what is remembered.
        for org, keys in wanted:
            rows += [(org.id, *key[:4], tagsets[org.id, key[4]]) if key[4] else (org.id, *key) for key in keys]  # type: ignore[misc]
        sizes = [len(keys) for _, keys in wanted]
        words = [
            np.repeat(np.array([getattr(org, k) for org, _ in wanted], dtype=np.uint64), sizes) for k in ("k1", "k2")
        ]
        hi, lo = self._whos.keys(rows, *words)
        numbers = self._whos.find(hi, lo)
        unknown = np.flatnonzero(numbers == 0)
        if len(unknown):
            made = self._make_whos(list(dict.fromkeys(rows[place] for place in unknown.tolist())))
            numbers[unknown] = [made[rows[place]] for place in unknown.tolist()]
            self._whos.add(hi[unknown], lo[unknown], numbers[unknown])
        self.who_keys = dict(zip(numbers.tolist(), rows, strict=True))
        return np.split(numbers, np.cumsum(sizes)[:-1])

    @staticmethod
    def _make_whos(missing: list[WhoRow]) -> dict[WhoRow, int]:
        # As texts of arrays, and bytes in return: an organisation's people come by the hundred when they first send,
        # and the driver takes several times as long for as many ids.
        columns = [list(dict.fromkeys(row[0] for row in missing)), *zip(*missing, strict=True)]
        arrays = [f"{{{','.join(map(_array_element, column))}}}" for column in columns]
        connection.ensure_connection()
        with psycopg.Cursor(connection.connection) as cursor:
            cursor.execute(_INTERN_WHOS, arrays, binary=True, prepare=True)
            made: dict[WhoRow, int] = {(org, *ids, tagset): number for number, org, *ids, tagset in cursor.fetchall()}
        if len(made) < len(missing):
            raise RuntimeError("an organisation was erased while its events were counted")
        return made

    # ------------------------------------------------------------------ what
    def whats(self, wanted: Sequence[list[WhatKey]]) -> list[list[int]]:
        """The numbers of each frame's whats."""
        frames: list[list[WhatKey]] = [[tuple(key) for key in keys] for keys in wanted]  # type: ignore[misc]
        needed = {key for frame in frames for key in frame}
        missing = needed - self._whats.keys()
        if missing and len(self._whats) > MAX_WHATS:
            self._whats.clear()
            self.what_keys.clear()
            missing = needed
        if missing:
            self._make_whats(list(missing))
        return [[self._whats[key] for key in frame] for frame in frames]

    def _make_whats(self, missing: list[WhatKey]) -> None:
        # In one order everywhere: several shards may make the same rows, each locking them as it goes.
        missing.sort()
        with connection.cursor() as cursor:
            cursor.execute(
                _INTERN_WHATS,
                [list(column) for column in zip(*missing, strict=True)],
            )
            for number, *names in cursor.fetchall():
                # Most of the words are those of many.
                key: WhatKey = tuple(intern(name) if isinstance(name, str) else name for name in names)  # type: ignore[assignment]
                self._whats[key] = number
                self.what_keys[number] = key

    # ------------------------------------------------------------------ tags
    def _tagsets_of(self, wanted: Sequence[tuple[OrgEntry, list[WhoKey]]]) -> dict[tuple[int, Tags], int]:
        """The numbers of the tag sets that are named, by organisation and what was sent."""
        named = {
            (org.id, key[4]): (org.id, tuple((name, self._bounded(org, name, value)) for name, value in key[4]))
            for org, keys in wanted
            for key in keys
            if key[4]
        }
        needed = set(named.values())
        if missing := needed - self._tagsets.keys():
            if len(self._tagsets) + len(missing) > MAX_TAGSETS:
                self._tagsets.clear()
                missing = needed
            self._make_tagsets(missing)
        return {sent: self._tagsets[counted] for sent, counted in named.items()}

    def _make_tagsets(self, missing: set[tuple[int, Tags]]) -> None:
        """All in one statement: a batch may bring thousands that nobody has seen."""
        # Keys may have been registered in another order before: what has the same values is the same set.
        same: dict[tuple[int, frozenset[tuple[str, str]]], list[tuple[int, Tags]]] = {}
        for org, tags in sorted(missing):
            same.setdefault((org, frozenset(tags)), []).append((org, tags))
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO usage_tagset (org, tags) SELECT org, tags::jsonb FROM unnest(%s::integer[], %s::text[])"
                " AS t (org, tags) ON CONFLICT (org, md5(tags::text)) DO UPDATE SET org = EXCLUDED.org"
                " RETURNING id, org, tags::text",
                [
                    [org for org, _ in same],
                    [msgspec.json.encode(dict(sets[0][1])).decode() for sets in same.values()],
                ],
            )
            for number, org, text in cursor.fetchall():
                for key in same[org, frozenset(msgspec.json.decode(text).items())]:
                    self._tagsets[key] = number

    def _bounded(self, org: OrgEntry, key: str, value: str) -> str:
        """The value while the key has fewer than 1,000, then ``other``."""
        values = self._tag_values.get((org.org_id, key))
        if values is None:
            if self._tag_values_known > MAX_TAG_VALUES_KNOWN:
                self._tag_values.clear()
                self._tag_values_known = 0
            with connection.cursor() as cursor:
                cursor.execute("SELECT value FROM usage_tag_value WHERE org_id = %s AND key = %s", [org.org_id, key])
                values = self._tag_values[(org.org_id, key)] = {row[0] for row in cursor.fetchall()}
            self._tag_values_known += 1 + len(values)
        if value in values:
            return value
        if len(values) >= MAX_TAG_VALUES:
            return OTHER
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO usage_tag_value (org_id, key, value) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                [org.org_id, key, value],
            )
        values.add(value)
        self._tag_values_known += 1
        return value


def _array_element(value: bytes | int | None) -> str:
    """A number or the bytes of an id in the text of an array."""
    if value is None:
        return "NULL"
    return value.hex() if isinstance(value, bytes) else str(value)


def _numbered(zones: dict[UUID, str]) -> list[tuple[int, UUID, bytes]]:
    """The number and salt of each organisation; made where there is none, its time zone mended where it changed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, org_id, salt, timezone FROM usage_org WHERE org_id = ANY(%s)", [list(zones)])
        found = [
            (number, org_id, bytes(salt)) for number, org_id, salt, zone in cursor.fetchall() if zone == zones[org_id]
        ]
        missing = sorted(zones.keys() - {org_id for _, org_id, _ in found})
        if missing:
            cursor.execute(
                "INSERT INTO usage_org (org_id, salt, timezone)"
                " SELECT * FROM unnest(%s::uuid[], %s::bytea[], %s::text[])"
                " ON CONFLICT (org_id) DO UPDATE SET timezone = EXCLUDED.timezone RETURNING id, org_id, salt",
                [missing, [os.urandom(16) for _ in missing], [zones[org_id] for org_id in missing]],
            )
            found += [(number, org_id, bytes(salt)) for number, org_id, salt in cursor.fetchall()]
    return found
