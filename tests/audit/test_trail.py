from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from apps.audit import registry
from apps.audit.diff import REDACTED, changes, clean
from apps.audit.models import AuditEntry
from apps.audit.registry import register_action
from apps.audit.services import AuditError, maintain, record
from apps.core import clock
from apps.core.context import bind
from apps.core.contracts import Actor
from apps.core.ids import uuid7
from apps.core.partitions import list_partitions
from apps.core.tenancy import TenancyError, in_system_scope, org_scope, system_scope

ACTION = "bus.subscription_paused"  # any registered one


def entries(**wanted) -> list[AuditEntry]:
    with system_scope("the test looks at all"):
        return list(AuditEntry.objects.filter(**wanted).order_by("occurred_at", "id"))


def record_one(**more):
    return record(**{"action": ACTION, "org_id": None, "target_type": "test", "target_id": "t-1", **more})


def test_an_entry_says_who_did_what_to_what_from_where(db) -> None:
    org_id, person, staff = uuid7(), uuid7(), uuid7()
    actor = Actor(
        kind="user", id=person, label="alice@example.com", ip="192.0.2.7", user_agent="Firefox", impersonator_id=staff
    )
    with bind(correlation_id="c-1", actor=actor):
        entry_id = record_one(
            org_id=org_id, target_label="The test", before={"a": 1, "b": 2}, after={"a": 1, "b": 3}, reason="asked to"
        )
    [entry] = entries(pk=entry_id)
    assert (entry.org_id, entry.action, entry.actor_kind, entry.actor_id) == (org_id, ACTION, "user", person)
    assert (entry.actor_label, entry.impersonator_id) == ("alice@example.com", staff)
    assert (entry.ip, entry.user_agent, entry.correlation_id) == ("192.0.2.7", "Firefox", "c-1")
    assert (entry.target_type, entry.target_id, entry.target_label) == ("test", "t-1", "The test")
    assert (entry.changes, entry.reason) == ({"b": [2, 3]}, "asked to")


@pytest.mark.django_db(transaction=True)
def test_an_entry_stands_or_falls_with_the_write_it_tells_of() -> None:
    target = str(uuid7())
    with transaction.atomic():
        record_one(target_id=target)
        transaction.set_rollback(True)
    assert entries(target_id=target) == []
    with pytest.raises(AuditError, match="transaction"):
        record_one(target_id=target)
    assert entries(target_id=target) == []


def test_an_unregistered_action_is_refused(db) -> None:
    with pytest.raises(AuditError, match=r"'no\.such'"):
        record_one(action="no.such")


def test_an_action_keeps_its_meaning() -> None:
    register_action(ACTION, registry.actions()[ACTION])
    with pytest.raises(ValueError, match="registered already"):
        register_action(ACTION, "Something else")


def test_an_entry_of_another_organisation_than_the_scopes_is_refused(db) -> None:
    with org_scope(uuid7()), pytest.raises(TenancyError):
        record_one(org_id=uuid7())


def test_an_entry_of_no_organisation_stays_so_inside_a_scope_and_the_scope_stays_too(db) -> None:
    with org_scope(uuid7()):
        entry_id = record_one(org_id=None)
        assert not in_system_scope()
    assert entries(pk=entry_id)[0].org_id is None


def test_an_organisation_sees_its_own_entries_only(db) -> None:
    ours, theirs = uuid7(), uuid7()
    for org_id in (ours, theirs, None):
        record_one(org_id=org_id)
    with org_scope(ours):
        assert [entry.org_id for entry in AuditEntry.objects.all()] == [ours]
    with pytest.raises(TenancyError):
        list(AuditEntry.objects.all())


