"""Reads of the audit log on ten million entries, and what it costs to write one.

    python -m benchmarks.audit [--entries 10000000]

Starts a PostgreSQL of its own in a temporary directory, fills thirteen months of twenty organisations with SQL, and
times the usual reads as the API makes them: the query, the keys, the opening of boxes, the rendering. The boxes of
filled entries hold noise of the usual size under keys that exist: opening them costs what opening real ones costs, and
fails. Each entry comes from an address: a third of them from the office that all share, the others from somebody's own,
of 20,000.
"""

import argparse
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

ORGS, PEOPLE, TARGETS, ADDRESSES = 20, 200, 5000, 20_000
OFFICE = "192.0.2.1"
_ACTIONS = ("project.updated", "key.created", "key.revoked", "member.added", "access.refused", "data.read")

FILL = """
INSERT INTO audit_entry (id, occurred_at, org_id, action, actor_kind, actor_id, actor_label, user_agent, correlation_id,
    target_type, target_id, target_label, changes, reason, sealed, ip_mark)
SELECT uuidv7(make_interval(secs => -age)), now() - make_interval(secs => age), org, action, 'user',
    ('00000000-0000-4000-8000-' || lpad(to_hex(person), 12, '0'))::uuid, '', '', gen_random_uuid()::text, 'project',
    ('00000000-0000-4000-9000-' || lpad(to_hex(target), 12, '0')), '', '{}', '',
    jsonb_build_array(jsonb_build_object('key', key, 'sum', md5(n::text) || md5(age::text),
        'box', encode(sha256(n::text::bytea) || sha256(age::text::bytea) || sha256(key::text::bytea), 'base64'))),
    decode(md5(org::text || ' ' || place || CASE WHEN n %% 3 = 0 THEN ' office' ELSE ' home' END), 'hex')
FROM (SELECT n, random() * 390 * 86400 AS age, keys.org_id AS org, keys.id AS key,
             %(actions)s::text[]::text[] AS actions, (%(actions)s::text[])[1 + (random() * 5)::int] AS action,
             (random() * %(people)s)::int AS person, (random() * %(targets)s)::int AS target,
             (random() * %(addresses)s)::int AS place
      FROM generate_series(1, %(count)s) AS n
      JOIN (SELECT *, row_number() OVER () - 1 AS number FROM audit_key WHERE org_id IS NOT NULL) AS keys
        ON keys.number = n %% %(orgs)s) AS made
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument("--samples", type=int, default=200)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="mwb-"))
    from apps.core.dev.servers import start_postgres, start_redis

    postgres, redis = start_postgres(root, durable=False, options={"shared_buffers": "1GB"}), start_redis(root)
    os.environ |= {
        "DATABASE_URL": postgres.url,
        "REDIS_URL": redis.url,
        "MINDWEAVE_ENV": "development",
        "MINDWEAVE_DATA_DIR": str(root / "data"),
        "DJANGO_SETTINGS_MODULE": "mindweave.settings",
    }
    try:
        _run(options.entries, options.samples)
    finally:
        for server in (redis, postgres):
            server.stop()
        shutil.rmtree(root, ignore_errors=True)


def _run(entries: int, samples: int) -> None:
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    orgs = _fill(entries)
    _writes()
    _reads(orgs, samples)


def _fill(entries: int) -> list[UUID]:
    from datetime import timedelta

    from django.db import connection

    from apps.audit.keys import Owner, key_for
    from apps.core.clock import now
    from apps.core.ids import uuid7
    from apps.core.partitions import ensure_partitions

    first = (now() - timedelta(days=400)).date()
    for table in ("audit_entry", "audit_seal"):
        ensure_partitions(table, period="month", first=first, ahead=13)
    orgs = [uuid7() for _ in range(ORGS)]
    for org in orgs:
        key_for(Owner(org))
    started, done = time.monotonic(), 0
    with connection.cursor() as cursor:  # built behind the rows, indexes take a quarter of the time
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'audit_entry' AND indexname NOT LIKE '%pkey'"
        )
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f"DROP INDEX {name}")
    while done < entries:
        count = min(500_000, entries - done)
        with connection.cursor() as cursor:
            cursor.execute(
                FILL,
                {
                    "count": count,
                    "orgs": ORGS,
                    "people": PEOPLE,
                    "targets": TARGETS,
                    "actions": list(_ACTIONS),
                    "addresses": ADDRESSES - 1,
                },
            )
        done += count
    with connection.cursor() as cursor:
        cursor.execute("SET maintenance_work_mem = '512MB'")
        for _, statement in indexes:
            cursor.execute(statement.replace(" ON ONLY ", " ON "))
        _note_addresses(cursor, orgs[0])
        cursor.execute("VACUUM ANALYZE audit_entry, audit_address")
    print(f"filled {entries:,} entries in {time.monotonic() - started:.0f} s")
    return orgs


def _home(person: int) -> str:
    return f"10.0.{person // 256}.{person % 256}"


def _note_addresses(cursor: Any, org: UUID) -> None:
    """Who was where, of one organisation: each person at home and in the office."""
    from apps.audit import keys

    own = keys._known(keys.Owner(org)).opened
    assert own is not None
    office = keys._mark(own.marker, OFFICE)
    rows = [(person, keys._mark(own.marker, _home(person)), "home") for person in range(ADDRESSES)]
    rows += [(person, office, "office") for person in range(ADDRESSES)]
    cursor.execute(
        "INSERT INTO audit_address (org_id, mark, ip_mark, key_id, seen_on)"
        " SELECT org_id, mark, decode(md5(org_id::text || ' ' || person || ' ' || place), 'hex'), id, now()::date"
        " FROM audit_key, unnest(%s::int[], %s::bytea[], %s::text[]) AS row (person, mark, place)"
        " WHERE org_id = %s AND person_id IS NULL AND subject = ''",
        [*map(list, zip(*rows, strict=True)), org],
    )


def _writes() -> None:
    from django.db import transaction

    from apps.audit.chain import seal_all
    from apps.audit.services import record
    from apps.core.context import bind
    from apps.core.contracts import Actor
    from apps.core.ids import uuid7

    org, actor = uuid7(), Actor("user", id=uuid7(), label="alice@example.com", ip="192.0.2.7", user_agent="Firefox" * 8)
    count = 2000
    with bind(actor=actor):
        for _ in range(2):
            started = time.perf_counter()
            with transaction.atomic():
                for number in range(count):
                    record(
                        action="job.enabled", org_id=org, target_type="project", target_id=str(number),
                        before={"name": "Loom"}, after={"name": "Shuttle"},
                    )  # fmt: skip
            took = time.perf_counter() - started
    print(f"record(): {took / count * 1e6:.0f} us each, in one transaction")
    started = time.perf_counter()
    from django.db import connection

    with connection.cursor() as cursor:  # what was filled is not sealed: only what was recorded here
        cursor.execute(
            "UPDATE audit_sealer SET (xid, seq) = (SELECT xid, seq - 1 FROM audit_entry WHERE org_id = %s"
            " ORDER BY xid, seq LIMIT 1)",
            [org],
        )
    sealed = seal_all()
    print(f"sealing: {(time.perf_counter() - started) / max(1, sealed) * 1e6:.0f} us each, of {sealed:,}")


def _reads(orgs: list[UUID], samples: int) -> None:
    from apps.audit.api import _entry
    from apps.audit.contracts import AuditFilter
    from apps.audit.selectors import audit_list
    from apps.core.pagination import encode_cursor, paginate
    from apps.core.tenancy import org_scope

    order = ("-occurred_at", "-id")

    def read(cursor: str = "", org: UUID | None = None, **wanted: object) -> None:
        with org_scope(org or random.choice(orgs)):
            query = {"limit": "50", **({"cursor": cursor} if cursor else {})}
            page = paginate(audit_list(AuditFilter(**wanted)), query, order=order)  # type: ignore[arg-type]
            page.body(_entry)

    def person() -> UUID:
        return UUID(f"00000000-0000-4000-8000-{random.randrange(PEOPLE):012x}")

    def deep() -> str:
        from datetime import UTC, datetime, timedelta

        moment = datetime.now(UTC) - timedelta(days=random.randrange(30, 380))
        return encode_cursor([moment, UUID(int=0)], order=order)

    reads: dict[str, Callable[[], None]] = {
        "first page": read,
        "by action": lambda: read(action=random.choice(_ACTIONS)),
        "by family": lambda: read(action="key.*"),
        "by who did it": lambda: read(actor_id=person()),
        "by what it was done to": lambda: read(
            target_type="project", target_id=f"00000000-0000-4000-9000-{random.randrange(TARGETS):012x}"
        ),
        "by request": lambda: read(correlation_id=str(UUID(int=random.getrandbits(128)))),
        "a page deep in the past": lambda: read(cursor=deep()),
        "by an address of one": lambda: read(org=orgs[0], ip=_home(random.randrange(ADDRESSES))),
        "by an address of 20,000": lambda: read(org=orgs[0], ip=OFFICE),
        "an address nobody had": lambda: read(org=orgs[0], ip="203.0.113.7"),
        "an action nobody did": lambda: read(action="price.set"),
    }
    for name, work in reads.items():
        times = []
        for _ in range(samples):
            started = time.perf_counter()
            work()
            times.append((time.perf_counter() - started) * 1000)
        times.sort()
        print(f"{name:28} p50 {times[len(times) // 2]:6.1f} ms   p95 {times[int(len(times) * 0.95)]:6.1f} ms")


if __name__ == "__main__":
    main()
