"""Staff set and end prices; the service decides, and its refusals are told."""

import pytest
from django.test import Client

from apps.usage.models import Price
from tests.events.test_admin import staff  # noqa: F401 - the fixture

ADD = "/admin/usage/price/add/"
FORM = {
    "model": "claude-fable-5-2", "org": "", "valid_from_0": "2026-01-01", "valid_from_1": "00:00:00", "valid_to_0": "",
    "valid_to_1": "", "input": "7", "output": "35", "cache_read": "0.7", "cache_write_5m": "8.75",
    "cache_write_1h": "14", "web_search": "0.01", "multipliers": '{"geo:us": "1.1"}', "source": "announcement",
}  # fmt: skip


def test_a_price_is_added_through_the_service_and_ended(staff: Client) -> None:  # noqa: F811
    assert staff.get(ADD).status_code == 200
    response = staff.post(ADD, FORM)
    assert response.status_code == 302, response.content.decode()[:3000]
    price = Price.objects.get(model="claude-fable-5-2")
    assert price.multipliers == {"geo:us": "1.1"}
    assert staff.get("/admin/usage/price/").status_code == 200
    staff.post("/admin/usage/price/", {"action": "end_now", "_selected_action": [str(price.pk)]})
    price.refresh_from_db()
    assert price.valid_to is not None


@pytest.mark.parametrize(
    "change",
    [
        {"model": "claude-opus-5", "valid_to_0": "2027-01-01", "valid_to_1": "00:00:00"},
        {"multipliers": '{"moon": "2"}'},
    ],
)
def test_a_price_that_the_service_refuses_is_told_and_not_kept(staff: Client, change: dict[str, str]) -> None:  # noqa: F811
    before = Price.objects.count()
    response = staff.post(ADD, {**FORM, **change}, follow=True)
    assert response.status_code == 200
    text = response.content.decode()
    assert "overlap" in text or "multipliers/moon" in text
    assert Price.objects.count() == before