# ---------------------------------------------------------------- the database refuses
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET reason = 'x'",
        "DELETE FROM audit_entry",
        "TRUNCATE audit_entry",
        "UPDATE {partition} SET reason = 'x'",
        "DELETE FROM {partition}",
        "TRUNCATE {partition}",
        "UPDATE audit_entry_default SET reason = 'x'",
        "TRUNCATE audit_entry_default",
    ],
)
def test_the_database_refuses_to_change_or_remove_an_entry(db, statement) -> None:
    maintain()
    entry_id = record_one()
    with clock.freeze(datetime(1999, 1, 1, tzinfo=UTC)):
        record_one()  # lands in the default partition
    partition = next(each.name for each in list_partitions("audit_entry") if each.start <= clock.now() < each.end)
    with pytest.raises(DatabaseError, match="only grows"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement.format(partition=partition))
    assert entries(pk=entry_id)


def test_a_partition_made_later_refuses_as_well(db) -> None:
    with clock.freeze(datetime(2041, 6, 15, tzinfo=UTC)):
        assert len(maintain()["made"]) == 26, "of the entries and of their seals"
        assert maintain()["made"] == []
        record_one()
    with pytest.raises(DatabaseError, match="only grows"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("TRUNCATE audit_entry_p204106")


def test_entries_are_numbered_and_know_their_transaction(db) -> None:
    """What a sealer needs to tell up to where nothing more will come."""
    record_one()
    record_one()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq, xid = pg_current_xact_id() FROM audit_entry WHERE xid = pg_current_xact_id() ORDER BY seq"
        )
        (first, ours), (second, also_ours) = cursor.fetchall()
    assert second > first
    assert ours
    assert also_ours


# ---------------------------------------------------------------- what changed
def test_only_what_differs_is_kept() -> None:
    assert changes({"a": 1, "b": [1], "gone": 1}, {"a": 1, "b": [2], "new": None}) == {
        "b": [[1], [2]],
        "gone": [1, None],
    }
    assert changes(None, {"name": "x"}) == {"name": [None, "x"]}
    assert changes(None, None) == {}


def test_values_are_kept_as_json_has_them() -> None:
    id_ = uuid7()
    kept = clean({"id": id_, "at": datetime(2026, 1, 2, tzinfo=UTC), "usd": Decimal("1.10"), "scopes": {"b", "a"}})
    assert kept == {"id": str(id_), "at": "2026-01-02T00:00:00Z", "usd": "1.10", "scopes": ["a", "b"]}


@pytest.mark.parametrize(
    "name",
    ["password", "new_password", "refreshToken", "api_key", "client-secret", "token_digest", "totp_secret", "apiKey"],
)
def test_a_secret_that_changed_is_named_and_not_told(name) -> None:
    assert changes({name: "old"}, {name: "new"}) == {name: [REDACTED, REDACTED]}
    assert changes(None, {name: "new"}) == {name: [None, REDACTED]}
    assert changes({}, {"settings": {"deep": [{name: "x"}]}}) == {
        "settings": [None, {"deep": [{name: REDACTED}]}],
    }


@pytest.mark.parametrize("name", ["author", "tokens_used", "key_id", "name", "token_prefix", "monkey", "pinned"])
def test_what_only_sounds_like_a_secret_is_told(name) -> None:
    assert changes({name: 1}, {name: 2}) == {name: [1, 2]}


def test_what_the_database_cannot_hold_does_not_keep_an_entry_from_being_written(db) -> None:
    entry_id = record_one(after={"name": "a\x00b"}, target_label="a\x00b", reason="a\x00b")
    [entry] = entries(pk=entry_id)
    assert entry.changes == {"name": [None, "a\ufffdb"]}


def test_a_key_inside_a_text_is_not_told() -> None:
    key = "mw_" + "a1B2" * 9 + "zz"
    assert clean({"note": f"use {key} here"}) == {"note": f"use {REDACTED} here"}


_text = st.text("ab1ü€ ", max_size=3)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_text, inner, max_size=2),
    max_leaves=3,
)


@given(st.dictionaries(st.sampled_from("abcd"), _json), st.dictionaries(st.sampled_from("abcd"), _json))
def test_a_field_is_listed_exactly_when_it_differs(before, after) -> None:
    assert set(changes(before, after)) == {name for name in {**before, **after} if before.get(name) != after.get(name)}
