"""Merging goes in pieces: so many chunks a transaction at most, and it stops where it is told to."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.usage.drain import merge
from apps.usage.drain.shard import drain_now
from apps.usage.selectors.tail import tail_end
from apps.usage.services import ingest
from tests.usage.engine.conftest import World, typed, value


@pytest.fixture
def eight(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of one event each."""
    monkeypatch.setattr(merge, "TOGETHER", 4)
    for _ in range(8):
        ingest(key=world.key, events=[typed()])
        drain_now()
    assert value("SELECT count(*) FROM usage_chunk") == 8


def test_small_chunks_are_merged_so_many_a_transaction(eight: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "MOST", 4)
    with CaptureQueriesContext(connection) as made:
        assert merge.merge_chunks() == 6
    assert sum(query["sql"].startswith("DELETE FROM usage_chunk") for query in made.captured_queries) == 2
    assert value("SELECT count(*) FROM usage_chunk") == 2
    assert value("SELECT sum(events) FROM usage_chunk") == 8


def test_it_stops_after_a_piece_where_it_is_told_to(eight: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "BATCH", 4)
    assert merge.merge_chunks(stop=lambda: True) == 3
    assert merge.merge_chunks() == 4
    assert value("SELECT sum(events) FROM usage_chunk") == 8


def test_a_look_at_what_is_new_leaves_alone_groups_that_were_looked_at(
    eight: None, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "TOGETHER", 9)
    assert merge.merge_chunks() == 0
    newest = value("SELECT max(id) FROM usage_chunk")
    monkeypatch.setattr(merge, "TOGETHER", 4)
    assert merge.merge_chunks(after=newest) == 0
    # One more makes a group of them all.
    ingest(key=world.key, events=[typed()])
    drain_now()
    assert merge.merge_chunks(after=newest) == 8
    assert value("SELECT sum(events) FROM usage_chunk") == 9


def test_the_end_of_the_tail_is_behind_what_was_merged_and_what_was_not(eight: None, world: World) -> None:
    ends = []
    for _ in range(3):
        expected = value("SELECT max(CASE WHEN upto > 0 THEN upto ELSE id END) FROM usage_chunk")
        assert tail_end(world.org_id) == expected
        ends.append(expected)
        if len(ends) == 1:
            assert merge.merge_chunks() == 7
        else:
            ingest(key=world.key, events=[typed()])
            drain_now()
    assert ends[0] == ends[1] < ends[2]
