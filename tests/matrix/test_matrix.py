"""Every route × every method × everybody: what the matrix says is what happens, and a route without a row fails."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from apps.accounts.services import add_member, create_role
from apps.analytics.services import create_view
from apps.core.clock import now
from apps.core.tenancy import org_scope
from apps.notify.contracts import Draft
from apps.notify.selectors import latest_notes
from apps.notify.services import tell
from apps.projects.services import give_project_access, revoke_api_key
from apps.sso.scim.resources import read_user
from apps.sso.services import (
    add_domain,
    add_mapping,
    create_connection,
    create_scim_group,
    create_scim_token,
    create_scim_user,
    revoke_scim_token,
)
from apps.teams.models import Invitation
from apps.teams.services import invite_member
from apps.usage.pricing.book import TOKEN_KINDS
from apps.usage.services import price_set, register_tag_key
from tests.cast import Api, Cast, make_cast, make_key, make_person, undone
from tests.matrix.matrix import ALL, EXCUSED, ROWS, Row
from tests.matrix.people import NARROW, everybody

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def routes(resolver: Any = None) -> Iterator[URLPattern]:
    """Every route of ours; the staff admin has its own gate and its own test."""
    for pattern in (resolver or get_resolver()).url_patterns:
        if isinstance(pattern, URLResolver):
            if str(pattern.pattern) != "admin/":
                yield from routes(pattern)
        else:
            yield pattern


def ask(api: Api, row: Row, cast: Cast, made: dict[str, Any]) -> Any:
    path = reverse(row.route, kwargs=row.path(cast, made)) + row.query
    with undone():
        if row.page and not row.scim and row.method == "POST":
            return api.client.post(
                path, urlencode(row.body or {}, doseq=True), content_type="application/x-www-form-urlencoded"
            )
        return api(row.method, path, None if row.method == "GET" else row.body)


def check(row: Row, answer: Any, who: str) -> None:
    if row.ok == -1:
        fine = {200, 204, 302, 303, 400, 409, 422}
        assert answer.status_code in fine, (who, answer.status_code, answer.content[:300])
    else:
        assert answer.status_code == row.ok, (who, answer.status_code, answer.content[:300])


@dataclass(frozen=True)
class World:
    """The cast, what else was made, and everybody who walks the matrix."""

    cast: Cast
    made: dict[str, Any]
    people: dict[str, Api]


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """Made once for all rows; each test has a transaction inside of this one, and undoes what it did."""
    with django_db_blocker.unblock(), undone():
        cast = make_cast()
        yield World(cast, make_more(cast), everybody(cast))


@pytest.fixture
def cast(world: World, db: None) -> Cast:
    return world.cast


@pytest.fixture
def made(world: World, db: None) -> dict[str, Any]:
    return world.made


@pytest.fixture
def people(world: World, db: None) -> dict[str, Api]:
    """Clients of a test's own, for it may end their sign-ins."""
    return {who: api.again() for who, api in world.people.items()}


