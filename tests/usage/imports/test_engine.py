"""Imports counted: every line once, whatever ends them and however often a file comes."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg.errors
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError, connection

from apps.audit.models import AuditEntry
from apps.core import clock
from apps.core.errors import Conflict
from apps.core.tenancy import org_scope, system_scope
from apps.events.models import OutboxEvent
from apps.projects.services import revoke_api_key
from apps.scheduler.locks import HeldLocks
from apps.usage.errors import InboxFull
from apps.usage.imports import engine, job, services, store
from apps.usage.imports import lines as cutting
from apps.usage.imports.content import MalformedFile
from apps.usage.imports.finish import fail
from apps.usage.imports.under import KEY_NAME
from apps.usage.models import Import
from apps.usage.services import ingest
from tests.usage.engine.conftest import World, event, moment, rows, value
from tests.usage.imports.conftest import (
    PACKERS,
    anonymous,
    counted,
    csv_of,
    imports,
    jsonl,
    only,
    problems,
    stored,
    work,
    written,
)

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "CHUNK_RECORDS", 10)


def from_file(world: World, path: Path, **options: Any) -> Import:
    return services.import_file(
        **{"org_id": world.org_id, "project_id": world.project_id, "key_id": None, "path": path, **options}
    )


def upload(world: World, content: bytes, **options: Any) -> Import:
    name, size = store.store([content])
    return services.start_upload(
        org_id=world.org_id, project_id=world.project_id, key_id=None, stored_as=name, size=size, name="up.jsonl",
        **options,
    )  # fmt: skip


def told() -> list[dict[str, Any]]:
    with system_scope("test"):
        found = OutboxEvent.objects.filter(type="usage.import_finished").order_by("seq")
        return [envelope["data"] for envelope in found.values_list("envelope", flat=True)]


def trail(world: World) -> list[tuple[str, Any]]:
    with org_scope(world.org_id):
        found = AuditEntry.objects.filter(target_type="import").order_by("occurred_at", "id")
        return [(entry.action, entry.changes.get("state")) for entry in found]


@pytest.mark.parametrize("packed", PACKERS)
def test_a_file_of_json_lines_is_counted(world: World, tmp_path: Path, packed: str) -> None:
    row = from_file(world, written(tmp_path, PACKERS[packed](jsonl(event(input_tokens=3) for _ in range(35)))))
    assert (row.state, row.accepted, row.lines_read, row.percent) == ("completed", 35, 35, 100.0)
    assert (row.format, row.compression) == ("jsonl", "" if packed == "plain" else packed)
    assert counted() == (35, 105)


def test_a_file_of_csv_is_counted_as_what_its_header_says(world: World, tmp_path: Path) -> None:
    names = [
        "event_id", "timestamp", "event_type", "model", "input_tokens", "cache_creation.ephemeral_1h_input_tokens",
        "cost_usd", "metadata.feature", "request_id",
    ]  # fmt: skip
    lines = [[uuid4(), moment(days=n), "api_call", "claude-opus-5", n, "", "", 'a,\n"b"', ""] for n in range(25)]
    row = from_file(world, written(tmp_path, csv_of(names, *lines), "x.csv"))
    assert (row.state, row.accepted, row.rejected, row.lines_read) == ("completed", 25, 0, 51)
    assert counted() == (25, sum(range(25)))
    day = "SELECT metadata FROM usage_event LIMIT 1"
    assert json.loads(value(day)) == {"feature": 'a,\n"b"'}


def test_the_past_of_400_days_is_taken_and_what_is_older_is_refused(world: World, tmp_path: Path) -> None:
    row = from_file(
        world, written(tmp_path, jsonl([event(timestamp=moment(days=399)), event(timestamp=moment(days=401))]))
    )
    assert (row.accepted, row.rejected) == (1, 1)
    assert [(p.line, p.code, p.pointer) for p in problems(world)] == [(2, "timestamp_too_old", "/timestamp")]


def test_a_line_that_is_no_event_is_named_with_its_reason_and_costs_no_other(world: World, tmp_path: Path) -> None:
    bad = event(input_tokens=-1)
    content = b"\n".join(
        [
            jsonl([event()]).strip(), b"{nonsense", b"", json.dumps(bad).encode(), b'{"event_id": "x\\u0000"}',
            b"\xff{}", jsonl([event(surprise=1)]).strip(), jsonl([event(event_id="no id")]).strip(), b"x" * 300_000,
            jsonl([event(model="a\0b")]).strip(),
            jsonl([event(cache_creation={"ephemeral_5m_input_tokens": "1"})]).strip(),
            jsonl([event()]).strip(),
        ]
    )  # fmt: skip
    row = from_file(world, written(tmp_path, content), format="jsonl")
    assert (row.state, row.accepted, row.rejected) == ("completed", 2, 9)
    assert [(p.line, p.code, p.pointer) for p in problems(world)] == [
        (2, "malformed_json", ""), (4, "negative_number", "/input_tokens"), (5, "missing_field", "/timestamp"),
        (6, "malformed_json", ""), (7, "unknown_field", "/surprise"), (8, "invalid_id", "/event_id"),
        (9, "too_long", ""), (10, "invalid_character", "/model"),
        (11, "invalid_type", "/cache_creation/ephemeral_5m_input_tokens"),
    ]  # fmt: skip
    assert problems(world)[1].event_id == bad["event_id"]
    assert counted()[0] == 2


def test_a_row_that_is_no_event_is_named_too(world: World, tmp_path: Path) -> None:
    names = ["timestamp", "event_type", "input_tokens"]
    content = csv_of(
        names, [moment(), "api_call", 1], [moment(), "api_call"], [moment(), "party", 1], [moment(), "api_call", "1.5"]
    )
    row = from_file(world, written(tmp_path, content))
    assert (row.accepted, row.rejected) == (1, 3)
    assert [(p.line, p.code, p.pointer) for p in problems(world)] == [
        (3, "malformed_csv", ""), (4, "invalid_choice", "/event_type"), (5, "invalid_type", "/input_tokens"),
    ]  # fmt: skip


def test_refused_lines_are_kept_up_to_a_bound_and_all_counted(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "MAX_PROBLEMS", 12)
    row = from_file(world, written(tmp_path, b"{}\n" * 25))
    assert (row.rejected, row.problems_kept, len(problems(world))) == (25, 12, 12)


def test_every_line_is_accounted_for(world: World, tmp_path: Path) -> None:
    twice = event()
    content = jsonl([twice, event(), twice, {"bad": 1}]) + b"\n" + jsonl(event() for _ in range(20))
    row = from_file(world, written(tmp_path, content))
    assert (row.accepted, row.duplicates, row.rejected, row.repeated) == (22, 1, 1, 0)
    assert row.lines_read == 25


# ------------------------------------------------------------------------------------------------ once and for ever
def test_a_file_that_comes_again_counts_nothing_even_when_its_ids_are_forgotten(world: World, tmp_path: Path) -> None:
    content = jsonl([*(event() for _ in range(15)), *(anonymous() for _ in range(20))])
    from_file(world, written(tmp_path, content))
    assert counted()[0] == 35
    forget_ids()
    assert from_file(world, written(tmp_path, content, "renamed.jsonl")).accepted == 35
    assert len(imports(world)) == 1
    upload(world, PACKERS["zstd"](content))
    work(world)
    again = imports(world)[1]
    assert (again.state, again.accepted, again.repeated) == ("completed", 0, 35)
    assert counted()[0] == 35


def forget_ids() -> None:
    """As after eight days."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE usage_id_segment")


