"""An organisation that is erased while its events are counted: the drain names nobody of it any more."""

import threading
from collections.abc import Callable
from uuid import uuid4

import pytest
from django.db import connection, transaction

from apps.usage import orgdata
from apps.usage.drain.dims import Dimensions
from apps.usage.services import ingest
from tests.usage.engine.conftest import World, rows, typed, value

pytestmark = pytest.mark.usefixtures("committed")


def name_somebody(dims: Dimensions, world: World) -> None:
    who = (world.project_id.bytes, None, uuid4().bytes, world.key.key_id.bytes, None)
    dims.whos([(dims.org(world.org_id), [who])])


def erase(world: World) -> None:
    while orgdata._erase(world.org_id, 1000):
        pass


def test_of_one_that_is_gone_nobody_is_named(world: World, drain: Callable[[], None]) -> None:
    ingest(key=world.key, events=[typed()])
    drain()
    dims = Dimensions()
    name_somebody(dims, world)
    assert value("SELECT count(*) FROM usage_who") == 2
    erase(world)
    with pytest.raises(RuntimeError, match="erased"):
        name_somebody(dims, world)
    assert rows("SELECT * FROM usage_who") == rows("SELECT * FROM usage_org") == []


def test_who_names_somebody_waits_for_the_erasure_that_is_at_its_end(world: World, drain: Callable[[], None]) -> None:
    ingest(key=world.key, events=[typed()])
    drain()
    dims, failed = Dimensions(), []
    dims.org(world.org_id)

    def name() -> None:
        try:
            name_somebody(dims, world)
        except RuntimeError as error:
            failed.append(str(error))
        finally:
            connection.close()

    thread = threading.Thread(target=name)
    with transaction.atomic():
        while "usage_org" not in orgdata._erase(world.org_id, 1000):
            pass
        thread.start()
        thread.join(0.3)
        assert thread.is_alive(), "it waits for whether the organisation stays"
    thread.join(10)
    assert failed
    assert rows("SELECT * FROM usage_who") == []
