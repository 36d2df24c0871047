"""A search sees one snapshot: chunks that are merged between two of its looks hide nothing from its page."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from apps.usage.drain import merge
from apps.usage.drain.shard import drain_now
from apps.usage.selectors import raw
from apps.usage.selectors.raw import event_search
from apps.usage.services import ingest
from tests.usage.engine.conftest import make_world, typed, value


def test_a_merge_between_two_looks_hides_no_event_from_the_page(
    committed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "TOGETHER", 4)
    world = make_world()
    sent = []
    for number in range(raw._FIRST_LOOK + 3):
        # The first look finds nothing, so nothing tells afterwards that what it looked at is gone.
        request_id = "req_old" if number >= raw._FIRST_LOOK else "req_new"
        at = datetime.now(UTC) - timedelta(minutes=number)
        event = typed(timestamp=at.isoformat(), request_id=request_id)
        sent.append(str(event.event_id))
        ingest(key=world.key, events=[event])
        drain_now()
    look = raw._look
    merged: list[int] = []

    def look_and_merge(*given: Any) -> Any:
        found = look(*given)
        if not merged:
            with ThreadPoolExecutor(1) as elsewhere:
                merged.append(elsewhere.submit(_merge).result())
        return found

    monkeypatch.setattr(raw, "_look", look_and_merge)
    page = event_search(org_id=world.org_id, filters={"request_id": ["req_old"]}, limit=50)
    # All went into one chunk, which begins where the first look began.
    assert merged == [len(sent) - 1]
    assert value("SELECT count(*) FROM usage_chunk") == 1
    assert [str(row.event_id) for row in page] == sent[raw._FIRST_LOOK :]
    assert not connection.in_atomic_block


def _merge() -> int:
    try:
        return merge.merge_chunks()
    finally:
        connection.close()
