"""A backup restores into an empty server, whole, and what it knew of counted ids is known there too."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from django.core.management import CommandError, call_command

from apps.core.dev.servers import Server, start_postgres
from apps.usage.drain import fold
from apps.usage.drain.shard import drain_now
from apps.usage.services import ingest
from tests.processes import ROOT
from tests.usage.engine.conftest import make_world, moment, typed, value

pytestmark = pytest.mark.processes

_AGAIN = """
import sys
import django
django.setup()
from apps.projects.selectors import key_authenticate
from apps.usage.contracts import EventIn
from apps.usage.drain.shard import drain_now
from apps.usage.services import ingest
from apps.core.tenancy import system_scope
key = key_authenticate(sys.argv[1])
assert key is not None, "the key does not work any more"
what = {"timestamp": sys.argv[2], "event_type": "api_call", "model": "claude-opus-5"}
events = [EventIn(event_id=i, **what) for i in sys.argv[3:]]
with system_scope("a test"):
    print(ingest(key=key, events=events).accepted)
    drain_now()
"""


@pytest.fixture
def empty_server(tmp_path: Path) -> Iterator[Server]:
    server = start_postgres(tmp_path / "other", durable=False)
    yield server
    server.stop()


def manage(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT, env={**os.environ, "DATABASE_URL": server.url}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def test_a_backup_restores_into_an_empty_server(committed: None, empty_server: Server, tmp_path: Path) -> None:
    world = make_world("kept")
    ids = [str(uuid4()) for _ in range(300)]
    ingest(key=world.key, events=[typed(event_id=i, session_id="s", input_tokens=7) for i in ids])
    drain_now()
    fold.fold_all()
    ingest(key=world.key, events=[typed() for _ in range(20)])
    file = tmp_path / "mindweave.dump"
    call_command("backup", str(file))
    done = manage(empty_server, "manage.py", "restore", str(file))
    assert done.returncode == 0, done.stderr
    assert "all sums agree" in done.stdout
    with psycopg.connect(empty_server.url) as other:
        for sql in (
            "SELECT sum(events)::bigint FROM usage_chunk",
            "SELECT sum(events)::bigint FROM usage_inbox",
            "SELECT sum(input_tokens)::bigint FROM usage_rollup_quarter",
            "SELECT sum(events)::bigint FROM usage_session",
        ):
            row = other.execute(sql).fetchone()
            assert row is not None
            assert row[0] == value(sql), sql

    # The same ids again, with other timestamps: taken in, and not counted again. What waited in the inbox is.
    again = manage(empty_server, "-c", _AGAIN, world.token, moment(hours=1), *ids)
    assert again.returncode == 0, again.stderr
    assert again.stdout.split() == ["300"]
    with psycopg.connect(empty_server.url) as other:
        row = other.execute("SELECT sum(events)::bigint FROM usage_chunk").fetchone()
        assert row == (320,)

    # And never over something that is there.
    refused = manage(empty_server, "manage.py", "restore", str(file))
    assert refused.returncode == 1
    assert "not empty" in refused.stderr


def test_a_backup_that_was_changed_is_refused(committed: None, tmp_path: Path) -> None:
    file = tmp_path / "mindweave.dump"
    call_command("backup", str(file))
    with file.open("r+b") as dump:
        dump.seek(100)
        dump.write(b"x")
    with pytest.raises(CommandError, match="not as it was written"):
        call_command("restore", str(file))
