"""Raw events go when their organisation's retention says so, by dropping partitions and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.accounts.services import update_organization
from apps.core import clock
from apps.core.database import connect
from apps.core.partitions import drop_partitions
from apps.projects.services import update_project_settings
from apps.usage.drain import fold, retention
from apps.usage.drain.shard import drain_now
from apps.usage.jobs import partitions
from apps.usage.selectors.engine import stray_counts
from apps.usage.selectors.raw import event_search
from apps.usage.services import ingest
from tests.usage.engine.conftest import World, make_world, moment, rows, typed


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_known_days", set())
    monkeypatch.setattr(retention, "_refused_at", {})


@pytest.fixture
def real(committed: None) -> Iterator[None]:
    yield
    drop_partitions("usage_chunk", before=datetime.now(UTC) + timedelta(days=500))
    fold.keep_partitions()


def keep(world: World, days: int) -> None:
    update_organization(org_id=world.org_id, changes={"raw_retention_days": days})


def count(world: World, **fields: object) -> str:
    event = typed(**fields)
    assert not ingest(key=world.key, events=[event]).rejected
    drain_now()
    return str(event.event_id)


def day(days: int) -> date:
    return datetime.now(UTC).date() + timedelta(days=days)


def lies_in() -> list[str]:
    return [name for (name,) in rows("SELECT tableoid::regclass::text FROM usage_chunk ORDER BY drop_on, id")]


def partition(days: int) -> str:
    return f"usage_chunk_p{day(days):%Y%m%d}"


def found(world: World) -> set[str]:
    return {str(row.event_id) for row in event_search(org_id=world.org_id, filters={}, limit=50)}


@contextmanager
def read_for_long() -> Iterator[None]:
    """As a backup reads: every partition, in one transaction."""
    with connect() as elsewhere, elsewhere.transaction():
        elsewhere.execute("LOCK TABLE usage_chunk IN ACCESS SHARE MODE")
        yield


@pytest.mark.django_db
def test_each_organisation_keeps_for_as_long_as_it_says_and_what_goes_is_not_looked_at() -> None:
    short, usual, long = make_world("short"), make_world("usual"), make_world("long")
    keep(short, 1)
    keep(long, 400)
    ids = {days: count(world) for days, world in ((1, short), (7, usual), (400, long))}
    assert lies_in() == [partition(days + 1) for days in ids]
    gone = [(2, short), (8, usual), (401, long)]
    for days, world in gone:
        with clock.freeze(datetime.now(UTC) + timedelta(days=days - 1)):
            fold.keep_partitions()
        assert found(world), days
        with clock.freeze(datetime.now(UTC) + timedelta(days=days)), CaptureQueriesContext(connection) as asked:
            fold.keep_partitions()
        assert not found(world)
        touching = [query["sql"] for query in asked if f'"{partition(days)}"' in query["sql"]]
        assert touching == [f'DROP TABLE IF EXISTS "{partition(days)}"']
    assert not any(stray_counts().values())


@pytest.mark.django_db
def test_partitions_are_made_ahead_for_every_retention_in_use() -> None:
    world = make_world()
    keep(world, 90)
    update_project_settings(org_id=world.org_id, project_id=world.project_id, changes={"raw_retention_days": 30})
    assert partitions()["refused"] == []
    there = {name for (name,) in rows("SELECT inhrelid::regclass::text FROM pg_inherits"
                                      " WHERE inhparent = 'usage_chunk'::regclass")}  # fmt: skip
    for days in (30, 90):
        assert {partition(days + 1 + ahead) for ahead in range(retention.AHEAD + 1)} <= there
    # And none in between, which nothing would use.
    assert partition(60) not in there
    # Of all, made then or before, texts are not vacuumed because some came.
    told = dict(
        rows("SELECT c.relname, t.reloptions FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
             " JOIN pg_class t ON t.oid = c.reltoastrelid WHERE inhparent = 'usage_chunk'::regclass")
    )  # fmt: skip
    assert told.keys() == there
    assert all("autovacuum_vacuum_insert_threshold=-1" in options for options in told.values())


def test_a_backup_that_takes_long_stops_neither_counting_nor_searches(real: None) -> None:
    world = make_world()
    keep(world, 50)
    with read_for_long():
        first = count(world)
        # Not asked for again with each flush.
        second = count(world, timestamp=moment(seconds=1))
        assert lies_in() == ["usage_chunk_default"] * 2
        assert found(world) == {first, second}
        assert day(51).isoformat() in partitions()["refused"]
        assert stray_counts()["usage_chunk_default"] == 2
    result = partitions()
    assert (result["refused"], result["strays"]["usage_chunk_default"]) == ([], 0)  # type: ignore[index]
    assert lies_in() == [partition(51)] * 2
    assert found(world) == {first, second}
    third = count(world)
    assert lies_in() == [partition(51)] * 3
    assert found(world) == {first, second, third}


def test_partitions_of_the_usual_retention_wait_for_nobody(real: None) -> None:
    with read_for_long(), clock.freeze(datetime.now(UTC) + timedelta(days=1)):
        assert partition(11) not in fold.keep_partitions()["made"]
    with clock.freeze(datetime.now(UTC) + timedelta(days=1)):
        assert partition(11) in fold.keep_partitions()["made"]
