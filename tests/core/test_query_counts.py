"""How many queries each reading endpoint and page makes: pinned in ``tests/queries.json``, and the same for more rows.

A number may only be changed on purpose: ``MINDWEAVE_PIN_QUERIES=1 pytest tests/core/test_query_counts.py`` writes the
present ones, for the reviewer to see in the difference.

The clock stands still at noon in the middle of a month, the organisation has usage in this month and the last, and
neither the price book nor the book of sign-ins is looked at anew: what is asked depends neither on when the suite runs
nor on how fast.
"""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.accounts.services import add_member, create_role
from apps.analytics.services import create_view
from apps.core.clock import freeze, now
from apps.notify.contracts import Draft
from apps.notify.services import tell
from apps.projects.selectors import key_authenticate
from apps.projects.services import create_project
from apps.sso.services import add_domain, add_mapping, create_connection, create_scim_token
from apps.teams.services import add_team_member, create_team
from apps.usage.contracts import EventIn
from apps.usage.drain.shard import drain_now
from apps.usage.ingest.attribution import forget_directories
from apps.usage.pricing.book import forget_book
from apps.usage.services import ingest
from tests.cast import Api, Cast, make_cast, make_key, make_person, undone
from tests.forgetting import empty_redis, forget_caches
from tests.matrix.matrix import ROWS, Row

PINS = Path(__file__).parents[1] / "queries.json"
# Open to everybody and about nothing that is stored, or about the machine rather than an organisation.
UNPINNED = {"health-live", "health-ready", "metrics", "usage-health", "usage-metrics", "openapi", "jwks"}
# What the matrix expects to be missing reads nothing worth counting.
READS = [
    row
    for row in ROWS
    if row.method == "GET" and row.route not in UNPINNED and not (row.public or row.scim) and row.ok in {200, -1}
]
# One that the book prices, one that it does not.
MODELS = ("claude-opus-5-5", "claude-unheard-of")
# A Wednesday.
NOON = datetime(2026, 9, 16, 12, 0, tzinfo=UTC)


pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def counted(django_db_setup: None, django_db_blocker: Any) -> dict[str, tuple[int | Exception, int | Exception]]:
    """By route, the queries where there is one of everything, and where there are five."""
    with pytest.MonkeyPatch.context() as patch, django_db_blocker.unblock(), freeze(NOON), undone():
        patch.setattr("apps.usage.pricing.book._CHECK_EVERY", float("inf"))
        patch.setattr("apps.identity.book._CACHE_SECONDS", float("inf"))
        forget()
        cast = make_cast()
        made = made_of(cast)
        alice = Api(cast.alice)
        # One of each first: that a list is empty may spare a look at what belongs to its rows.
        more_of_everything(cast, range(1))
        few = {row.route: asked(alice, row, cast, made) for row in READS}
        more_of_everything(cast, range(1, 5))
        many = {row.route: asked(alice, row, cast, made) for row in READS}
    return {route: (few[route], many[route]) for route in few}


def forget() -> None:
    """Each route begins with nothing remembered, as if it were asked alone."""
    empty_redis()
    forget_caches()
    forget_directories()
    forget_book()


def made_of(cast: Cast) -> dict[str, Any]:
    key, _ = make_key(cast)
    view = create_view(org_id=cast.org.id, user_id=cast.alice.id, page="usage", name="Ours", query="", is_shared=True)
    role = create_role(org_id=cast.org.id, name="Auditor", capabilities=["usage.read", "audit.read"])
    connection = create_connection(org_id=cast.org.id, kind="saml", name="Okta", values={})
    return {"key": key, "view": view.id, "role": role.id, "connection": connection.id}


def asked(api: Api, row: Row, cast: Cast, made: dict[str, Any]) -> int | Exception:
    """The queries of a route, which leaves no trace, or what was raised instead."""
    forget()
    try:
        with undone():
            return queries(api.again(), row, cast, made)
    except Exception as error:
        return error


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
        add_domain(org_id=cast.org.id, name=f"looms{number}.example")
        add_mapping(org_id=cast.org.id, group=f"Group {number}", role="viewer", team_id=team.id)
        create_connection(org_id=cast.org.id, kind="oidc", name=f"Provider {number}", values={})
        create_scim_token(org_id=cast.org.id, name=f"Token {number}")
        count(cast, number, person.id)


def count(cast: Cast, number: int, user_id: UUID) -> None:
    """Calls and a tool call of somebody in a session of their own, now and last month."""
    _, token = make_key(cast, name=f"sender {number}", scopes=("ingest", "backfill"), rate_limit_per_minute=0)
    forget_directories()
    key = key_authenticate(token)
    assert key is not None
    shared: dict[str, Any] = {"user_id": str(user_id), "session_id": f"session {number}", "latency_ms": 830}
    tokens = {"event_type": "api_call", "model": MODELS[number % 2], "input_tokens": 1000, "output_tokens": 100}
    tool = {"event_type": "mcp_tool", "mcp_server": "github", "mcp_tool": f"tool {number}"}
    # No two at the same moment: their random ids would decide which is the newest.
    sent = ((0, 0, tokens), (0, 1, tool), (3, 0, tokens), (30, 0, tokens))
    found = ingest(
        key=key,
        events=[
            EventIn(
                event_id=str(uuid4()),
                timestamp=(now() - timedelta(days=days, minutes=2 * number + later + 1)).isoformat(),
                **shared,
                **what,
            )
            for days, later, what in sent
        ],
    )
    assert found.rejected == []
    drain_now()


@pytest.mark.parametrize("row", READS, ids=lambda row: row.route)
def test_queries_are_as_pinned_and_more_rows_cost_no_more(
    row: Row, counted: dict[str, tuple[int | Exception, int | Exception]]
) -> None:
    few, many = counted[row.route]
    for found in (few, many):
        if isinstance(found, Exception):
            raise found
    assert many <= few, "more rows cost more queries"
    pins: dict[str, int] = json.loads(PINS.read_text()) if PINS.exists() else {}
    if os.environ.get("MINDWEAVE_PIN_QUERIES"):
        PINS.write_text(json.dumps(dict(sorted({**pins, row.route: few}.items())), indent=1) + "\n")
    else:
        assert few == pins.get(row.route), "if this is meant, pin it anew (see the top of this file)"


def test_no_pin_is_left_of_what_is_gone() -> None:
    assert set(json.loads(PINS.read_text())) == {row.route for row in READS}
