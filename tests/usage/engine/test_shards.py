"""Another number of shards on what is stored: every id is known to who may need it, and what was left is merged."""

import numpy as np
import pytest
from django.db import connection

from apps.usage.drain.dedupe import DedupeIndex
from apps.usage.drain.shard import Drainer, slots_of
from apps.usage.ingest.inbox import SLOTS
from apps.usage.services import ingest
from tests.usage.engine.conftest import make_world, moment, rows, typed, value
from tests.usage.engine.index import Keys, index_of, keys, merge_all, take


@pytest.fixture(autouse=True)
def _small(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.usage.drain.choosing.TOGETHER", 4)
    monkeypatch.setattr("apps.usage.drain.compacting.PIECE", 100)
    monkeypatch.setattr("apps.usage.drain.dedupe._DOOMED_IDS", 100)
    for module in ("runs", "compacting", "dedupe", "loading"):
        monkeypatch.setattr(f"apps.usage.drain.{module}.PAGE", 16)


def shards_of(number: int, stripe: int, cache_ids: int) -> list[DedupeIndex]:
    indexes = []
    for shard in range(number):
        index = DedupeIndex(slots_of(shard, number), filter_bytes=1 << 22, cache_ids=cache_ids)
        index.load(stripe)
        indexes.append(index)
    return indexes


def segments() -> int:
    return int(value("SELECT count(DISTINCT coalesce(run, id)) FROM usage_id_segment"))


def mine(index: DedupeIndex, known: list[tuple[int, Keys]]) -> list[Keys]:
    """What came to a slot that is now one of this shard."""
    return [flush for slot, flush in known if index.mask >> slot & 1]


@pytest.mark.parametrize("killed", [False, True], ids=["merged", "killed"])
@pytest.mark.parametrize("cache_ids", [0, 10**6])
@pytest.mark.parametrize("numbers", [(1, 2, 1), (1, 2, 3, 1), (2, 1, 8, 2), (3, 2, 5, 4)], ids=str)
def test_ids_of_another_division_are_known_and_merged_by_one_of_those_who_have_them(
    numbers: tuple[int, ...], cache_ids: int, killed: bool
) -> None:
    rng = np.random.default_rng([*numbers, killed])
    # With the slot of their organisation: whichever shard has it knows them.
    known: list[tuple[int, Keys]] = []
    for turn, number in enumerate(numbers):
        stripe = 1000 + turn // 2
        indexes = shards_of(number, stripe, cache_ids)
        for index in indexes:
            assert not any(take(index, *flush, stripe).any() for flush in mine(index, known))
        # New ones, while they merge what they find, and look into what others merge.
        for part in range(3):
            for place, index in enumerate(indexes):
                known.append((int(rng.choice(slots_of(place, number))), keys(rng, 70)))
                assert take(index, *known[-1][1], stripe).all()
                for _ in range(int(rng.integers(0, 4))):
                    index.merge_some()
                assert not any(take(index, *flush, stripe).any() for flush in mine(index, known)[part::2])
        if killed:
            # In the middle of merges and of taking away what was merged.
            continue
        before = segments()
        for index in indexes:
            merge_all(index)
        assert segments() <= before
        for index in indexes:
            assert not any(take(index, *flush, stripe).any() for flush in mine(index, known))
    # In the end one has all, each once.
    (last,) = shards_of(1, 1002, cache_ids)
    assert take(last, *keys(rng, 1), 1002).all()
    merge_all(last)
    assert not any(take(last, *flush, 1002).any() for _, flush in known)
    assert rows("SELECT count(DISTINCT coalesce(run, id)) FROM usage_id_segment GROUP BY stripe") == [(1,)] * (
        (len(numbers) + 1) // 2 + 1
    )
    assert value("SELECT sum(ids) FROM usage_id_segment") == 70 * len(known) + 1


def test_who_reads_while_another_merges_finds_the_new_rows() -> None:
    rng = np.random.default_rng(1)
    whole = index_of(1000)
    known = [keys(rng, 200) for _ in range(12)]
    for flush in known:
        take(whole, *flush, 1000)
    first, second = shards_of(2, 1001, 0)
    while first.merge_some():
        for flush in known[::5]:
            assert not take(second, *flush, 1001).any()
    # The second merged nothing of it, and both have one run of each now.
    assert second.merge_some() == 0
    assert segments() == 1
    assert rows("SELECT DISTINCT slots FROM usage_id_segment") == [(255,)]


def test_events_count_once_whatever_the_number_of_shards_was() -> None:
    worlds = [make_world(f"org{number}") for number in range(6)]
    events = {world.org_id: [typed(timestamp=moment(hours=1)) for _ in range(20)] for world in worlds}
    for number in (1, 3, 2, 1):
        for world in worlds:
            # Old ids and one that is new.
            events[world.org_id].append(typed())
            ingest(key=world.key, events=events[world.org_id])
        drainers = [Drainer(slots_of(shard, number)) for shard in range(number)]
        for drainer in drainers:
            drainer.load()
        for _ in range(2):
            for drainer in drainers:
                drainer.step()
                drainer.index.merge_some()
    assert value("SELECT count(*) FROM usage_inbox") == 0
    assert value("SELECT sum(events) FROM usage_chunk") == 6 * 24
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM usage_id_segment WHERE slots >= %s", [1 << SLOTS])
        assert cursor.fetchone()[0] == 0
