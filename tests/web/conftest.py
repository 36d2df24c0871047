"""A cast for the pages: Olive owns Loom & Co, Vic only views it, Bill sees to its bills; Otto owns another one."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from apps.accounts import services as accounts
from apps.identity import services as identity
from apps.identity.contracts import UserInfo
from apps.identity.models import User
from apps.projects import services as projects
from apps.projects.contracts import ProjectInfo
from apps.projects.selectors import forget_keys, key_authenticate
from apps.usage.contracts import EventIn
from apps.usage.drain.shard import drain_now
from apps.usage.ingest.attribution import forget_directories
from apps.usage.pricing.book import forget_book
from apps.usage.services import ingest
from tests.cast import sign_in

PASSWORD = "woven-in-daylight"


@dataclass(frozen=True)
class Cast:
    """Everybody, with a browser each."""

    org: Any
    other: Any
    olive: UserInfo
    project: ProjectInfo
    token: str
    owner: Client
    viewer: Client
    billing: Client
    stranger: Client
    nobody: Client

    def url(self, path: str = "") -> str:
        return f"/o/{self.org.slug}/{path}"


def person(name: str) -> UserInfo:
    return identity.register(email=f"{name}@loom.test", password=PASSWORD, name=name.title())


def browser(user: UserInfo | None = None) -> Client:
    """A browser, signed in as somebody; it asks for HTML as browsers do."""
    client = Client(headers={"accept": "text/html"})
    if user is not None:
        sign_in(client, User.objects.get(pk=user.id))
    return client


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


def make_cast() -> Cast:
    forget_keys()
    forget_directories()
    forget_book()
    olive, vic, bill, otto = (person(name) for name in ("olive", "vic", "bill", "otto"))
    org = accounts.create_organization(owner_id=olive.id, name="Loom & Co", timezone="Europe/Berlin")
    accounts.add_member(org_id=org.id, user_id=vic.id, role="viewer")
    accounts.add_member(org_id=org.id, user_id=bill.id, role="billing")
    other = accounts.create_organization(owner_id=otto.id, name="Elsewhere")
    project = projects.create_project(org_id=org.id, name="Shuttle")
    _, token = projects.create_api_key(
        org_id=org.id, project_id=project.id, name="laptop", scopes=["ingest", "backfill"], owner_id=olive.id,
        rate_limit_per_minute=0,
    )  # fmt: skip
    return Cast(
        org, other, olive, project, token, browser(olive), browser(vic), browser(bill), browser(otto), browser()
    )  # fmt: skip


def event(*, ago: timedelta = timedelta(), **fields: Any) -> EventIn:
    """A call so long ago."""
    return EventIn(
        event_id=str(uuid4()),
        timestamp=(datetime.now(UTC) - ago).isoformat(),
        **{
            "event_type": "api_call", "model": "claude-haiku-4-5", "input_tokens": 1000, "output_tokens": 100,
            "latency_ms": 830, **fields,
        },
    )  # fmt: skip


@pytest.fixture
def send(cast: Cast) -> Callable[..., None]:
    """Send events with the project's key and count them."""

    def send(*events: EventIn) -> None:
        key = key_authenticate(cast.token)
        assert key is not None
        result = ingest(key=key, events=list(events))
        assert result.rejected == []
        drain_now()

    return send
