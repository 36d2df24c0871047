"""``GET /v1/metrics``: the usage tracker's share of the figures."""

import pytest
from django.test import Client


@pytest.mark.django_db
def test_the_share_holds_the_usage_trackers_figures_and_no_others() -> None:
    response = Client().get("/v1/metrics")
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain; version=0.0.4")
    names = {line.split()[2] for line in response.content.decode().splitlines() if line.startswith("# TYPE")}
    assert "mindweave_usage_inbox_events" in names
    assert all(name.startswith("mindweave_usage_") for name in names)


@pytest.mark.django_db
def test_it_is_for_this_machine_and_for_who_brings_the_token(settings) -> None:
    settings.METRICS_TOKEN = "let me in"
    stranger = Client(REMOTE_ADDR="192.0.2.10")
    assert stranger.get("/v1/metrics").status_code == 403
    assert stranger.get("/v1/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 403
    assert stranger.get("/v1/metrics", headers={"Authorization": "Bearer let me in"}).status_code == 200
    assert stranger.post("/v1/metrics").status_code == 405
