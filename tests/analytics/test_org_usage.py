"""``GET /orgs/{id}/usage``: the running month."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from apps.accounts.services import update_organization
from apps.core import clock
from tests.cast import Api, Cast, make_key, rights_of
from tests.usage.engine.conftest import event

pytestmark = pytest.mark.usefixtures("committed")


def path(cast: Cast) -> str:
    return f"/orgs/{cast.org.id}/usage"


def test_the_month_counts_from_its_first_moment_in_the_organisations_zone(
    cast: Cast, drain: Callable[[], None]
) -> None:
    update_organization(org_id=cast.org.id, changes={"timezone": "Pacific/Auckland"})
    # The first of October, 00:00 in Auckland (UTC+13 in summer time, since late September).
    first = datetime(2026, 9, 30, 11, tzinfo=UTC)
    token = make_key(cast, scopes=("ingest", "backfill"))[1]
    fields = {"model": "claude-opus-5", "input_tokens": 1000, "output_tokens": 0}
    with clock.freeze(first + timedelta(days=10)):
        sent = Api(token=token).post(
            "/v1/events",
            {
                "events": [
                    event(timestamp=(first - timedelta(seconds=1)).isoformat(), **fields),
                    event(timestamp=first.isoformat(), **fields),
                ]
            },
        )
        assert sent.json()["accepted"] == 2, sent.content
        drain()
        body = Api(cast.dora).get(path(cast)).json()
    assert body["period"] == {
        "start": "2026-09-30T11:00:00Z", "end": "2026-10-31T11:00:00Z", "timezone": "Pacific/Auckland",
    }  # fmt: skip
    assert body["totals"]["calls"] == 1
    assert body["totals"]["cost_usd"] == "0.005000"
    # A third of a month of 31 days is gone.
    assert body["forecast"] == {"method": "pace", "calls": 3, "cost_usd": "0.015500"}
    assert Decimal(body["forecast"]["cost_usd"]) == Decimal("0.005") * 31 / 10
    assert body["limits"] == {"projects": None, "members": None, "calls": None, "cost_usd": None}


def test_an_organisation_without_usage_has_a_month_of_nothing(cast: Cast) -> None:
    body = Api(cast.alice).get(path(cast)).json()
    assert body["totals"]["events"] == 0
    assert body["forecast"] == {"method": "pace", "calls": 0, "cost_usd": "0.000000"}


def test_who_may_read_it(cast: Cast) -> None:
    answers = {role: api.get(path(cast)).status_code for role, api in rights_of(cast).items()}
    assert answers == {
        "owner": 200, "admin": 200, "developer": 200, "billing": 200, "viewer": 200, "stranger": 404, "nobody": 401,
    }  # fmt: skip
    assert Api(cast.alice).get(f"/orgs/{uuid4()}/usage").status_code == 404