def make_more(cast: Cast) -> dict[str, Any]:
    key, token = make_key(cast, scopes=("ingest", "backfill", "read", "gateway"))
    bare, bare_token = make_key(cast, scopes=("gateway",))
    dead, dead_token = make_key(cast, scopes=("ingest", "read", "admin"))
    revoke_api_key(org_id=cast.org.id, project_id=cast.project.id, key_id=dead.id)
    register_tag_key(org_id=cast.org.id, key="region")
    price = price_set(
        model="house-model", org_id=cast.org.id, valid_from=now() - timedelta(days=1), source="contract",
        units=dict.fromkeys(TOKEN_KINDS, Decimal(1)),
    )  # fmt: skip
    view = create_view(org_id=cast.org.id, user_id=cast.alice.id, page="usage", name="Ours", query="", is_shared=True)
    of_scim, scim = create_scim_token(org_id=cast.org.id, name="Okta")
    dead_of_scim, dead_scim = create_scim_token(org_id=cast.org.id, name="Old")
    revoke_scim_token(org_id=cast.org.id, token_id=dead_of_scim.id)
    scim_user = create_scim_user(org_id=cast.org.id, values=read_user({"userName": "dora@example.com"}))
    role = create_role(org_id=cast.org.id, name="Auditor", capabilities=["usage.read", "audit.read"])
    told = uuid4()
    tell(org_ids=[cast.org.id], kind="test", drafts=[Draft(title="Something happened")], event_id=told)
    notification = latest_notes(org_id=cast.org.id, user_id=cast.alice.id, capabilities=frozenset(), limit=1)[0].id
    invited = invite_member(org_id=cast.org.id, email="asked@example.com", role="viewer", by_user_id=cast.alice.id)
    with org_scope(cast.org.id):
        Invitation.objects.update(sent_at=now() - timedelta(hours=1))
    return {
        "invitation": invited.id,
        "view": view.id,
        "role": role.id,
        "notification": notification,
        "price": price,
        "key": key,
        "full": token,
        "bare": bare_token,
        "dead": dead_token,
        "bare_key": bare,
        "scim": scim,
        "scim_token": of_scim.id,
        "domain": add_domain(org_id=cast.org.id, name="wonder.example").id,
        "connection": create_connection(org_id=cast.org.id, kind="saml", name="Okta", values={}).id,
        "mapping": add_mapping(org_id=cast.org.id, group="Weavers", role="viewer"),
        "dead_scim": dead_scim,
        "their_scim": create_scim_token(org_id=cast.elsewhere.id, name="Theirs")[1],
        "scim_user": scim_user,
        "scim_group": create_scim_group(org_id=cast.org.id, name="Weavers", external_id="", member_ids=None),
    }


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_everybody_gets_what_the_matrix_says(
    row: Row, cast: Cast, made: dict[str, Any], people: dict[str, Api]
) -> None:
    if row.public:
        for who in ("nobody", "owner", "stranger"):
            check(row, ask(people[who], row, cast, made), who)
        return
    if row.scim:
        provisioning(row, cast, made, people)
        return
    nobody = ask(people["nobody"], row, cast, made)
    if row.page:
        assert nobody.status_code == 302, nobody.status_code
        assert nobody["Location"].startswith("/login")
    else:
        assert nobody.status_code == 401, (nobody.status_code, nobody.content[:300])
        assert "WWW-Authenticate" in nobody
    if row.roles:
        for role in ALL:
            answer = ask(people[role], row, cast, made)
            if role in row.roles:
                check(row, answer, role)
            else:
                assert answer.status_code == 403, (role, answer.status_code, answer.content[:300])
        if row.org and row.path(cast, made):
            answer = ask(people["stranger"], row, cast, made)
            assert answer.status_code == 404, (answer.status_code, answer.content[:300])
            # Their existence is not told: the same answer as for what does not exist.
    if not row.page:
        keys(row, cast, made)


def provisioning(row: Row, cast: Cast, made: dict[str, Any], people: dict[str, Api]) -> None:
    """A token of provisioning, and nothing else; one of another organisation sees nothing of this one."""
    for who in (*people.values(), Api(token=made["full"]), Api(token=made["dead_scim"])):
        answer = ask(who, row, cast, made)
        assert answer.status_code == 401, (answer.status_code, answer.content[:300])
        assert "WWW-Authenticate" in answer
    check(row, ask(Api(token=made["scim"]), row, cast, made), "token")
    if {"scim_user_id", "group_id"} & set(row.path(cast, made)):
        answer = ask(Api(token=made["their_scim"]), row, cast, made)
        assert answer.status_code == 404, (answer.status_code, answer.content[:300])


def keys(row: Row, cast: Cast, made: dict[str, Any]) -> None:
    """API keys: revoked, without the scope, with it."""
    dead = ask(Api(token=made["dead"]), row, cast, made)
    assert dead.status_code == 401, (dead.status_code, dead.content[:300])
    bare = ask(Api(token=made["bare"]), row, cast, made)
    assert bare.status_code == 403, (bare.status_code, bare.content[:300])
    if row.scope:
        check(row, ask(Api(token=made["full"]), row, cast, made), "key")
    else:
        assert ask(Api(token=made["full"]), row, cast, made).status_code == 403


def _declared(pattern: URLPattern, method: str) -> str | None:
    """The capability that a view names for a method; None for any member, as an empty one is."""
    view: Any = pattern.callback
    api = getattr(view, "view_class", None)
    return (api.capabilities.get(method) if api else getattr(view, "capability", None)) or None


def test_a_role_of_few_permissions_opens_what_names_them_and_nothing_else(
    cast: Cast, made: dict[str, Any], people: dict[str, Api]
) -> None:
    """Whoever may only see usage and save views is refused exactly where another capability is named."""
    narrow, patterns = people["narrow"], {pattern.name: pattern for pattern in routes()}
    for row in ROWS:
        if row.public or not row.roles or not row.org:
            continue
        needed = _declared(patterns[row.route], row.method)
        answer = ask(narrow, row, cast, made)
        if needed is not None and needed not in NARROW:
            assert answer.status_code == 403, (row.id, needed, answer.status_code)
        elif row.method == "GET":
            assert answer.status_code != 403, (row.id, needed)


# What shows usage of one project to whoever was given that alone; all else that wants `usage.read` stays shut.
OF_ONE_PROJECT = {
    "usage-events", "usage-event", "usage-sessions", "usage-session", "analytics-usage", "usage", "usage_csv",
    "sessions", "sessions_csv", "session", "events", "events_csv", "event", "project_usage", "costs",
    "costs_csv",
}  # fmt: skip


