"""`/orgs/{id}/views`: whose is seen by whom, what is taken, what is said of it."""

from typing import Any

import pytest

from tests.cast import Api, Cast, make_key, trail


def path(cast: Cast, view: Any = "") -> str:
    return f"/orgs/{cast.org.id}/views" + (f"/{view}" if view else "")


def make(cast: Cast, who: Any, **fields: Any) -> Any:
    body = {"page": "usage", "name": "Teams", "query": "by=team&period=7d", **fields}
    return Api(who).post(path(cast), body)


def test_a_view_is_made_read_changed_and_deleted_and_the_trail_tells(cast: Cast) -> None:
    dora = Api(cast.dora)
    made = make(cast, cast.dora)
    assert made.status_code == 201
    body = made.json()
    assert body["query"] == "period=7d&by=team"
    assert (body["owner_id"], body["is_shared"], body["is_default"]) == (str(cast.dora.id), False, False)
    assert dora.get(path(cast, body["id"])).json() == body
    changed = dora.patch(path(cast, body["id"]), {"name": "Mine", "is_default": True}).json()
    assert (changed["name"], changed["is_default"]) == ("Mine", True)
    assert dora.delete(path(cast, body["id"])).status_code == 204
    assert dora.get(path(cast, body["id"])).status_code == 404
    assert [entry.actor_id for entry in trail("view.created")] == [cast.dora.id]
    assert "Mine" in str(trail("view.updated")[0].changes)
    assert len(trail("view.deleted")) == 1


def test_private_views_are_nobody_elses(cast: Cast) -> None:
    mine = make(cast, cast.dora).json()["id"]
    for who in (cast.alice, cast.bob):
        assert Api(who).get(path(cast, mine)).status_code == 404
        assert Api(who).patch(path(cast, mine), {"name": "x"}).status_code == 404
        assert Api(who).delete(path(cast, mine)).status_code == 404
        assert Api(who).get(path(cast)).json()["data"] == []
    assert Api(cast.charlie).get(path(cast)).status_code == 404


def test_shared_views_are_seen_by_members_and_keys_and_changed_by_admins(cast: Cast) -> None:
    assert make(cast, cast.bob, is_shared=True).status_code == 403
    shared = make(cast, cast.erin, is_shared=True).json()["id"]
    make(cast, cast.erin, name="Private")
    _, token = make_key(cast, scopes=("read",))
    for api in (Api(cast.dora), Api(token=token)):
        assert [view["id"] for view in api.get(path(cast)).json()["data"]] == [shared]
    assert Api(token=token).post(path(cast), {"page": "usage", "name": "x"}).status_code == 403
    assert Api(cast.bob).patch(path(cast, shared), {"name": "x"}).status_code == 403
    assert Api(cast.bob).patch(path(cast, shared), {"is_default": True}).json()["is_default"] is True
    assert Api(cast.alice).get(path(cast, shared)).json()["is_default"] is False
    assert Api(cast.alice).patch(path(cast, shared), {"name": "Ours"}).json()["name"] == "Ours"
    assert Api(cast.bob).delete(path(cast, shared)).status_code == 403
    assert Api(cast.alice).delete(path(cast, shared)).status_code == 204


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"query": "evil=1"}, "/query"),
        ({"query": "x" * 2001}, "/query"),
        ({"page": "home"}, "/page"),
        ({"name": "   "}, "/name"),
        ({"name": "x" * 81}, "/name"),
        ({"name": "a\0b"}, "/name"),
        ({"colour": "red"}, "/colour"),
    ],
)
def test_what_is_wrong_is_named(cast: Cast, fields: dict[str, Any], pointer: str) -> None:
    answer = make(cast, cast.alice, **fields)
    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert Api(cast.alice).get(path(cast)).json()["data"] == []


def test_a_name_is_given_once_and_a_repeated_request_is_one(cast: Cast) -> None:
    alice = Api(cast.alice)
    body = {"page": "usage", "name": "Teams"}
    first = alice.post(path(cast), body, Idempotency_Key="k-1")
    again = alice.post(path(cast), body, Idempotency_Key="k-1")
    assert (first.status_code, again.json()) == (201, first.json())
    taken = alice.post(path(cast), body)
    assert (taken.status_code, taken.json()["code"]) == (409, "view_name_taken")
    assert len(alice.get(path(cast)).json()["data"]) == 1


def test_the_list_is_paged_and_narrowed_to_a_page(cast: Cast) -> None:
    alice = Api(cast.alice)
    for number in range(3):
        make(cast, cast.alice, name=f"View {number}")
    make(cast, cast.alice, page="costs", query="period=month")
    first = alice.get(path(cast), {"limit": "2"}).json()
    second = alice.get(path(cast), {"limit": "2", "cursor": first["next_cursor"]}).json()
    assert [view["name"] for view in first["data"] + second["data"]] == ["View 0", "View 1", "View 2", "Teams"]
    assert second["next_cursor"] is None
    assert [view["page"] for view in alice.get(path(cast), {"page": "costs"}).json()["data"]] == ["costs"]
    assert alice.get(path(cast), {"page": "home"}).status_code == 400
