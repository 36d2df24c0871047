"""Lists over a million rows: nothing that staff click on counts or reads a whole table.

What the pages ask is explained by PostgreSQL, not timed: a scan of a whole table is allowed only where a LIMIT ends it
before it has looked at more than the rows it gives.
"""

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client

from tests.staff.counting import counted

TABLES = ("audit_entry", "events_outbox", "usage_session", "usage_rollup_quarter")
# Lists count up to 20,000 rows; who reads more than a few of them from one end reads the table.
AT_MOST = 60_000
STREAMS = {"Append", "Merge Append", "Subquery Scan", "Nested Loop", "Result", "Incremental Sort", "Gather"}
# One organisation in a thousand rows, one action or type in ten thousand.
SOMEBODY = UUID(int=7)
_ORG = "('00000000-0000-0000-0000-' || lpad(to_hex(n % 1000), 12, '0'))::uuid"
_SUMS = ", ".join(["1"] * 12)
FILL = (
    "INSERT INTO audit_entry (occurred_at, org_id, action, actor_kind, actor_id, actor_label, user_agent,"
    " correlation_id, target_type, target_id, target_label, changes, reason)"
    f" SELECT now() - n * interval '1 second', {_ORG}, CASE n % 10000 WHEN 0 THEN 'key.revoked' ELSE 'user.login' END,"
    f" 'user', {_ORG}, '', '', 'c-' || n, CASE n % 3 WHEN 0 THEN 'user' ELSE 'project' END, 't-' || n, '', '{{}}', ''"
    " FROM generate_series(1, 250000) AS n",
    "INSERT INTO events_outbox (event_id, topic, type, key, org_id, envelope, published_at, relayed)"
    " SELECT uuidv7(), 'audit.log', CASE n % 10000 WHEN 0 THEN 'org.deleted' ELSE 'user.login' END, 'k-' || n,"
    f" {_ORG}, '{{}}', now() - n * interval '1 second', true FROM generate_series(1, 250000) AS n",
    "INSERT INTO usage_session (id, org, session_id, who, models, started_at, last_at, events, calls, tool_calls,"
    " errors, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_nano)"
    " SELECT n, n % 1000, 's-' || n, 1, '{}', now() - n * interval '1 second', now() - n * interval '1 second',"
    " 1, 1, 0, 0, 1, 1, 0, 0, 1 FROM generate_series(1, 250000) AS n",
    "INSERT INTO usage_rollup_quarter (bucket, org, who, what, events, input_tokens, output_tokens, cache_read_tokens,"
    " cache_write_5m_tokens, cache_write_1h_tokens, web_searches, cost_nano, reported_nano, unpriced, latency_count,"
    " latency_ms, latency_hist) SELECT date_bin('15 minutes', now() - n * interval '1 minute', '2000-01-01'),"
    f" n % 1000, 1, 1, {_SUMS}, '' FROM generate_series(1, 250000) AS n",
)


@pytest.fixture(scope="module")
def _swept(django_db_setup: Any, django_db_blocker: Any) -> Iterator[None]:
    """Rows that are rolled back leave their pages behind; tests after this one shall not read through them."""
    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(f"VACUUM {', '.join(TABLES)}")


@pytest.fixture
def million(_swept: None, db: None) -> None:
    with connection.cursor() as cursor:
        # Neither keys nor triggers are asked: the rows need no organisations, and come in half the time.
        cursor.execute("SET LOCAL session_replication_role = replica")
        for statement in FILL:
            cursor.execute(statement)
        cursor.execute("SET LOCAL session_replication_role = origin")
        cursor.execute(f"ANALYZE {', '.join(TABLES)}")


def pages() -> list[str]:
    """The first page, the second, a search, each filter, and a row's own page, of each of the big lists."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM audit_entry WHERE correlation_id = 'c-77'")
        entry = cursor.fetchone()[0]
        cursor.execute("SELECT seq FROM events_outbox WHERE org_id = %s LIMIT 1", [SOMEBODY])
        event = cursor.fetchone()[0]
    day, hour = "0=2026-01-01", "1=00:00"
    seen = {
        "audit/auditentry": (
            "", "?p=2", f"?q={SOMEBODY}", "?q=t-77", "?q=c-77", "?action=key.revoked",
            f"?q={SOMEBODY}&action=key.revoked",
            f"?occurred_at_from_{day}&occurred_at_from_{hour}", f"?occurred_at_to_{day}&occurred_at_to_{hour}",
            f"{entry}/change/",
        ),
        "events/outboxevent": (
            "", "?p=2", f"?q={SOMEBODY}", "?type=org.deleted", f"?published_at_to_{day}&published_at_to_{hour}",
            f"{event}/change/",
        ),
        "usage/session": ("", "?p=2", "?org=7", "77/change/"),
        "usage/rollupquarter": ("", "?p=2", "?org=7"),
    }  # fmt: skip
    return [f"{of}/{rest}" for of, rests in seen.items() for rest in rests]


def _walks(node: dict[str, Any], limit: float | None) -> Iterator[str]:
    """Reads of a big table from one end; ``limit`` is how many rows are asked of them before they may stop."""
    kind, table = node["Node Type"], node.get("Relation Name", "")
    from_one_end = kind == "Seq Scan" or (kind in {"Index Scan", "Index Only Scan"} and "Index Cond" not in node)
    if from_one_end and table.startswith(TABLES):
        rows = _rows_of(table)
        looked_at = rows if limit is None else rows * min(1.0, limit / max(node["Plan Rows"], 1))
        if looked_at > AT_MOST:
            yield f"{kind} of {looked_at:.0f} rows of {table} {node.get('Filter', '')}"
    limit = node["Plan Rows"] if kind == "Limit" else limit if kind in STREAMS else None
    for below in node.get("Plans", ()):
        yield from _walks(below, limit)


def _rows_of(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", [table])
        return int(cursor.fetchone()[0])


def _explained(statement: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (FORMAT JSON) " + statement)
        (plans,) = cursor.fetchone()
    return list(_walks((json.loads(plans) if isinstance(plans, str) else plans)[0]["Plan"], None))


def test_long_lists_are_sorted_by_their_index_and_by_nothing_else(office: Client, db: None) -> None:
    for of in ("audit/auditentry", "events/outboxevent", "events/delivery", "usage/session", "usage/rollupquarter"):
        assert "?o=" not in office.get(f"/admin/{of}/").content.decode(), of


def test_nothing_that_staff_click_on_reads_a_whole_table(office: Client, million: None) -> None:
    found = []
    for page in pages():
        with counted() as statements:
            assert office.get(f"/admin/{page}").status_code == 200, page
        assert len(statements) < 20, page
        asked = [each for each in statements if re.search(rf"FROM \"?({'|'.join(TABLES)})\b", each)]
        assert asked, page
        found += [f"{page}: {scan}\n    {each[:300]}" for each in asked for scan in _explained(each)]
    assert found == [], "\n".join(found)
