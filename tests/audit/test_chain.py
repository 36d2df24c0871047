"""The sealer and what a verification finds. Entries must be committed here: only those are sealed."""

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from apps.audit import chain as chain_module
from apps.audit.chain import genesis, link, seal, seal_all
from apps.audit.services import let_go, maintain, note_verification, record, rotate_sealing_key, set_retention
from apps.core import clock
from apps.core.errors import ValidationFailed
from apps.core.ids import uuid7
from apps.core.partitions import ensure_partitions
from tests.audit.chains import ACTION, chain, entry, query, tampered, verified
from tests.cast import published, trail

pytestmark = pytest.mark.django_db(transaction=True)


def places(org_id) -> list[tuple]:
    return query("SELECT position, entry_id, digest, chain FROM audit_seal WHERE chain_id = %s ORDER BY 1", org_id)


def test_committed_entries_get_a_place_each_in_order() -> None:
    org_id, ids = chain(4)
    found = places(org_id)
    assert [(row[0], row[1]) for row in found] == list(enumerate(ids, start=1))
    previous = genesis(org_id)
    for row in found:
        assert bytes(row[3]) == link(previous, bytes(row[2]))
        previous = bytes(row[3])


def test_each_organisation_has_a_chain_of_its_own() -> None:
    one, _ = chain(2)
    other, _ = chain(3)
    assert (len(places(one)), len(places(other))) == (2, 3)
    assert verified(one).entries == 2


def test_what_belongs_to_no_organisation_has_a_chain_too() -> None:
    entry_id = entry(None)
    seal_all()
    assert query("SELECT chain_id FROM audit_seal WHERE entry_id = %s", entry_id) == [(chain_module.NO_ORG,)]


def test_an_entry_that_was_rolled_back_leaves_no_gap() -> None:
    org_id = uuid7()
    entry(org_id)
    with transaction.atomic():
        record(action=ACTION, org_id=org_id, target_type="test", target_id="gone")
        transaction.set_rollback(True)
    entry(org_id)
    seal_all()
    assert [row[0] for row in places(org_id)] == [1, 2]
    assert verified(org_id).is_whole


def test_a_transaction_that_commits_late_is_not_passed_over() -> None:
    """It began first and has the lower numbers: what came after it waits, and none is lost."""
    org_id, began, end = uuid7(), threading.Event(), threading.Event()

    def late() -> None:
        with transaction.atomic():
            record(action=ACTION, org_id=org_id, target_type="test", target_id="late")
            connection.cursor().close()  # whatever waits for the next statement takes its number now
            began.set()
            end.wait(20)
        connection.close()

    thread = threading.Thread(target=late)
    thread.start()
    began.wait(20)
    entry(org_id, target_id="early")
    seal_all()
    assert places(org_id) == []
    end.set()
    thread.join()
    seal_all()
    assert len(places(org_id)) == 2
    assert verified(org_id).is_whole


def test_only_one_seals_at_a_time() -> None:
    org_id = uuid7()
    entry(org_id)
    holds, end = threading.Event(), threading.Event()

    def other() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('audit.sealer', 0))")
            holds.set()
            end.wait(20)
        connection.close()

    thread = threading.Thread(target=other)
    thread.start()
    holds.wait(20)
    assert seal() == 0
    end.set()
    thread.join()
    assert seal_all() >= 1
    assert len(places(org_id)) == 1


def test_batches_join_and_nothing_is_sealed_twice() -> None:
    org_id = uuid7()
    for _ in range(7):
        entry(org_id)
    while seal(batch=3):
        pass
    assert [row[0] for row in places(org_id)] == list(range(1, 8))
    assert verified(org_id).is_whole


def test_a_sealer_that_is_killed_is_followed_by_another(tmp_path) -> None:
    """Killed in the midst of its transaction, again and again; what it had is sealed once, by the next."""
    org_id = uuid7()
    for _ in range(30):
        entry(org_id)
    script = (
        "import django, os, time; django.setup();"
        "from apps.audit import chain; write = chain._write\n"
        "def slow(cursor, heads):\n    write(cursor, heads); print('in it', flush=True); time.sleep(60)\n"
        "chain._write = slow; chain.seal(batch=10)"
    )
    environment = {**os.environ, "DATABASE_URL": _url()}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == b"in it\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    while not seal_all():
        pass
    assert [row[0] for row in places(org_id)] == list(range(1, 31))
    assert verified(org_id).is_whole


