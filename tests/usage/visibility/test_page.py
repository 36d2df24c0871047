"""The page "Usage engine" of the staff admin."""

import pytest
from django.test import Client

from apps.identity.models import User
from apps.usage.drain.shard import drain_now
from apps.usage.drain.upkeep import PartlyDone, Upkeep
from apps.usage.heartbeat import Heartbeat
from apps.usage.services import ingest
from mindweave.admin_site import StaffSite
from tests.cast import trail
from tests.usage.engine.conftest import World, rows, typed, value
from tests.usage.visibility.test_metrics import beat, scrape
from tests.usage.visibility.test_watch import LONG, shard_says, wait_in_slot

pytestmark = pytest.mark.django_db
PAGE = "/admin/usage/shard/"


@pytest.fixture
def staff(monkeypatch: pytest.MonkeyPatch) -> Client:
    """A member of staff whose second factor was proved; that itself is tested with identity."""
    user = User(email="staff@mindweave.example", name="Staff", is_staff=True)
    user.save()
    monkeypatch.setattr(StaffSite, "has_permission", lambda self, request: request.user.is_staff)
    client = Client()
    client.force_login(user)
    return client


def test_it_shows_what_waits_who_sends_and_what_has_no_price(staff: Client, world: World) -> None:
    beat(world, 0, typed(), typed(model="nobody-knows-it"))
    wait_in_slot(3, for_=LONG / 10)
    text = staff.get(PAGE).content.decode()
    for said in ("Everything moves.", "Inbox by slot", "Acme", "nobody-knows-it", "usage_chunk", "Filter of ids"):
        assert said in text, said


def test_it_says_what_is_stuck(staff: Client) -> None:
    shard_says(1, [1, 3], flushed=LONG)
    wait_in_slot(3, for_=LONG)
    wait_in_slot(4, for_=LONG)
    text = staff.get(PAGE).content.decode()
    assert "Shard 1 is stuck, with slots 3: 7 events wait." in text
    assert "No drain works on slots 4: 7 events wait." in text
    assert "Everything moves." not in text


def test_it_says_where_the_filter_of_ids_is_full(staff: Client) -> None:
    stats = {"ids": 1, "filter_bytes": 1 << 27, "segments": 3}
    Heartbeat(0).alive(1, stats)
    assert "is full" not in staff.get(PAGE).content.decode()
    Heartbeat(0).alive(1, {**stats, "filter_full": 1})
    text = staff.get(PAGE).content.decode()
    assert "The filter of ids of shard 0 is full" in text
    assert "128 MiB, full" in text


def test_it_says_which_work_fails_of_whom_and_what_waits_meanwhile(staff: Client, world: World) -> None:
    beat(world, 0, typed())
    number = value("SELECT id FROM usage_org WHERE org_id = %s", world.org_id)
    beside = Upkeep(0, 1)

    def fails() -> None:
        raise PartlyDone(f"organisation {number} is left out: DataError: <no zone>")

    beside.attempt("fold", fails, None)
    text = staff.get(PAGE).content.decode()
    assert "Folding deltas (fold of shard 0) fails since" in text
    assert f"organisation {number} (Acme) is left out: DataError: &lt;no zone&gt;." in text
    assert "meanwhile deltas stay where they are" in text
    listed = "/admin/usage/upkeep/"
    assert listed in text
    assert f"organisation {number} (Acme) is left out" in staff.get(listed).content.decode()
    one = value("SELECT id FROM usage_upkeep")
    detail = staff.get(f"{listed}{one}/change/").content.decode()
    for said in ("Folding deltas (fold)", "Deltas stay where they are", "The log of the drain has the traceback"):
        assert said in detail, said


def test_it_stands_among_the_others_and_is_closed_to_everybody_else(staff: Client, world: World) -> None:
    assert PAGE in staff.get("/admin/").content.decode()
    assert staff.get("/admin/usage/stall/").status_code == 200
    assert Client().get(PAGE).status_code == 302
    assert staff.post(PAGE).status_code in (200, 405)
    assert staff.get(f"{PAGE}add/").status_code == 403


def test_batches_set_aside_are_named_and_put_back(staff: Client, world: World) -> None:
    assert ingest(key=world.key, events=[typed(), typed()]).accepted == 2
    rows(
        "WITH gone AS (DELETE FROM usage_inbox RETURNING *) INSERT INTO usage_set_aside (id, slot, org_id, received_at,"
        " events, frames, reason, set_aside_at) SELECT id, slot, org_id, received_at, events, frames, 'why <not>',"
        " now() FROM gone RETURNING 1"
    )
    assert "2 events in 1 batch could not be counted" in staff.get(PAGE).content.decode()
    assert scrape()["mindweave_usage_set_aside_events"] == 2
    page = "/admin/usage/setaside/"
    assert "why &lt;not&gt;" in staff.get(page).content.decode()
    batch = value("SELECT id FROM usage_set_aside")
    assert "why &lt;not&gt;" in staff.get(f"{page}{batch}/change/").content.decode()
    staff.post(page, {"action": "try_again", "_selected_action": [batch]})
    assert value("SELECT count(*) FROM usage_set_aside") == 0
    drain_now()
    assert value("SELECT sum(events) FROM usage_chunk") == 2
    assert len(trail("usage.batch_put_back")) == 1
