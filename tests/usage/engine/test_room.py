"""Room: on the disk, and in the inbox. Intake ends before PostgreSQL does, and begins again by itself."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as real

from apps.usage.errors import InboxFull
from apps.usage.ingest.inbox import gauge
from apps.usage.services import ingest
from tests.usage.engine.conftest import World, drain_now, typed
from tests.waiting import wait_for

MARGIN = 256 << 20


@pytest.fixture
def filler(settings: Any) -> Path:
    """Where a large file takes the last of the disk on which PostgreSQL of this suite writes."""
    if not str(real.DATABASES["default"]["HOST"]).startswith("/"):
        pytest.skip("needs a PostgreSQL of this machine")
    folder = Path(settings.DATA_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < 4 * MARGIN:
        pytest.skip("needs a gigabyte of room on the disk")
    settings.USAGE_MIN_FREE_BYTES = free - MARGIN
    return folder / "filler"


def accepted(world: World, **options: Any) -> bool:
    try:
        return ingest(key=world.key, events=[typed()], **options).accepted == 1
    except InboxFull:
        return False


def test_a_disk_that_fills_up_ends_intake_and_room_begins_it_again(world: World, filler: Path) -> None:
    assert accepted(world)
    try:
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 3 * MARGIN)
        wait_for(lambda: not accepted(world), what="the refusal")
        with pytest.raises(InboxFull, match="disk is nearly full") as refused:
            ingest(key=world.key, events=[typed()])
        assert refused.value.status == 429
        # Room in the inbox is no room on the disk: the gateways' own events wait with their senders, too.
        assert not accepted(world, reserved=True)
        # What was accepted is counted meanwhile.
        drain_now()
    finally:
        filler.unlink(missing_ok=True)
    wait_for(lambda: accepted(world), what="room again")


def test_an_inbox_that_is_full_takes_in_again_once_it_is_drained(world: World, settings: Any) -> None:
    settings.USAGE_INBOX_MAX_EVENTS, settings.USAGE_INBOX_RESERVED_EVENTS = 3, 2
    assert [accepted(world) for _ in range(5)] == [True, True, True, False, False]
    assert [accepted(world, reserved=True) for _ in range(3)] == [True, True, False]
    assert not accepted(world)
    drain_now()
    # Nothing tells the gauge: it looks by itself.
    wait_for(lambda: accepted(world), what="room again")
    assert gauge.events <= 3
