"""Emptying tables after tests with real commits.

Django's own way, ``flush``, truncates every table, which makes a new file for each of them and of their indexes, and
then makes the content types and permissions anew: half a second, of which there is not one row in most tables.
"""

from django.db import connection

__all__ = ["empty_all", "empty_engine", "forgotten_tables", "prepare_emptying"]

# The same for all tests, as the migrations left them.
_KEPT = {"django_content_type", "auth_permission"}
# What counting writes, which Django's own way knows nothing of.
_ENGINE = (
    "usage_inbox", "usage_chunk", "usage_hint", "usage_unhinted", "usage_delta_pack", "usage_rollup_minute",
    "usage_rollup_quarter", "usage_rollup_day", "usage_rollup_day_who", "usage_rollup_day_what", "usage_session",
    "usage_session_part", "usage_session_delta_pack", "usage_id_segment", "usage_who", "usage_what", "usage_tagset",
    "usage_tag_key", "usage_tag_value", "usage_person", "usage_org", "usage_name", "usage_summary", "usage_shard",
    "usage_stall", "usage_day_tally", "usage_set_aside", "usage_drain_start", "usage_drain_trial", "usage_upkeep",
    "usage_reprice",
)  # fmt: skip


# Of all of the database rather than of a test: the trail and its keys, which refuse to be deleted from, versions.
_OF_ALL = {
    "audit_address", "audit_chain", "audit_checkpoint", "audit_entry", "audit_key", "audit_seal", "audit_sealer",
    "audit_signing_key", "django_migrations", "projects_key_version", "usage_hint_mark",
}  # fmt: skip


def forgotten_tables() -> set[str]:
    """Tables that no emptying empties and that are not meant to stay: what a test leaves there, another one finds."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition"
        )
        tables = {row[0] for row in cursor.fetchall()}
    models = connection.introspection.django_table_names(only_existing=True, include_views=False)
    return tables - {*models, *_ENGINE, *_OF_ALL, *_KEPT}


def prepare_emptying() -> None:
    """Make the functions that delete all rows of many tables, in one round trip."""
    models = set(connection.introspection.django_table_names(only_existing=True, include_views=False))
    with connection.cursor() as cursor:
        for name, tables in (("all", sorted(models - _KEPT)), ("engine", _ENGINE)):
            deletes = " ".join(f'DELETE FROM "{table}";' for table in tables)
            # Neither keys nor triggers are asked, so the order is any, and what counts changes counts none.
            cursor.execute(
                f"CREATE OR REPLACE FUNCTION tests_empty_{name}() RETURNS void LANGUAGE plpgsql"
                f" SET session_replication_role = replica AS $$ BEGIN {deletes} END $$"
            )


def empty_all() -> None:
    """All tables of models, as ``flush`` does, but for what Django makes of the models themselves."""
    _call("all")


def empty_engine() -> None:
    """The tables that counting writes."""
    _call("engine")


def _call(name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT tests_empty_{name}()")
