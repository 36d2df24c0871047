"""An organisation with people, teams, a project and keys; events to send."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from apps.accounts.models import Membership, Organization
from apps.core.crypto import token_digest
from apps.core.tenancy import system_scope
from apps.projects.contracts import KeyContext
from apps.projects.models import ApiKey, Project
from apps.projects.selectors import KEY_PURPOSE, forget_keys
from apps.projects.tokens import display_prefix, new_key
from apps.usage.chunks import at_micros, read_chunks
from apps.usage.contracts import EventIn
from apps.usage.drain.shard import drain_now
from apps.usage.ingest.attribution import forget_directories
from apps.usage.ingest.inbox import gauge
from apps.usage.pricing.book import forget_book
from tests.emptying import empty_engine


@dataclass(frozen=True)
class World:
    """Acme, with Alice and Bob; a project and its key."""

    org_id: UUID
    project_id: UUID
    alice: UUID
    bob: UUID
    token: str
    key: KeyContext

    def key_with(self, **changes: Any) -> KeyContext:
        return replace(self.key, **changes)


def make_world(slug: str = "acme", **key_options: Any) -> World:
    """A new organisation; ``key_options`` are fields of its key."""
    forget_keys()
    forget_directories()
    users = get_user_model()
    with system_scope("test"):
        org = Organization.objects.create(name=slug.title(), slug=slug)
        people = [
            users.objects.create(email=f"{name}@{slug}.test", name=name.title(), email_verified_at=datetime.now(UTC))
            for name in ("alice", "bob")
        ]
        for person in people:
            Membership.objects.create(org=org, user=person, role="developer")
        project = Project.objects.create(org=org, name="Main", slug="main")
        token = new_key()
        options = {"scopes": ["ingest"], "rate_limit_per_minute": 0, **key_options}
        row = ApiKey.objects.create(
            org=org, project=project, name="test", prefix=display_prefix(token),
            digest=token_digest(token, KEY_PURPOSE), **options,
        )  # fmt: skip
    key = KeyContext(
        key_id=row.pk, org_id=org.pk, project_id=project.pk, name="test", prefix=row.prefix,
        scopes=frozenset(row.scopes), owner_id=row.owner_id, team_id=row.team_id, project_team_id=None,
        rate_limit_per_minute=row.rate_limit_per_minute, unlimited=True,
    )  # fmt: skip
    return World(org.pk, project.pk, people[0].pk, people[1].pk, token, key)


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.fixture(autouse=True)
def _fresh_caches() -> Iterator[None]:
    forget_keys()
    forget_directories()
    forget_book()
    gauge.reset()
    yield
    gauge.reset()


@pytest.fixture
def committed(transactional_db: None) -> Iterator[None]:
    """Real commits, and empty tables of the engine before and after."""
    empty_engine()
    yield
    empty_engine()


def event(**fields: Any) -> dict[str, Any]:
    """An event as a client sends it, now."""
    return {
        "event_id": str(uuid4()),
        "timestamp": moment(),
        "event_type": "api_call",
        "model": "claude-opus-5",
        "input_tokens": 100,
        "output_tokens": 10,
        "latency_ms": 250,
        **fields,
    }


def moment(**ago: float) -> str:
    """A timestamp so long ago."""
    return (datetime.now(UTC) - timedelta(**ago)).isoformat().replace("+00:00", "Z")


def typed(**fields: Any) -> EventIn:
    """The same as the services take it."""
    return EventIn(**event(**fields))


@pytest.fixture
def drain() -> Callable[[], None]:
    return drain_now


def rows(sql: str, *params: Any) -> list[tuple[Any, ...]]:
    """The answer to a query, which finds raw events as rows of ``usage_event``."""
    if "usage_event" in sql:
        _unpack_events()
    with connection.cursor() as cursor:
        cursor.execute(sql, params or None)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def value(sql: str, *params: Any) -> Any:
    return rows(sql, *params)[0][0]


def deadline(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


_EVENT = {
    "ts": "timestamptz", "cost_nano": "bigint", "reported_nano": "bigint", "session": "bigint", "event_id": "uuid",
    "who": "integer", "what": "integer", "input_tokens": "integer", "output_tokens": "integer",
    "cache_read_tokens": "integer", "cache_write_5m_tokens": "integer", "cache_write_1h_tokens": "integer",
    "web_searches": "integer", "latency_ms": "integer", "flags": "smallint", "stop_reason": "smallint",
}  # fmt: skip
_COLUMN = {
    "cost_nano": "cost", "reported_nano": "reported", "event_id": "id", "input_tokens": "input",
    "output_tokens": "output", "cache_read_tokens": "cache_read", "cache_write_5m_tokens": "write_5m",
    "cache_write_1h_tokens": "write_1h", "web_searches": "web", "latency_ms": "latency", "stop_reason": "stop",
}  # fmt: skip


def _unpack_events() -> None:
    """Make a temporary table ``usage_event`` with a row for each event in a chunk."""
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS pg_temp.usage_event")
        columns = ", ".join(f"{name} {kind}" for name, kind in _EVENT.items())
        cursor.execute(
            f"CREATE TEMP TABLE usage_event ({columns}, org integer, drop_on date, chunk text, request_id text,"
            " detail text, metadata text)"
        )
        cursor.execute("SELECT id, tableoid::regclass::text FROM usage_chunk")
        tables = dict(cursor.fetchall())
        cursor.execute("SELECT DISTINCT org FROM usage_chunk")
        found: list[list[Any]] = []
        for (org,) in cursor.fetchall():
            for chunk in read_chunks(org, limit=1_000_000):
                values = [chunk.columns[_COLUMN.get(name, name)].tolist() for name in _EVENT]
                for row, texts in zip(zip(*values, strict=True), chunk.texts(), strict=True):
                    one = dict(zip(_EVENT, row, strict=True))
                    one["ts"], one["event_id"] = at_micros(one["ts"]), UUID(bytes=bytes(one["event_id"]))
                    own = [org, chunk.drop_on, tables[chunk.id], *(text.decode() or None for text in texts)]
                    found.append([*one.values(), *own])
        with cursor.copy("COPY usage_event FROM STDIN") as copy:
            for event_row in found:
                copy.write_row(event_row)
