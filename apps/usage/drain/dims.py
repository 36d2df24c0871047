"""From names to surrogates: organisations, who, what and tag sets, interned once and remembered.

Interning commits by itself, outside the flush: a flush that fails leaves a name too many, never a number without a
name. An organisation belongs to one shard, so only :class:`What` rows are made by several processes at once.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection

from apps.accounts import selectors as accounts
from apps.core import clock
from apps.core.tenancy import system_scope
from apps.projects import selectors as projects
from apps.usage.drain.bounds import OTHER, NameBounds
from apps.usage.drain.keys import salt_words
from apps.usage.ingest.frame import WhatKey, WhoKey

__all__ = ["Dimensions", "OrgEntry"]

MAX_REMEMBERED = 400_000
MAX_TAG_VALUES = 1000
_ORG_MAX_AGE = timedelta(seconds=30)
DEFAULT_RETENTION_DAYS = 7

WhoRow = tuple[int, bytes | None, bytes | None, bytes | None, bytes | None, int | None]


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
    checked_at: Any


class Dimensions:
    """The interned dimensions of one shard."""

    def __init__(self) -> None:
        self._orgs: dict[UUID, OrgEntry] = {}
        self._whos: dict[WhoRow, int] = {}
        self._whats: dict[WhatKey, int] = {}
        self.what_keys: dict[int, WhatKey] = {}
        self.who_keys: dict[int, WhoRow] = {}
        self._tagsets: dict[tuple[int, tuple[tuple[str, str], ...]], int] = {}
        self._tag_values: dict[tuple[UUID, str], set[str]] = {}
        self.bounds = NameBounds()

    # ------------------------------------------------------------------ organisations
    def org(self, org_id: UUID) -> OrgEntry:
        """The organisation's entry; its time zone and retention at most 30 seconds old."""
        entry = self._orgs.get(org_id)
        if entry is not None and clock.now() - entry.checked_at < _ORG_MAX_AGE:
            return entry
        with system_scope("the drain reads time zone and retention"):
            info = accounts.org_find(org_id)
            shorter = projects.raw_retention_of_projects(org_id)
        zone = info.timezone if info else "UTC"
        retention = info.raw_retention_days if info else DEFAULT_RETENTION_DAYS
        own: dict[bytes | None, int] = {key.bytes: days for key, days in shorter.items() if days < retention}
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO usage_org (org_id, salt, timezone) VALUES (%s, %s, %s)"
                " ON CONFLICT (org_id) DO UPDATE SET timezone = EXCLUDED.timezone RETURNING id, salt",
                [org_id, os.urandom(16), zone],
            )
            number, salt = cursor.fetchone()
        k1, k2 = salt_words(bytes(salt))
        entry = OrgEntry(number, org_id, k1, k2, bytes(salt), zone, retention, own, clock.now())
        self._orgs[org_id] = entry
        return entry

    # ------------------------------------------------------------------ who
    def whos(self, wanted: Sequence[tuple[OrgEntry, list[WhoKey]]]) -> list[list[int]]:
        """The numbers of each frame's whos."""
        rows: list[list[WhoRow]] = []
        for org, keys in wanted:
            rows.append([(org.id, *key[:4], self._tagset(org, key[4])) for key in keys])
        self._ensure(self._whos, (row for frame in rows for row in frame), self._make_whos)
        return [[self._whos[row] for row in frame] for frame in rows]

    def _make_whos(self, missing: list[WhoRow]) -> None:
        missing.sort(key=repr)
        columns: list[list[Any]] = [[row[0] for row in missing]]
        columns += [[UUID(bytes=row[i]) if row[i] else None for row in missing] for i in range(1, 5)]  # type: ignore[arg-type]
        columns.append([row[5] for row in missing])
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO usage_who (org, project_id, team_id, person_id, key_id, tagset)"
                " SELECT * FROM unnest(%s::integer[], %s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::integer[])"
                " ON CONFLICT (org, project_id, team_id, person_id, key_id, tagset) DO UPDATE SET org = EXCLUDED.org"
                " RETURNING id, org, project_id, team_id, person_id, key_id, tagset",
                columns,
            )
            for number, org, *ids, tagset in cursor.fetchall():
                row: WhoRow = (org, *(i.bytes if i else None for i in ids), tagset)
                self._whos[row] = number
                self.who_keys[number] = row

    # ------------------------------------------------------------------ what
    def whats(self, wanted: Sequence[list[WhatKey]]) -> list[list[int]]:
        """The numbers of each frame's whats."""
        frames = [[tuple(key) for key in keys] for keys in wanted]
        self._ensure(self._whats, (key for frame in frames for key in frame), self._make_whats)
        return [[self._whats[key] for key in frame] for frame in frames]  # type: ignore[index]

    def _make_whats(self, missing: list[WhatKey]) -> None:
        # In one order everywhere: several shards may make the same rows, each locking them as it goes.
        missing.sort()
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO usage_what (event_type, model, service_tier, batch, geo, speed, context_band, mcp_server,"
                " mcp_tool, source, status) SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::boolean[],"
                " %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])"
                " ON CONFLICT (event_type, model, service_tier, batch, geo, speed, context_band, mcp_server, mcp_tool,"
                " source, status) DO UPDATE SET status = EXCLUDED.status RETURNING id, event_type, model, service_tier,"
                " batch, geo, speed, context_band, mcp_server, mcp_tool, source, status",
                [list(column) for column in zip(*missing, strict=True)],
            )
            for number, *key in cursor.fetchall():
                self._whats[tuple(key)] = number
                self.what_keys[number] = tuple(key)

    def _ensure(self, known: dict[Any, int], wanted: Iterable[Any], make: Callable[[list[Any]], None]) -> None:
        needed = set(wanted)
        missing = needed - known.keys()
        if not missing:
            return
        if len(known) > MAX_REMEMBERED:
            # Forgetting all is simple and rare; what this flush needs is read back at once.
            (self.who_keys if known is self._whos else self.what_keys).clear()
            known.clear()
            missing = needed
        make(list(missing))

    # ------------------------------------------------------------------ tags
    def _tagset(self, org: OrgEntry, tags: Any) -> int | None:
        if not tags:
            return None
        bounded = tuple((key, self._bounded(org, key, value)) for key, value in tags)
        found = self._tagsets.get((org.id, bounded))
        if found is None:
            with connection.cursor() as cursor:
                cursor.execute(
                    "INSERT INTO usage_tagset (org, tags) VALUES (%s, %s::jsonb)"
                    " ON CONFLICT (org, tags) DO UPDATE SET org = EXCLUDED.org RETURNING id",
                    [org.id, msgspec.json.encode(dict(bounded)).decode()],
                )
                found = self._tagsets[(org.id, bounded)] = cursor.fetchone()[0]
        return found

    def _bounded(self, org: OrgEntry, key: str, value: str) -> str:
        """The value while the key has fewer than 1,000, then ``other``."""
        values = self._tag_values.get((org.org_id, key))
        if values is None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT value FROM usage_tag_value WHERE org_id = %s AND key = %s", [org.org_id, key])
                values = self._tag_values[(org.org_id, key)] = {row[0] for row in cursor.fetchall()}
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
        return value
