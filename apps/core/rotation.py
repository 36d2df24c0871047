"""Secrets under the current key: what ``manage.py rotate_field_keys`` does before an old key is taken away."""

from collections.abc import Callable

from django.apps import apps
from django.db import connection, transaction

from apps.core.crypto import EncryptedTextField, rotate

__all__ = ["register_rotation", "rotate_all"]

_BATCH = 500
_others: dict[str, Callable[[], int]] = {}


def register_rotation(name: str, rotate_rows: Callable[[], int]) -> None:
    """For secrets that are not in an encrypted field: ``rotate_rows`` reseals them and returns how many there were."""
    _others[name] = rotate_rows


def rotate_all() -> dict[str, int]:
    """Reseal every stored secret; returns how many, by column. Safe beside running processes, and to repeat.

    Raises :class:`~apps.core.crypto.DecryptionError` at the first one that no configured key opens.
    """
    done = {"core_idempotencyrecord.answer": _rotate_column("core_idempotencyrecord", "id", "answer")}
    for model in apps.get_models():
        if not model._meta.managed or model._meta.proxy:
            continue
        for field in model._meta.local_concrete_fields:
            if isinstance(field, EncryptedTextField):
                table, key, column = model._meta.db_table, str(model._meta.pk.column), str(field.column)
                done[f"{table}.{column}"] = _rotate_column(table, key, column)
    for name, rotate_rows in _others.items():
        done[name] = rotate_rows()
    return done


def _rotate_column(table: str, key: str, column: str) -> int:
    """Reseal a column in batches, each its own transaction; past the ORM, which would open the secrets to do it."""
    quoted, pk, col = (connection.ops.quote_name(name) for name in (table, key, column))
    read = f"SELECT {pk}, {col} FROM {quoted} WHERE {col} IS NOT NULL {{after}} ORDER BY {pk} LIMIT {_BATCH} FOR UPDATE"  # noqa: S608 - names of our own models
    write = f"UPDATE {quoted} SET {col} = %s WHERE {pk} = %s"  # noqa: S608 - the same
    total, last = 0, None
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(read.format(after="" if last is None else f"AND {pk} > %s"), [] if last is None else [last])
            rows = cursor.fetchall()
            if not rows:
                return total
            cursor.executemany(write, [(rotate(bytes(sealed)), row_id) for row_id, sealed in rows])
        total, last = total + len(rows), rows[-1][0]
