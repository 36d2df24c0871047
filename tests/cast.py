"""The cast: people who stand for the rules.

Alice owns the organisation, Erin administers it, Bob develops on the Loom team, Frank pays the bills, Dora only looks.
Charlie owns another organisation and may see nothing of this one. A test directory that wants them imports the
fixtures into its ``conftest.py``.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

import orjson
import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client

from apps.accounts import services as accounts
from apps.accounts.contracts import OrgInfo
from apps.audit.models import AuditEntry
from apps.core.clock import now
from apps.core.tenancy import system_scope
from apps.events.models import OutboxEvent
from apps.identity import services as identity
from apps.identity.book import hold, open_sign_in
from apps.identity.contracts import UserInfo
from apps.identity.models import SignIn, User
from apps.projects import services as projects
from apps.projects.contracts import ApiKeyInfo, ProjectInfo
from apps.teams import services as teams
from apps.teams.contracts import TeamInfo

__all__ = [
    "PASSWORD",
    "Api",
    "Cast",
    "at_once",
    "cast",
    "enter",
    "make_cast",
    "make_key",
    "make_person",
    "published",
    "refused_by_the_database",
    "rights_of",
    "sign_in",
    "trail",
    "undone",
]

PASSWORD = "seven shuttles, one weft"


@dataclass(frozen=True)
class Cast:
    """Everybody and everything; ``elsewhere`` is Charlie's organisation, with a team and a project of its own."""

    alice: UserInfo
    erin: UserInfo
    bob: UserInfo
    frank: UserInfo
    dora: UserInfo
    charlie: UserInfo
    org: OrgInfo
    team: TeamInfo
    project: ProjectInfo
    elsewhere: OrgInfo
    their_team: TeamInfo
    their_project: ProjectInfo


class Api:
    """An API client: of a person (by their session), of a token or key (by header), or of nobody."""

    def __init__(self, who: UserInfo | None = None, *, token: str = "", ip: str = "192.0.2.10") -> None:
        self.client = Client(REMOTE_ADDR=ip, raise_request_exception=True)
        if who is not None:
            sign_in(self.client, User.objects.get(pk=who.id))
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        extra = {"headers": {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}}
        if method == "GET":
            return self.client.get(path, body or {}, **extra)
        return self.client.generic(method, path, _json(body), content_type="application/json", **extra)

    def again(self) -> "Api":
        """Another client with the same credentials: what becomes of its cookies is its own affair."""
        other = copy(self)
        other.client = Client(**self.client.defaults, raise_request_exception=True)
        other.client.cookies = SimpleCookie(self.client.cookies)
        return other

    def get(self, path: str, query: Any = None, **headers: str) -> Any:
        return self("GET", path, query, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self("POST", path, body, **headers)

    def patch(self, path: str, body: Any = None, **headers: str) -> Any:
        return self("PATCH", path, body, **headers)

    def put(self, path: str, body: Any = None, **headers: str) -> Any:
        return self("PUT", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self("DELETE", path, **headers)


def sign_in(
    client: Client, user: User, *, shown: tuple[str, ...] = ("password",), age: timedelta = timedelta()
) -> None:
    """Open a person's session in a client, as if they had shown ``shown`` as long ago as ``age``."""
    _log_in(client, user)
    row = _enter(client, user, methods=list(shown), shown=True)
    if age:
        row.authenticated_at = now() - age
        row.save(update_fields=["authenticated_at"])
        _hold(client, row)


def enter(client: Client, user: User) -> None:
    """Enter a client's session in the book of sign-ins, as every way in does; Django's own way does not."""
    _enter(client, user, methods=[], shown=False)


# As Django has it: the tests' own enters the session besides (``conftest.py``).
_log_in = Client.force_login


def _enter(client: Client, user: User, **how: Any) -> SignIn:
    with transaction.atomic():
        row = open_sign_in(user, kind="web", ip="192.0.2.10", user_agent="", **how)
    _hold(client, row)
    return row


def _hold(client: Client, row: SignIn) -> None:
    session = client.session
    hold(session, row)
    session.save()


def _json(body: Any) -> bytes:
    return b"" if body is None else orjson.dumps(body)


def make_person(name: str, **fields: Any) -> UserInfo:
    """Somebody who registered with ``<name>@example.com`` and :data:`PASSWORD`."""
    return identity.register(
        email=f"{name}@example.com", password=PASSWORD, name=name.capitalize(), email_verified=True, **fields
    )


def make_key(cast: Cast, *, scopes: tuple[str, ...] = ("ingest", "read"), **fields: Any) -> tuple[ApiKeyInfo, str]:
    """A key of the cast's project, and its token."""
    return projects.create_api_key(
        **{"org_id": cast.org.id, "project_id": cast.project.id, "name": "laptop", "scopes": scopes, **fields}
    )


def make_cast() -> Cast:
    """Make all of them, through the services."""
    alice, erin, bob, frank, dora, charlie = map(make_person, ("alice", "erin", "bob", "frank", "dora", "charlie"))
    org = accounts.create_organization(owner_id=alice.id, name="Wonder Looms")
    for person, role in ((erin, "admin"), (bob, "developer"), (frank, "billing"), (dora, "viewer")):
        accounts.add_member(org_id=org.id, user_id=person.id, role=role)
    elsewhere = accounts.create_organization(owner_id=charlie.id, name="Elsewhere")
    team = teams.create_team(org_id=org.id, name="Loom")
    teams.add_team_member(org_id=org.id, team_id=team.id, user_id=bob.id)
    their_team = teams.create_team(org_id=elsewhere.id, name="Theirs")
    return Cast(
        alice=alice,
        erin=erin,
        bob=bob,
        frank=frank,
        dora=dora,
        charlie=charlie,
        org=org,
        team=team,
        project=projects.create_project(org_id=org.id, name="Weaver", team_id=team.id),
        elsewhere=elsewhere,
        their_team=their_team,
        their_project=projects.create_project(org_id=elsewhere.id, name="Theirs", team_id=their_team.id),
    )


def rights_of(cast: Cast) -> dict[str, Api]:
    """A client of each member by role, of a stranger and of nobody."""
    people = {
        "owner": cast.alice,
        "admin": cast.erin,
        "developer": cast.bob,
        "billing": cast.frank,
        "viewer": cast.dora,
        "stranger": cast.charlie,
    }
    return {**{role: Api(person) for role, person in people.items()}, "nobody": Api()}


def trail(action: str, **wanted: Any) -> list[AuditEntry]:
    """The entries of the audit trail for an action, oldest first."""
    with system_scope("the test looks at all"):
        return list(AuditEntry.objects.filter(action=action, **wanted).order_by("occurred_at", "id"))


def published(event_type: str) -> list[dict[str, Any]]:
    """The data of the events of a type that wait in the outbox, oldest first."""
    with system_scope("the test looks at all"):
        return [row.envelope["data"] for row in OutboxEvent.objects.filter(type=event_type).order_by("seq")]


@contextmanager
def undone() -> Iterator[None]:
    """What happens inside leaves no trace in the database for what comes next."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def refused_by_the_database(write: Callable[[], Any]) -> None:
    """Fail unless the database itself refuses ``write``, which goes round scopes and services."""

    def work() -> None:
        with system_scope("goes round the services"), transaction.atomic():
            write()
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    with pytest.raises(IntegrityError):
        work()


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Run each in a thread with a connection of its own, starting together; their results, or what they raised."""
    barrier, results = threading.Barrier(len(works)), [None] * len(works)

    def run(index: int) -> None:
        try:
            barrier.wait(10)
            results[index] = works[index]()
        except Exception as error:
            results[index] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()
