"""API keys: shown once, kept as a digest, dead within a second."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from apps.core import clock
from apps.core.clock import now
from apps.core.ids import uuid7
from apps.core.tenancy import org_scope
from apps.projects import selectors, services
from apps.projects.models import ApiKey
from apps.projects.selectors import forget_keys, key_authenticate
from apps.projects.tokens import display_prefix, is_well_formed, new_key, recognisable_prefix
from apps.teams import services as teams
from tests.cast import Api, make_key, published, rights_of, trail


def stored(cast, key_id) -> ApiKey:
    with org_scope(cast.org.id):
        return ApiKey.objects.get(pk=key_id)


def keys_path(cast) -> str:
    return f"/projects/{cast.project.id}/keys"


# ---------------------------------------------------------------- the form of a key
@given(st.integers(0, 40), st.sampled_from("0aZ_ \n"))
def test_a_key_with_one_character_changed_is_no_key(position, character) -> None:
    token = new_key()
    assert is_well_formed(token)
    changed = token[:position] + character + token[position + 1 :]
    assert is_well_formed(changed) == (changed == token)


@given(st.text(max_size=60))
def test_anything_else_is_no_key_and_does_no_harm(text) -> None:
    assert not is_well_formed(text)
    assert recognisable_prefix(text) is None or text.startswith("mw_")


def test_a_key_has_the_prefix_that_scanners_look_for_and_never_repeats() -> None:
    made = {new_key() for _ in range(200)}
    assert len(made) == 200
    assert {(token[:3], len(token)) for token in made} == {("mw_", 41)}


# ---------------------------------------------------------------- making
def test_a_key_is_shown_once_and_kept_as_a_digest(cast) -> None:
    body = {
        "name": "laptop", "scopes": ["read", "ingest"], "owner_id": str(cast.bob.id), "team_id": str(cast.team.id),
        "expires_at": "2099-01-01T00:00:00Z", "rate_limit_per_minute": 60,
    }  # fmt: skip
    answer = Api(cast.erin).post(keys_path(cast), body)
    assert answer.status_code == 201
    made = answer.json()
    token = made.pop("key")
    assert is_well_formed(token)
    assert made["prefix"] == display_prefix(token)
    assert {name: made[name] for name in body} == {**body, "scopes": ["ingest", "read"]}
    row = stored(cast, made["id"])
    assert len(bytes(row.digest)) == 32
    assert token.encode() not in bytes(row.digest)
    assert row.created_by_id == cast.erin.id
    listed = Api(cast.erin).get(keys_path(cast)).json()["data"]
    assert listed == [made], "and never again"
    assert published("key.created") == [{"key_id": made["id"], "project_id": str(cast.project.id), "name": "laptop"}]
    [entry] = trail("key.created")
    assert token not in str(entry.changes)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["read", "rule"]}, "/scopes/1"),
        ({"name": ""}, "/name"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"rate_limit_per_minute": -1}, "/rate_limit_per_minute"),
        ({"token": "mw_mine"}, "/token"),
    ],
)
def test_a_key_that_is_not_valid_is_not_made(cast, change, pointer) -> None:
    answer = Api(cast.alice).post(keys_path(cast), {"name": "k", "scopes": ["read"]} | change)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)
    assert selectors.key_names(cast.org.id) == {}


def test_a_key_is_tied_to_people_and_teams_of_its_organisation_only(cast) -> None:
    body = {"name": "k", "scopes": ["read"]}
    for change in ({"owner_id": str(cast.charlie.id)}, {"team_id": str(cast.their_team.id)}):
        answer = Api(cast.alice).post(keys_path(cast), body | change)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, f"/{next(iter(change))}")


# ---------------------------------------------------------------- who may
READS = {"owner": 200, "admin": 200, "developer": 200, "billing": 403, "viewer": 200, "stranger": 404, "nobody": 401}
MAKES = {"owner": 201, "admin": 201, "developer": 201, "billing": 403, "viewer": 403, "stranger": 404, "nobody": 401}


@pytest.mark.parametrize("who", MAKES)
def test_who_may_do_what_with_keys(cast, who) -> None:
    api, (key, token) = rights_of(cast)[who], make_key(cast)
    refused = MAKES[who] if MAKES[who] != 201 else None
    assert api.get(keys_path(cast)).status_code == READS[who]
    assert api.post(keys_path(cast), {"name": "k", "scopes": ["read"]}).status_code == MAKES[who]
    assert api.post(f"{keys_path(cast)}/{key.id}/rotate", {}).status_code == (refused or 201)
    assert api.delete(f"{keys_path(cast)}/{key.id}").status_code == (refused or 204)
    assert (key_authenticate(token) is None) == (refused is None)


def test_a_developer_manages_the_keys_of_their_teams_projects_and_of_no_other_teams(cast) -> None:
    other = teams.create_team(org_id=cast.org.id, name="Weft")
    theirs = services.create_project(org_id=cast.org.id, name="Theirs", team_id=other.id)
    nobodys = services.create_project(org_id=cast.org.id, name="Nobody's")
    key, token = services.create_api_key(org_id=cast.org.id, project_id=theirs.id, name="k", scopes=["read"])
    bob, body = Api(cast.bob), {"name": "k", "scopes": ["read"]}
    for answer in (
        bob.post(f"/projects/{theirs.id}/keys", body),
        bob.post(f"/projects/{theirs.id}/keys/{key.id}/rotate", {}),
        bob.delete(f"/projects/{theirs.id}/keys/{key.id}"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "not_your_project")
    assert key_authenticate(token) is not None
    assert bob.post(f"/projects/{nobodys.id}/keys", body).status_code == 201
    assert bob.get(f"/projects/{theirs.id}/keys").status_code == 200, "reading is another matter"


@pytest.mark.parametrize("body", [{"scopes": ["read", "admin"]}, {"scopes": ["read"], "rate_limit_per_minute": 0}])
def test_a_developer_makes_no_key_that_does_more_than_they_may(cast, body) -> None:
    answer = Api(cast.bob).post(keys_path(cast), {"name": "k", **body})
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_ceiling")
    assert Api(cast.erin).post(keys_path(cast), {"name": "k", **body}).status_code == 201
    [row] = selectors.key_list(org_id=cast.org.id)
    assert Api(cast.bob).post(f"{keys_path(cast)}/{row.pk}/rotate", {}).json()["code"] == "scope_ceiling"


def test_keys_do_not_make_keys(cast) -> None:
    key, token = make_key(cast, scopes=("read", "admin"))
    api = Api(token=token)
    assert api.get(keys_path(cast)).status_code == 403
    assert api.post(keys_path(cast), {"name": "k", "scopes": ["admin"]}).json()["code"] == "keys_not_allowed"
    assert api.delete(f"{keys_path(cast)}/{key.id}").json()["code"] == "keys_not_allowed"


def test_a_key_is_found_under_its_own_project_only(cast) -> None:
    key, token = make_key(cast)
    other = services.create_project(org_id=cast.org.id, name="Other")
    for project in (other, cast.their_project):
        assert Api(cast.alice).delete(f"/projects/{project.id}/keys/{key.id}").status_code == 404
    assert Api(cast.charlie).delete(f"/projects/{cast.their_project.id}/keys/{key.id}").status_code == 404
    assert key_authenticate(token) is not None


# ---------------------------------------------------------------- authenticating
def test_a_key_says_whose_it_is(cast) -> None:
    key, token = make_key(cast, owner_id=cast.bob.id, rate_limit_per_minute=0)
    context = key_authenticate(token)
    assert context is not None
    assert (context.key_id, context.org_id, context.project_id) == (key.id, cast.org.id, cast.project.id)
    assert (context.owner_id, context.team_id, context.project_team_id) == (cast.bob.id, None, cast.team.id)
    assert (context.scopes, context.unlimited, context.name) == (frozenset({"ingest", "read"}), True, "laptop")


def test_a_key_is_taken_as_bearer_or_by_its_own_header(cast) -> None:
    _, token = make_key(cast)
    path = f"/projects/{cast.project.id}"
    assert Api(token=token).get(path).status_code == 200
    assert Api().get(path, X_API_Key=token).status_code == 200
    assert Api().get(path, Authorization=f"bearer {token}").status_code == 200


@pytest.mark.parametrize(
    "token",
    [new_key(), "mw_", "mw_short", "mw_" + "x" * 5000, "sk-ant-api03-foreign", "mw_\u2603"],
    ids=["unknown", "empty", "short", "long", "foreign", "snowman"],
)
def test_an_unknown_key_is_refused_with_a_challenge(cast, token) -> None:
    answer = Api().get(f"/projects/{cast.project.id}", X_API_Key=token)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_api_key")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="mindweave"'


def test_a_cached_key_costs_no_query(cast) -> None:
    _, token = make_key(cast)
    key_authenticate(token)
    with CaptureQueriesContext(connection) as captured:
        assert key_authenticate(token) is not None
    assert len(captured) == 0


def test_a_key_is_found_under_every_pepper_that_is_configured(cast, settings) -> None:
    settings.TOKEN_PEPPERS = ["the old one"]
    (used, token), (_, unused) = make_key(cast), make_key(cast)
    before = bytes(stored(cast, used.id).digest)
    settings.TOKEN_PEPPERS = ["the new one", "the old one"]
    assert key_authenticate(token) is not None
    assert bytes(stored(cast, used.id).digest) != before, "kept under the new one from its first use on"
    forget_keys()
    settings.TOKEN_PEPPERS = ["the new one"]
    assert key_authenticate(token) is not None, "so the old one can go"
    assert key_authenticate(unused) is None, "for whoever was used meanwhile"


# ---------------------------------------------------------------- ending
def test_a_revoked_key_is_dead_here_at_once_and_elsewhere_within_a_second(cast, monkeypatch) -> None:
    (here, token), (elsewhere, other) = make_key(cast), make_key(cast)
    assert None not in (key_authenticate(token), key_authenticate(other))
    api = Api(cast.alice)
    for _ in range(2):
        assert api.delete(f"{keys_path(cast)}/{here.id}").status_code == 204
    forget_keys()  # the transaction of a test commits nothing, so that what runs on commit does not
    assert key_authenticate(token) is None
    assert published("key.revoked") == [{"key_id": str(here.id), "project_id": str(cast.project.id)}]

    assert key_authenticate(other) is not None
    with org_scope(cast.org.id):  # what another process writes, of which this one hears nothing
        ApiKey.objects.filter(pk=elsewhere.id).update(revoked_at=now())
    later = selectors.time.monotonic() + 1.0
    monkeypatch.setattr(selectors.time, "monotonic", lambda: later)
    assert key_authenticate(other) is None


@pytest.mark.django_db(transaction=True)
def test_a_revocation_empties_the_cache_when_it_is_committed() -> None:
    from tests.cast import make_cast

    cast = make_cast()
    key, token = make_key(cast)
    assert key_authenticate(token) is not None
    services.revoke_api_key(org_id=cast.org.id, project_id=cast.project.id, key_id=key.id)
    assert key_authenticate(token) is None


def test_an_expired_key_is_dead(cast) -> None:
    _, token = make_key(cast, expires_at=now() + timedelta(hours=1))
    assert key_authenticate(token) is not None
    forget_keys()
    with clock.freeze(now() + timedelta(hours=1)):
        assert key_authenticate(token) is None


def test_a_rotated_key_goes_on_beside_its_successor_for_the_overlap(cast) -> None:
    key, token = make_key(cast, owner_id=cast.bob.id, team_id=cast.team.id, rate_limit_per_minute=7)
    answer = Api(cast.erin).post(f"{keys_path(cast)}/{key.id}/rotate", {"overlap_seconds": 60})
    assert answer.status_code == 201
    fresh = answer.json()
    forget_keys()
    old, new = key_authenticate(token), key_authenticate(fresh["key"])
    assert old is not None
    assert new is not None
    same = ("org_id", "project_id", "owner_id", "team_id", "scopes", "rate_limit_per_minute", "name")
    assert [getattr(old, name) for name in same] == [getattr(new, name) for name in same]
    forget_keys()
    with clock.freeze(now() + timedelta(seconds=61)):
        assert key_authenticate(token) is None
        assert key_authenticate(fresh["key"]) is not None
    assert len(trail("key.rotated")) == 1


def test_a_rotation_never_lengthens_a_life_nor_wakes_the_dead(cast) -> None:
    ends = now() + timedelta(minutes=1)
    key, _ = make_key(cast, expires_at=ends)
    path = f"{keys_path(cast)}/{key.id}"
    Api(cast.alice).post(f"{path}/rotate", {})
    assert stored(cast, key.id).expires_at == ends
    Api(cast.alice).delete(path)
    answer = Api(cast.alice).post(f"{path}/rotate", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "key_revoked")
    too_long = Api(cast.alice).post(f"{path}/rotate", {"overlap_seconds": 10**9})
    assert (too_long.status_code, too_long.json()["errors"][0]["pointer"]) == (400, "/overlap_seconds")
    assert Api(cast.alice).post(f"{keys_path(cast)}/{uuid7()}/rotate", {}).status_code == 404


# ---------------------------------------------------------------- use and misuse
def test_the_last_use_is_written_once_a_minute(cast, monkeypatch) -> None:
    key, token = make_key(cast)
    assert stored(cast, key.id).last_used_at is None
    key_authenticate(token)
    first = stored(cast, key.id).last_used_at
    assert first is not None
    forget_keys()
    key_authenticate(token)
    assert stored(cast, key.id).last_used_at == first
    forget_keys()
    monkeypatch.setattr(selectors, "_last_used", {})  # another process
    key_authenticate(token)
    assert stored(cast, key.id).last_used_at == first
    later = selectors.time.monotonic() + 61
    monkeypatch.setattr(selectors.time, "monotonic", lambda: later)
    with clock.freeze(now() + timedelta(seconds=61)):
        key_authenticate(token)
    assert stored(cast, key.id).last_used_at > first


def test_a_dead_key_in_use_is_told_to_its_admin(cast) -> None:
    key, token = make_key(cast)
    services.revoke_api_key(org_id=cast.org.id, project_id=cast.project.id, key_id=key.id)
    for _ in range(3):
        forget_keys()
        assert key_authenticate(token) is None
    assert selectors.key_rejections(cast.org.id) == {key.id: ("revoked", 3)}
    assert selectors.key_rejections(cast.elsewhere.id) == {}


@pytest.mark.parametrize("slip", [lambda t: t[:-1], lambda t: t[:20], lambda t: t[:-1] + "%", lambda t: t + t[-1]])
def test_a_mistyped_key_in_use_is_told_to_the_admin_of_the_key_that_was_meant(cast, slip) -> None:
    key, token = make_key(cast)
    assert key_authenticate(slip(token)) is None
    assert selectors.key_rejections(cast.org.id) == {key.id: ("mistyped", 1)}
    assert key_authenticate(token) is not None


def test_a_flood_of_wrong_keys_is_counted_once_a_moment(cast) -> None:
    key, token = make_key(cast)
    for n in range(20):
        assert key_authenticate(f"{token[:9]}{n}") is None
    assert selectors.key_rejections(cast.org.id, ids=[key.id]) == {key.id: ("mistyped", 1)}


def test_a_guess_is_nobodys_mistake(cast) -> None:
    make_key(cast)
    assert key_authenticate(new_key()) is None
    assert selectors.key_rejections(cast.org.id) == {}
