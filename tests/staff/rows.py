"""Some rows of any model, made from what the database says of its columns."""

from typing import Any
from uuid import UUID

from django.db import connection, models

from apps.usage.ingest.inbox import SLOTS

__all__ = ["ROWS", "fabricate"]

ROWS = 5
# Columns whose values a constraint of the table checks.
SPECIAL: dict[tuple[str, str], Any] = {
    ("usage_inbox", "slot"): lambda n: n % SLOTS,
    ("usage_org", "salt"): lambda n: n.to_bytes(16),
    ("audit_key", "destroyed_at"): lambda n: None,
    ("audit_retention", "days"): lambda n: 100 + n,
    ("usage_price", "valid_to"): lambda n: None,
    # What was not encrypted cannot be decrypted, and whatever is related to a connection reads it whole.
    ("sso_connection", "client_secret"): lambda n: None,
    ("sso_connection", "sp_key"): lambda n: None,
    ("sso_connection", "test_answer"): lambda n: None,
    ("sso_usedassertion", "answer"): lambda n: None,
    ("projects_projectsettings", "metadata_salt"): lambda n: None,
    ("identity_signin", "country"): lambda n: "AT",
}
# What is read through a view, and where its rows come from: lists, a row for each place.
_BEHIND = {"usage_delta": "usage_delta_pack", "usage_session_delta": "usage_session_delta_pack"}
_VALUES: dict[str, Any] = {
    "boolean": lambda n: False,
    "uuid": lambda n: UUID(int=n),
    "bytea": lambda n: n.to_bytes(32),
    "jsonb": lambda n: "{}",
    "date": lambda n: f"2026-11-{n % 28 + 1:02}",
    "timestamp with time zone": lambda n: f"2026-11-{n % 28 + 1:02}T00:00:00Z",
    "text": lambda n: f"name-{n}",
    "character varying": lambda n: f"n-{n}",
    "inet": lambda n: "192.0.2.1",
}
# Of lists of each column, by PostgreSQL's names of their types.
_ELEMENTS: dict[str, Any] = {
    "_bytea": lambda n: n.to_bytes(4),
    "_text": lambda n: str(n),
    "_timestamptz": _VALUES["timestamp with time zone"],
}


def fabricate(model: type[models.Model], start: int = 0) -> None:
    """Add :data:`ROWS` rows; foreign keys lead to rows that exist, which are made first where there are none."""
    remote = {field.column: field.related_model for field in model._meta.fields if field.is_relation}
    keys = {column: _keys(of, model, start) for column, of in remote.items()}
    keys |= {field.column: [choice[0] for choice in field.flatchoices] for field in model._meta.fields if field.choices}
    table, quote = _BEHIND.get(model._meta.db_table, model._meta.db_table), connection.ops.quote_name
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, CASE data_type WHEN 'ARRAY' THEN udt_name ELSE data_type END"
            " FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s"
            " AND is_identity = 'NO' AND is_generated = 'NEVER' AND column_default IS NULL",
            [table],
        )
        columns = dict(cursor.fetchall())
        for n in range(start + 1, start + ROWS + 1):
            values = [_value(table, name, kind, n, keys.get(name)) for name, kind in columns.items()]
            cursor.execute(
                f"INSERT INTO {table} ({', '.join(map(quote, columns))}) VALUES ({', '.join(['%s'] * len(columns))})",
                values,
            )


def _keys(of: Any, model: type[models.Model], start: int) -> list[Any]:
    if of is model:
        return [None]
    if of._base_manager.count() < start + ROWS:
        fabricate(of, start)
    return list(of._base_manager.order_by("pk").values_list("pk", flat=True))


def _value(table: str, column: str, kind: str, n: int, keys: list[Any] | None) -> Any:
    if keys is not None:
        return keys[(n - 1) % len(keys)]
    if kind.startswith("_"):
        return [_ELEMENTS.get(kind, int)(n)] if table in _BEHIND.values() else "{}"
    return SPECIAL.get((table, column), _VALUES.get(kind, int))(n)