def _url() -> str:
    """The database of the tests, as a process of its own finds it."""
    from urllib.parse import urlsplit, urlunsplit

    parts = urlsplit(os.environ["DATABASE_URL"])
    return urlunsplit(parts._replace(path=f"/{connection.settings_dict['NAME']}"))


def test_after_a_restore_into_a_younger_server_sealing_goes_on() -> None:
    """There transactions are numbered anew, from less than the cursor stands at."""
    org_id, _ = chain(2)
    entry(org_id)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE audit_sealer SET xid = '999999999', seq = 5")
    entry(org_id)
    seal_all()
    assert len(places(org_id)) == 4
    assert query("SELECT xid < '999999999' FROM audit_sealer") == [(True,)]
    entry(org_id)
    seal_all()
    assert len(places(org_id)) == 5
    assert verified(org_id).is_whole


@pytest.mark.parametrize("table", ["audit_seal", "audit_checkpoint"])
@pytest.mark.parametrize("change", ["UPDATE {} SET position = 9", "DELETE FROM {}", "TRUNCATE {}"])
def test_the_database_refuses_to_change_the_chain(table, change) -> None:
    org_id, _ = chain(1)
    with pytest.raises(DatabaseError, match="only grows"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(change.format(table))
    assert verified(org_id).is_whole


# ---------------------------------------------------------------- checkpoints and keys
def test_checkpoints_are_signed_by_number_and_by_time(monkeypatch) -> None:
    monkeypatch.setattr(chain_module, "CHECKPOINT_ENTRIES", 3)
    org_id, _ = chain(1)
    for _ in range(3):
        entry(org_id)
    seal_all()
    with clock.freeze(clock.now() + timedelta(hours=2)):
        entry(org_id)
        seal_all()
    marks = query("SELECT position FROM audit_checkpoint WHERE chain_id = %s ORDER BY 1", org_id)
    assert marks == [(1,), (4,), (5,)]
    assert verified(org_id).checkpoints == 3


def test_a_new_key_signs_and_the_old_ones_still_verify() -> None:
    org_id, _ = chain(1)
    (before,) = query("SELECT key_id FROM audit_chain WHERE chain_id = %s", org_id)
    rotate_sealing_key()
    entry(org_id)
    seal_all()
    (after,) = query("SELECT key_id FROM audit_chain WHERE chain_id = %s", org_id)
    assert before != after
    assert verified(org_id).is_whole


# ---------------------------------------------------------------- what a hand inside the database leaves behind
ENTRY, PLACE = "WHERE id = %(third)s", "WHERE chain_id = %(org)s AND position = 3"
FORGED = (
    "INSERT INTO audit_seal SELECT chain_id, 99, uuidv7(), occurred_at, sha256('x'), sha256('y') FROM audit_seal"
    " WHERE chain_id = %(org)s AND position = 3"
)
TAMPERING = {
    "an act is renamed": (["UPDATE audit_entry SET action = 'x' " + ENTRY], "altered", 3),
    "an actor is exchanged": (["UPDATE audit_entry SET actor_id = uuidv7() " + ENTRY], "altered", 3),
    "a time is moved": (["UPDATE audit_entry SET correlation_id = 'other' " + ENTRY], "altered", 3),
    "a sealed value is exchanged": (
        ["UPDATE audit_entry SET sealed = jsonb_set(sealed, '{0,box}', sealed #> '{1,box}') " + ENTRY], "altered", 3),
    "its digest is": (
        ["UPDATE audit_entry SET sealed = jsonb_set(sealed, '{0,sum}', '\"00\"') " + ENTRY], "altered", 3),
    "an entry and its digest are": (
        ["UPDATE audit_entry SET action = 'x' " + ENTRY, "UPDATE audit_seal SET digest = sha256('x') " + PLACE],
        "altered", 3),
    "an entry is deleted": (["DELETE FROM audit_entry " + ENTRY], "missing", 3),
    "an entry is deleted with its place": (
        ["DELETE FROM audit_entry " + ENTRY, "DELETE FROM audit_seal " + PLACE], "missing", 3),
    "two entries are exchanged": (
        ["UPDATE audit_seal SET position = 7 - position WHERE chain_id = %(org)s AND position IN (3, 4)"],
        "reordered", 3),
    "a place is put in": (
        ["UPDATE audit_seal SET position = position + 1 WHERE chain_id = %(org)s AND position >= 3",
         FORGED.replace("position = 3", "position = 4").replace("99", "3")], "inserted", 3),
    "an entry is put in that nobody sealed": (
        ["INSERT INTO audit_entry SELECT (jsonb_populate_record(e, jsonb_build_object('id', uuidv7()))).*"
         " FROM audit_entry e " + ENTRY], "inserted", None),
    "the end is cut off": (
        ["DELETE FROM audit_seal WHERE chain_id = %(org)s AND position >= 4",
         "DELETE FROM audit_entry WHERE id IN (%(fourth)s, %(fifth)s)"], "missing", 4),
    "the end is cut off and the head put back": (
        ["DELETE FROM audit_seal WHERE chain_id = %(org)s AND position >= 4",
         "DELETE FROM audit_entry WHERE id IN (%(fourth)s, %(fifth)s)",
         "UPDATE audit_chain SET position = 3, digest = (SELECT chain FROM audit_seal WHERE chain_id = %(org)s"
         " AND position = 3) WHERE chain_id = %(org)s"], "bad_signature", 3),
    "a checkpoint is forged": (
        ["UPDATE audit_checkpoint SET signature = sha256('x') WHERE chain_id = %(org)s"], "bad_signature", 1),
    "the head is forged": (["UPDATE audit_chain SET signature = sha256('x') WHERE chain_id = %(org)s"],
                           "bad_signature", 5),
}  # fmt: skip


@pytest.mark.parametrize("case", TAMPERING)
def test_tampering_is_found_and_named(case) -> None:
    org_id = uuid7()
    ids = [entry(org_id)]
    seal_all()
    ids += [entry(org_id, target_id=f"t-{number}", after={"n": number}) for number in range(4)]
    seal_all()
    assert verified(org_id).is_whole
    statements, reason, position = TAMPERING[case]
    with tampered(*statements, org=org_id, third=ids[2], fourth=ids[3], fifth=ids[4]):
        found = verified(org_id).broken
    assert found is not None
    assert (found.reason, found.position) == (reason, position)
    assert verified(org_id).is_whole, "the test did not clean up"


def test_a_chain_that_is_written_anew_does_not_fit_what_was_signed() -> None:
    """Whoever recomputes every digest behind an altered entry lacks the key."""
    org_id, ids = chain(5)
    entry(org_id)
    with clock.freeze(clock.now() + timedelta(hours=2)):
        entry(org_id)
        seal_all()
    previous = genesis(org_id)
    updates = []
    for position, _, digest, _ in places(org_id):
        forged = b"\x00" * 32 if position == 2 else bytes(digest)
        previous = link(previous, forged)
        updates.append(
            f"UPDATE audit_seal SET digest = '\\x{forged.hex()}', chain = '\\x{previous.hex()}'"
            f" WHERE chain_id = %(org)s AND position = {position}"
        )
    with tampered("UPDATE audit_entry SET action = 'x' WHERE id = %(second)s", *updates, org=org_id, second=ids[1]):
        found = verified(org_id).broken
    assert found is not None
    assert found.reason == "altered"


def test_a_verification_goes_on_where_its_time_was_up(monkeypatch) -> None:
    monkeypatch.setattr("apps.audit.verify._BATCH", 2)
    org_id, _ = chain(5)
    first = verified(org_id, seconds=0)
    assert (first.entries, first.complete) == (2, False)
    second = verified(org_id, cursor=first.next, seconds=0)
    assert (second.from_position, second.position) == (3, 4)
    last = verified(org_id, cursor=second.next)
    assert (last.position, last.complete, last.is_whole) == (5, True, True)


def test_a_period_begins_at_the_checkpoint_before_it() -> None:
    org_id, _ = chain(3)
    with clock.freeze(clock.now() + timedelta(hours=2)):
        entry(org_id)
        seal_all()
        found = verified(org_id, since=clock.now() - timedelta(hours=1))
    assert (found.from_position, found.position, found.is_whole) == (4, 4, True)


def test_the_command_names_the_first_broken_entry_and_fails() -> None:
    org_id, ids = chain(3)
    out = StringIO()
    call_command("audit_verify", "--org", str(org_id), stdout=out)
    assert "whole, 1 to 3" in out.getvalue()
    with (
        tampered("UPDATE audit_entry SET action = 'x' WHERE id = %(second)s", second=ids[1]),
        pytest.raises(CommandError),
    ):
        call_command("audit_verify", "--org", str(org_id), stdout=out)
    assert f"BROKEN at position 2, entry {ids[1]}: altered" in out.getvalue()


def test_a_broken_chain_is_told_once() -> None:
    org_id, ids = chain(2)
    with tampered("UPDATE audit_entry SET action = 'x' WHERE id = %(first)s", first=ids[0]):
        for _ in range(2):
            note_verification(verified(org_id))
        (told,) = [data for data in published("audit.chain_broken") if data["chain_id"] == str(org_id)]
        assert query("SELECT broken ->> 'reason' FROM audit_chain WHERE chain_id = %s", org_id) == [("altered",)]
    assert (told["position"], told["reason"]) == (1, "altered")


# ---------------------------------------------------------------- retention
def months(first: datetime) -> None:
    for table in ("audit_entry", "audit_seal"):
        ensure_partitions(table, period="month", first=first.date(), ahead=2)


def test_after_retention_the_chain_verifies_from_the_oldest_kept_checkpoint(settings) -> None:
    settings.AUDIT_RETENTION_DAYS = 90
    org_id, old, new = uuid7(), datetime(2031, 1, 20, tzinfo=UTC), datetime(2031, 2, 3, tzinfo=UTC)
    months(old)
    for moment in (old, old, new):
        with clock.freeze(moment):
            entry(org_id)
    seal_all()
    with clock.freeze(datetime(2031, 5, 5, tzinfo=UTC)), transaction.atomic():
        dropped = maintain()["dropped"]
        assert {"audit_entry_p203101", "audit_seal_p203101"} <= set(dropped)
        assert [row[0] for row in places(org_id)] == [3]
        found = verified(org_id)
        assert (found.from_position, found.position, found.is_whole) == (3, 3, True)
        transaction.set_rollback(True)


def test_a_month_with_entries_that_are_not_sealed_yet_is_kept(settings) -> None:
    settings.AUDIT_RETENTION_DAYS = 90
    months(datetime(2032, 1, 20, tzinfo=UTC))
    with clock.freeze(datetime(2032, 1, 20, tzinfo=UTC)):
        entry(uuid7())
    with clock.freeze(datetime(2032, 5, 5, tzinfo=UTC)), transaction.atomic():
        assert "audit_entry_p203201" not in maintain()["dropped"]
        transaction.set_rollback(True)


def test_an_organisation_keeps_less_and_its_chain_verifies_from_what_is_kept() -> None:
    org_id, other = uuid7(), uuid7()
    today = clock.now()
    for org, days in ((org_id, 200), (org_id, 130), (other, 200), (org_id, 5)):
        with clock.freeze(today - timedelta(days=days)):
            entry(org)
    seal_all()
    set_retention(org_id=org_id, days=120)
    seal_all()
    assert let_go(batch=1) == {"entries": 2, "organisations": 1}
    assert [row[0] for row in places(org_id)] == [3, 4]
    (gone,) = trail("audit.entries_deleted", org_id=org_id)
    assert gone.changes == {"entries": [None, 2], "up_to_position": [None, 2]}
    assert [row[0] for row in places(other)] == [1], "another's stays"
    found = verified(org_id)
    assert (found.from_position, found.position, found.is_whole) == (3, 4, True)
    assert let_go() == {"entries": 0, "organisations": 0}
    (told,) = trail("audit.retention_changed", org_id=org_id)
    assert told.changes == {"days": [400, 120]}
    with tampered("DELETE FROM audit_seal WHERE chain_id = %(org)s AND position = 3", org=org_id):
        assert not verified(org_id).is_whole, "what goes beyond what was signed is found"


def test_the_database_lets_nothing_go_that_is_not_over_and_signed_for() -> None:
    org_id = uuid7()
    for days in (200, 5):
        with clock.freeze(clock.now() - timedelta(days=days)):
            entry(org_id)
    seal_all()

    def refused(statement: str) -> bool:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement, [org_id])
        except DatabaseError as error:
            return "only grows" in str(error)
        return False

    entries, seals = "DELETE FROM audit_entry WHERE org_id = %s", "DELETE FROM audit_seal WHERE chain_id = %s"
    assert refused(entries)
    assert refused(seals)
    set_retention(org_id=org_id, days=120)
    assert refused(f"{entries} AND occurred_at < now() - interval '150 days'"), "no checkpoint was signed"
    seal_all()
    assert let_go()["entries"] == 1
    assert refused(entries), "what is not over stays"
    assert refused(seals)
    assert query("SELECT count(*) FROM audit_entry WHERE org_id = %s", org_id) == [(3,)], "and what was changed"


@pytest.mark.parametrize("days", [89, 401])
def test_nobody_keeps_it_shorter_than_the_least_or_longer_than_the_system(days) -> None:
    org_id = uuid7()
    with pytest.raises(ValidationFailed):
        set_retention(org_id=org_id, days=days)
    assert query("SELECT count(*) FROM audit_retention WHERE org_id = %s", org_id) == [(0,)]
    assert trail("audit.retention_changed", org_id=org_id) == []