def test_usage_of_one_project_opens_what_can_be_narrowed_to_it_and_nothing_else(
    cast: Cast, made: dict[str, Any]
) -> None:
    person = make_person("hugo")
    role = create_role(org_id=cast.org.id, name="Next to nothing", capabilities=["org.read"])
    add_member(org_id=cast.org.id, user_id=person.id, role=role.key)
    give_project_access(
        org_id=cast.org.id, project_id=cast.project.id, grantee_id=person.id, capabilities=["usage.read"]
    )
    hugo, patterns = Api(person), {pattern.name: pattern for pattern in routes()}
    for row in ROWS:
        if row.public or not row.roles or not row.org or _declared(patterns[row.route], row.method) != "usage.read":
            continue
        answer = ask(hugo, row, cast, made)
        opens = row.route in OF_ONE_PROJECT and row.method == "GET"
        assert (answer.status_code == 403) != opens, (row.id, answer.status_code)


def test_every_route_has_a_row() -> None:
    known = {row.route for row in ROWS} | set(EXCUSED)
    assert {pattern.name for pattern in routes()} - known == set()


def test_every_row_is_a_route() -> None:
    assert ({row.route for row in ROWS} | set(EXCUSED)) - {pattern.name for pattern in routes()} == set()


def test_a_method_without_a_row_is_405(cast: Cast, made: dict[str, Any]) -> None:
    alice = Api(cast.alice)
    for route in sorted({row.route for row in ROWS if not row.page}):
        rows = [row for row in ROWS if row.route == route]
        path = reverse(route, kwargs=rows[0].path(cast, made))
        for method in sorted(set(METHODS) - {row.method for row in rows}):
            with undone():
                answer = alice(method, path, None if method == "GET" else {})
            assert answer.status_code == 405, (method, route, answer.status_code)
            assert "Allow" in answer, (method, route)


def test_what_is_refused_does_not_happen(cast: Cast, made: dict[str, Any], people: dict[str, Api]) -> None:
    """The other side of a 403: nothing was written."""
    before = _counts()
    for row in ROWS:
        if row.method == "GET" or row.public:
            continue
        path = reverse(row.route, kwargs=row.path(cast, made))
        for who in {*ALL, "stranger"} - set(row.roles):
            if row.roles and (row.org or who == "nobody") and not (who == "stranger" and not row.path(cast, made)):
                people[who].client.generic(row.method, path, b"{}", content_type="application/json")
    assert _counts() == before


OWNED = {"accounts", "analytics", "notify", "teams", "projects", "sso", "usage", "events"}


def _counts() -> dict[str, int]:
    from django.apps import apps

    from apps.core.tenancy import system_scope

    with system_scope("the test counts all"):
        return {
            model._meta.label: model._default_manager.count()
            for model in apps.get_models()
            if model._meta.app_label in OWNED and model._meta.managed
        }


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/orgs/{org}/projects", {"name": "x", "team_id": "{their_team}"}, "/team_id"),
        ("PATCH", "/projects/{project}", {"team_id": "{their_team}"}, "/team_id"),
        ("POST", "/projects/{project}/keys", {"name": "x", "scopes": ["read"], "team_id": "{their_team}"}, "/team_id"),
        ("POST", "/projects/{project}/keys", {"name": "x", "scopes": ["read"], "owner_id": "{charlie}"}, "/owner_id"),
        ("POST", "/orgs/{org}/teams", {"name": "x", "parent_id": "{their_team}"}, "/parent_id"),
        ("PATCH", "/teams/{team}", {"parent_id": "{their_team}"}, "/parent_id"),
    ],
)
def test_an_id_of_another_organisation_is_refused_inside_a_body(
    method: str, path: str, body: dict[str, Any], field: str, cast: Cast
) -> None:
    ids = {
        "org": cast.org.id, "project": cast.project.id, "team": cast.team.id, "their_team": cast.their_team.id,
        "charlie": cast.charlie.id,
    }  # fmt: skip
    filled = {name: value.format(**ids) if isinstance(value, str) else value for name, value in body.items()}
    answer = Api(cast.alice)(method, path.format(**ids), filled)
    assert answer.status_code == 400
    assert field in {error["pointer"] for error in answer.json()["errors"]}


@pytest.mark.parametrize("path", ["/projects/{project}", "/projects/{project}/keys", "/teams/{team}", "/orgs/{org}"])
def test_a_key_sees_nothing_of_another_organisation(path: str, cast: Cast) -> None:
    _, token = make_key(cast, scopes=("read", "ingest"))
    ids = {"org": cast.elsewhere.id, "project": cast.their_project.id, "team": cast.their_team.id}
    assert Api(token=token).get(path.format(**ids)).status_code in {403, 404}


def test_the_staff_admin_is_closed_to_everybody_without_a_second_factor(cast: Cast) -> None:
    assert Api().get("/admin/").status_code == 302
    assert Api(cast.alice).get("/admin/login/").status_code == 403
