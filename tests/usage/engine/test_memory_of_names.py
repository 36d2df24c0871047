"""What the drain remembers of names has bounds; what is forgotten is read back and counts as before."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.usage.drain import bounds
from apps.usage.drain.bounds import NameBounds
from apps.usage.drain.shard import Drainer
from apps.usage.ingest.inbox import SLOTS
from apps.usage.services import ingest
from tests.usage.engine.conftest import World, make_world, rows, typed

pytestmark = pytest.mark.django_db


@pytest.fixture
def drainer() -> Drainer:
    made = Drainer(range(SLOTS))
    made.load()
    return made


def send(drainer: Drainer, world: World, *models: str) -> None:
    assert ingest(key=world.key, events=[typed(model=model) for model in models]).accepted == len(models)
    while drainer.step():
        pass


def fine(names: NameBounds) -> int:
    """Combinations that are known to count as themselves."""
    return sum(map(len, names._fine.values()))


def counted() -> dict[tuple[str, str], int]:
    """Events by organisation and the model they count as."""
    found = rows(
        "SELECT o.org_id::text, w.model, sum(d.events) FROM usage_delta d JOIN usage_what w ON w.id = d.what"
        " JOIN usage_org o ON o.id = d.org GROUP BY 1, 2"
    )
    return {(org, model): int(events) for org, model, events in found}


@pytest.fixture(params=["MAX_REMEMBERED", "MAX_ORGS", "MAX_DIFFERENT", "MAX_FOLDED"])
def tight(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, settings: Any) -> str:
    """One of the bounds is 3, and an organisation may have two models."""
    settings.USAGE_MAX_MODELS = 2
    monkeypatch.setattr(bounds, request.param, 3)
    return request.param


def test_what_is_beyond_a_bound_is_forgotten_and_counts_as_before(tight: str, drainer: Drainer) -> None:
    worlds = [make_world(f"org{number}") for number in range(6)]
    names = drainer.dims.bounds
    largest = 0
    for turn in range(3):
        for number, world in enumerate(worlds):
            send(drainer, world, f"a{number}", f"b{number}", f"c{number}", f"d{number}", "claude-opus-5")
            held = {
                "MAX_REMEMBERED": names._remembered, "MAX_ORGS": len(names._fine),
                "MAX_DIFFERENT": len(names._same), "MAX_FOLDED": len(names._folded),
            }  # fmt: skip
            largest = max(largest, held[tight])
            assert names._remembered == fine(names), "the books agree with what is there"
            assert all(names._same[key] is key for keys in names._fine.values() for key in keys)
        assert turn or largest > 3, "what is given to it is more than fits"
    # A flush's own names come on top of the bound, and nothing else.
    assert largest <= 3 + 5
    expected = {}
    for number, world in enumerate(worlds):
        org = str(world.org_id)
        # The first two in the order of names; the others count as one.
        expected |= {(org, f"a{number}"): 3, (org, f"b{number}"): 3, (org, "other"): 9}
    assert counted() == expected
    assert rows("SELECT count(*) FROM usage_name WHERE kind = 1") == [(12,)], "what was admitted stays admitted"


def test_names_of_organisations_are_forgotten_and_read_back(
    monkeypatch: pytest.MonkeyPatch, settings: Any, drainer: Drainer
) -> None:
    monkeypatch.setattr(bounds, "MAX_NAMES", 8)
    settings.USAGE_MAX_MODELS = 3
    worlds = [make_world(f"org{number}") for number in range(4)]
    names = drainer.dims.bounds
    for turn in range(3):
        for world in worlds:
            send(drainer, world, f"m{turn}", f"n{turn}")
            held = sum(len(kind) for org in names._names.values() for kind in org.values())
            assert held <= names._named <= 8 + 1 + 8 + 4, "what one flush reads and adds comes on top"
    for world in worlds:
        org = str(world.org_id)
        assert {model: events for (of, model), events in counted().items() if of == org} == {
            "m0": 1, "n0": 1, "m1": 1, "other": 3,
        }  # fmt: skip


def test_what_is_remembered_costs_no_statement(drainer: Drainer) -> None:
    world = make_world("known")
    send(drainer, world, "m1", "m2")

    def about_names() -> int:
        with CaptureQueriesContext(connection) as queries:
            send(drainer, world, "m1", "m2")
        return sum("usage_name" in query["sql"] for query in queries)

    assert about_names() == 0
    drainer.dims.bounds._fine.clear()
    drainer.dims.bounds._names.clear()
    assert about_names() == 1
