"""How many queries each reading endpoint and page makes: pinned in ``tests/queries.json``, and the same for more rows.

A number may only be changed on purpose: ``MINDWEAVE_PIN_QUERIES=1 pytest tests/core/test_query_counts.py`` writes the
present ones, for the reviewer to see in the difference.
"""

import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.accounts.services import add_member, create_role
from apps.analytics.services import create_view
from apps.notify.contracts import Draft
from apps.notify.services import tell
from apps.projects.services import create_project
from apps.teams.services import add_team_member, create_team
from tests.cast import Api, Cast, make_key, make_person
from tests.matrix.matrix import ROWS, Row

PINS = Path(__file__).parents[1] / "queries.json"
# Open to everybody and about nothing that is stored, or about the machine rather than an organisation.
UNPINNED = {"health-live", "health-ready", "metrics", "usage-health", "usage-metrics", "openapi", "jwks"}
# What the matrix expects to be missing reads nothing worth counting.
READS = [
    row for row in ROWS if row.method == "GET" and row.route not in UNPINNED and not row.public and row.ok in {200, -1}
]


def queries(api: Api, row: Row, cast: Cast, made: dict[str, Any]) -> int:
    """The queries of the second request, once caches and sessions are warm."""
    path = reverse(row.route, kwargs=row.path(cast, made)) + row.query
    api.get(path)
    with CaptureQueriesContext(connection) as captured:
        assert api.get(path).status_code < 400
    return len(captured)


def more_of_everything(cast: Cast, numbers: range) -> None:
    for number in numbers:
        person = make_person(f"extra{number}")
        add_member(org_id=cast.org.id, user_id=person.id, role="developer")
        team = create_team(org_id=cast.org.id, name=f"Team {number}")
        add_team_member(org_id=cast.org.id, team_id=team.id, user_id=person.id)
        add_team_member(org_id=cast.org.id, team_id=cast.team.id, user_id=person.id)
        create_project(org_id=cast.org.id, name=f"Project {number}", team_id=team.id)
        make_key(cast, name=f"key {number}", owner_id=person.id)
        create_role(org_id=cast.org.id, name=f"Role {number}", capabilities=["usage.read"])
        create_view(org_id=cast.org.id, user_id=person.id, page="usage", name=f"View {number}", query="by=team")
        tell(org_ids=[cast.org.id], kind="test", drafts=[Draft(title=f"News {number}")], event_id=uuid4())


@pytest.mark.parametrize("row", READS, ids=lambda row: row.route)
def test_queries_are_as_pinned_and_more_rows_cost_no_more(row: Row, cast: Cast) -> None:
    key, _ = make_key(cast)
    api = Api(cast.alice)
    view = create_view(org_id=cast.org.id, user_id=cast.alice.id, page="usage", name="Ours", query="", is_shared=True)
    role = create_role(org_id=cast.org.id, name="Auditor", capabilities=["usage.read", "audit.read"])
    made = {"key": key, "view": view.id, "role": role.id}
    # One of each first: that a list is empty may spare a look at what belongs to its rows.
    more_of_everything(cast, range(1))
    few = queries(api, row, cast, made)
    more_of_everything(cast, range(1, 5))
    assert queries(api, row, cast, made) <= few, "more rows cost more queries"
    pins: dict[str, int] = json.loads(PINS.read_text()) if PINS.exists() else {}
    if os.environ.get("MINDWEAVE_PIN_QUERIES"):
        PINS.write_text(json.dumps(dict(sorted({**pins, row.route: few}.items())), indent=1) + "\n")
    else:
        assert few == pins.get(row.route), "if this is meant, pin it anew (see the top of this file)"


def test_no_pin_is_left_of_what_is_gone() -> None:
    assert set(json.loads(PINS.read_text())) == {row.route for row in READS}