def test_lines_without_ids_are_events_of_their_own_in_each_file_and_each_line(world: World, tmp_path: Path) -> None:
    same = anonymous()
    from_file(world, written(tmp_path, jsonl([same] * 25)))
    assert counted()[0] == 25
    row = from_file(world, written(tmp_path, jsonl([same] * 24)))
    assert (row.accepted, row.repeated) == (24, 0)
    assert counted()[0] == 49


def test_a_file_that_has_grown_counts_what_is_new(world: World, tmp_path: Path) -> None:
    events = [event() for _ in range(35)]
    from_file(world, written(tmp_path, jsonl(events[:24])))
    row = from_file(world, written(tmp_path, jsonl(events)))
    # The chunk that was not full is another one now; its ids are known.
    assert (row.accepted, row.repeated) == (15, 20)
    assert counted()[0] == 35


def test_an_import_stopped_anywhere_goes_on_behind_the_last_chunk(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    path = written(tmp_path, PACKERS["gzip"](jsonl([*(anonymous() for _ in range(30)), *(event() for _ in range(25))])))
    left = {"calls": 0}

    def dying(**options: Any) -> Any:
        left["calls"] += 1
        result = ingest(**options)
        if left["calls"] % 2 == 0:
            raise Killed  # after the insert, before the commit
        return result

    monkeypatch.setattr(engine, "ingest", dying)
    stops = 0
    while True:
        try:
            row = from_file(world, path)
            break
        except Killed:
            stops += 1
            assert only(world).state == "running"
    assert stops >= 5
    assert (row.state, row.accepted, row.repeated) == ("completed", 55, 0)
    assert counted()[0] == 55


def test_csv_goes_on_where_it_was_too(world: World, tmp_path: Path) -> None:
    names = ["timestamp", "event_type", "metadata.text"]
    content = csv_of(names, *([moment(), "api_call", "two\nlines" if n % 3 else "one"] for n in range(45)))
    upload(world, content)
    while job.take_on(world.org_id, seconds=0):
        pass
    row = only(world)
    assert (row.state, row.accepted, row.rejected, row.lines_read) == ("completed", 45, 0, content.count(b"\n"))
    assert row.bytes_read == row.content_bytes == len(content)
    assert counted()[0] == 45


# ------------------------------------------------------------------------------------------------ what goes wrong
@pytest.mark.parametrize("packed", ["gzip", "zstd"])
def test_a_broken_file_fails_with_a_sentence_before_anything_counts(world: World, packed: str) -> None:
    whole = PACKERS[packed](jsonl(event(metadata={"x": str(uuid4())}) for _ in range(100)))
    upload(world, whole[:-20])
    work(world)
    row = only(world)
    assert (row.state, row.accepted) == ("failed", 0)
    assert row.failure.startswith(f"The {packed} stream ends early")
    assert counted() == (0, 0)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"[{}]", "A JSON array"),
        (b"a,b\n", "is not a field"),
        (b"timestamp,event_type\n\xff", ""),
        ("timestamp,event_type\n".encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04more", "a spreadsheet"),
        (b"BZh91AY&SY", "bzip2"),
        (b"\0" * 50, "binary"),
        (b"timestamp;event_type\r\n", "separated by semicolons"),
        (b"timestamp\tevent_type\n", "separated by tabs"),
        (b"timestamp,event_type\r2026-11-01T00:00:00Z,api_call\r", "CR alone"),
    ],
)
def test_what_is_no_file_of_events_says_so(world: World, content: bytes, sentence: str) -> None:
    upload(world, content)
    work(world)
    row = only(world)
    assert sentence in row.failure
    assert row.state == ("failed" if sentence else "completed")


