"""The page "Usage engine" of the staff admin."""

import pytest
from django.test import Client

from apps.identity.models import User
from apps.usage.heartbeat import Heartbeat
from mindweave.admin_site import StaffSite
from tests.usage.engine.conftest import World, typed
from tests.usage.visibility.test_metrics import beat
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


def test_it_stands_among_the_others_and_is_closed_to_everybody_else(staff: Client, world: World) -> None:
    assert PAGE in staff.get("/admin/").content.decode()
    assert staff.get("/admin/usage/stall/").status_code == 200
    assert Client().get(PAGE).status_code == 302
    assert staff.post(PAGE).status_code in (200, 405)
    assert staff.get(f"{PAGE}add/").status_code == 403