def test_a_full_inbox_is_waited_for(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [1, 1, 1]

    def full(**options: Any) -> Any:
        if left:
            left.pop()
            raise InboxFull("More events are waiting than may wait")
        return ingest(**options)

    monkeypatch.setattr(engine, "ingest", full)
    monkeypatch.setattr(engine, "_FIRST_WAIT", timedelta(milliseconds=1))
    row = from_file(world, written(tmp_path, jsonl(event() for _ in range(25))))
    assert (row.state, row.accepted, left) == ("completed", 25, [])


def test_an_inbox_that_stays_full_fails_the_import_which_can_be_resumed(
    world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**options: Any) -> Any:
        raise InboxFull("The disk is nearly full; nothing more is accepted until there is room")

    monkeypatch.setattr(engine, "ingest", full)
    monkeypatch.setattr(engine, "_FIRST_WAIT", timedelta(milliseconds=1))
    settings.USAGE_IMPORT_PATIENCE_SECONDS = 0
    upload(world, jsonl(event() for _ in range(25)))
    work(world)
    row = only(world)
    assert (row.state, len(stored())) == ("failed", 1)
    assert "The disk is nearly full" in row.failure
    monkeypatch.setattr(engine, "ingest", ingest)
    services.resume_import(org_id=world.org_id, import_id=row.pk)
    work(world)
    assert (only(world).state, counted()[0], stored()) == ("completed", 25, [])


def test_how_long_it_is_stuck_is_counted_through_slices_of_work(
    world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**options: Any) -> Any:
        raise InboxFull("More events are waiting than may wait")

    monkeypatch.setattr(engine, "ingest", full)
    settings.USAGE_IMPORT_PATIENCE_SECONDS = 60
    upload(world, jsonl([event()]))
    assert job.take_on(world.org_id, seconds=0) is True
    began = only(world).updated_at
    for after, state in ((30, "running"), (300, "running"), (59.9999, "failed")):
        with clock.freeze(began + timedelta(seconds=after)):
            job.take_on(world.org_id, seconds=0)
        assert only(world).state == state, after
        with system_scope("test"):
            Import.objects.update(updated_at=began)


def test_a_full_disk_of_the_database_fails_with_a_sentence(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**options: Any) -> Any:
        raise OperationalError("could not extend file") from psycopg.errors.DiskFull("could not extend file")

    monkeypatch.setattr(engine, "ingest", full)
    upload(world, jsonl([event()]))
    work(world)
    assert (only(world).state, "disk is full" in only(world).failure) == ("failed", True)


def test_a_database_that_was_away_is_waited_for(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [1, 1]

    def away(**options: Any) -> Any:
        if left:
            left.pop()
            raise OperationalError("server closed the connection unexpectedly")
        return ingest(**options)

    monkeypatch.setattr(engine, "ingest", away)
    monkeypatch.setattr(engine, "_FIRST_WAIT", timedelta(milliseconds=1))
    row = from_file(world, written(tmp_path, jsonl(event() for _ in range(15))))
    assert (row.state, row.accepted) == ("completed", 15)


def test_an_error_nobody_foresaw_fails_the_import_and_not_the_worker(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "ingest", lambda **options: 1 / 0)
    upload(world, jsonl([event()]))
    assert job.take_on(world.org_id) is False
    assert only(world).failure == "An unexpected error stopped it (ZeroDivisionError); it can be resumed"


def test_a_file_that_is_gone_fails_the_import(world: World) -> None:
    row = upload(world, jsonl([event()]))
    store.remove(row.stored_as)
    work(world)
    assert (only(world).state, "cannot be read" in only(world).failure) == ("failed", True)
    # Nothing can be resumed once the file is swept.
    with system_scope("test"):
        Import.objects.update(stored_as="")
    with pytest.raises(Conflict, match="not kept any more"):
        services.resume_import(org_id=world.org_id, import_id=row.pk)


def test_a_key_that_is_revoked_meanwhile_ends_the_import(world: World) -> None:
    row = upload(world, jsonl(event() for _ in range(25)))
    job.take_on(world.org_id, seconds=0)
    before = only(world).accepted
    revoke_api_key(org_id=world.org_id, project_id=world.project_id, key_id=row.key_id)
    work(world)
    assert (only(world).state, only(world).accepted) == ("failed", before)
    assert "revoked" in only(world).failure
    assert not only(world).is_resumable


# ------------------------------------------------------------------------------------------------ turns, ends, traces
def test_one_import_of_an_organisation_runs_at_a_time(world: World) -> None:
    upload(world, jsonl(event() for _ in range(25)))
    with HeldLocks() as locks:
        assert locks.take(job.lock_name(world.org_id))
        assert job.take_on(world.org_id) is False
        assert only(world).state == "queued"
    work(world)
    assert only(world).state == "completed"


def test_the_oldest_goes_first_and_slices_end_between_chunks(world: World) -> None:
    upload(world, jsonl(event() for _ in range(45)))
    upload(world, jsonl(event() for _ in range(5)))
    assert job.take_on(world.org_id, seconds=0) is True
    assert [row.state for row in imports(world)] == ["running", "queued"]
    assert 0 < imports(world)[0].percent < 100
    work(world)
    assert [row.state for row in imports(world)] == ["completed", "completed"]
    assert counted()[0] == 50


def test_two_processes_at_the_same_import_double_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the lock's connection was lost and another worker took the import up."""
    row = upload(world, jsonl(event() for _ in range(45)))
    path = store.path_of(row.stored_as)
    done = []

    def other_first(counted_so_far: Import) -> None:
        if not done:
            done.append(engine.run(row.pk, path))

    with org_scope(world.org_id):
        engine.run(row.pk, path, tell=other_first)
    assert (only(world).state, only(world).accepted, counted()[0]) == ("completed", 45, 45)


def test_a_cancelled_import_ends_at_the_next_chunk_and_its_file_goes(world: World) -> None:
    row = upload(world, jsonl(event() for _ in range(45)))
    job.take_on(world.org_id, seconds=0)
    counted_before = only(world).accepted
    services.cancel_import(org_id=world.org_id, import_id=row.pk)
    work(world)
    assert (only(world).state, only(world).accepted, stored()) == ("cancelled", counted_before, [])
    assert counted()[0] == counted_before > 0
    assert told()[-1]["state"] == "cancelled"
    done = upload(world, jsonl([event()]))
    work(world)
    with pytest.raises(Conflict):
        services.cancel_import(org_id=world.org_id, import_id=done.pk)


def test_an_import_that_is_cancelled_while_it_runs_stops(world: World, tmp_path: Path) -> None:
    def cancel(row: Import) -> None:
        services.cancel_import(org_id=world.org_id, import_id=row.pk)

    path = written(tmp_path, jsonl(event() for _ in range(45)))
    assert from_file(world, path, tell=lambda row: cancel(row) if row.lines_read == 20 else None).accepted == 20
    # Whoever runs the command again wants it after all.
    assert from_file(world, path).accepted == 45


def test_start_and_end_are_audited_and_told_once(world: World) -> None:
    upload(world, jsonl([event(), {"bad": 1}]))
    work(world)
    job.take_on(world.org_id)
    assert trail(world) == [("usage.import_started", None), ("usage.import_finished", [None, "completed"])]
    (event_data,) = told()
    assert event_data == {
        "import_id": str(only(world).pk), "project_id": str(world.project_id), "name": "up.jsonl",
        "state": "completed", "failure": "", "lines_read": 2, "accepted": 1, "duplicates": 0, "rejected": 1,
        "repeated": 0,
    }  # fmt: skip


def test_events_count_under_the_key_imports_of_the_project_which_is_made_once(world: World, tmp_path: Path) -> None:
    for number in range(2):
        from_file(world, written(tmp_path, jsonl([event()]), f"{number}.jsonl"))
    keys = {row.key_id for row in imports(world)}
    assert len(keys) == 1
    assert value("SELECT name FROM projects_apikey WHERE id = %s", keys.pop()) == KEY_NAME
    counted()
    assert rows("SELECT count(DISTINCT key_id) FROM usage_who") == [(1,)]


def test_the_sweep_takes_up_what_a_dead_process_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr(job, "enqueue", lambda task, **kwargs: sent.append(kwargs["org_id"]))
    upload(world, jsonl(event() for _ in range(25)))
    job.take_on(world.org_id, seconds=0)
    with system_scope("test"):
        assert job.sweep_imports()["taken_up"] == 1
        with HeldLocks() as locks:
            locks.take(job.lock_name(world.org_id))
            assert job.sweep_imports()["taken_up"] == 0
    assert sent == [str(world.org_id)]


def test_the_sweep_tells_of_a_command_that_died_and_running_it_again_resumes(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(row: Import) -> None:
        raise Killed

    path = written(tmp_path, jsonl(event() for _ in range(25)))
    with pytest.raises(Killed):
        from_file(world, path, tell=die)
    with system_scope("test"):
        assert job.sweep_imports()["dead_commands"] == 0
        with clock.freeze(datetime.now(UTC) + timedelta(minutes=6)):
            assert job.sweep_imports()["dead_commands"] == 1
    assert (only(world).state, "run it again" in only(world).failure) == ("failed", True)
    assert from_file(world, path).accepted == 25
    assert counted()[0] == 25


def test_the_sweep_removes_files_that_nobody_needs(world: World) -> None:
    import os

    with org_scope(world.org_id):
        row = upload(world, jsonl([event()]))
        Import.objects.filter(pk=row.pk).update(state="running")
        fail(row.pk, "The inbox was full")
    kept, orphan = only(world).stored_as, store.store([b"x"])[0]
    old = datetime.now(UTC).timestamp() - 2 * 86400
    os.utime(store.path_of(orphan), (old, old))
    os.utime(store.path_of(kept), (old, old))
    with system_scope("test"):
        job.sweep_imports()
        assert stored() == [kept]
        with clock.freeze(datetime.now(UTC) + timedelta(days=8)):
            job.sweep_imports()
    assert stored() == []


# ------------------------------------------------------------------------------------------------ the command
def test_the_command_imports_files_and_says_what_became_of_them(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = written(tmp_path, PACKERS["gzip"](jsonl([event(), {"bad": 1}])), "good.jsonl.gz")
    call_command("import_events", str(good), "--org", "acme", "--project", "main", "--key", "test")
    said = capsys.readouterr().out
    assert "completed; 2 lines: 1 accepted, 0 duplicates, 1 rejected" in said
    assert "line 2: 'bad' is not a field of an event (unknown_field /bad)" in said
    assert only(world).key_id == world.key.key_id
    broken = written(tmp_path, good.read_bytes()[:-9], "broken.gz")
    with pytest.raises(CommandError, match="Not every file"):
        call_command(
            "import_events", str(good), str(broken), str(tmp_path / "none"), "--org", "acme", "--project", "main"
        )
    captured = capsys.readouterr()
    assert "imported before" in captured.out
    assert "ends early" in captured.err
    assert "No such file" in captured.err


@pytest.mark.parametrize("wrong", [("nobody", "main", "test"), ("acme", "nothing", "test"), ("acme", "main", "none")])
def test_the_command_says_what_it_does_not_know(world: World, tmp_path: Path, wrong: tuple[str, str, str]) -> None:
    path = written(tmp_path, jsonl([event()]))
    with pytest.raises(CommandError):
        call_command("import_events", str(path), "--org", wrong[0], "--project", wrong[1], "--key", wrong[2])
    assert imports(world) == []


def test_a_broken_file_of_this_machine_is_no_import(world: World, tmp_path: Path) -> None:
    with pytest.raises(MalformedFile):
        from_file(world, written(tmp_path, b"\x1f\x8b\x08"))
    assert imports(world) == []
