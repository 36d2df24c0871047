"""Usage of single projects for those who were given no more: exactly these, on every way in."""

from collections.abc import Callable
from typing import Any

import pytest

from apps.accounts import services as accounts
from apps.projects import services as projects
from apps.teams import services as teams
from apps.usage.drain.fold import fold_all
from tests.cast import Api, Cast, make_key, make_person
from tests.usage.engine.conftest import event, moment

pytestmark = pytest.mark.usefixtures("committed")


def reader(cast: Cast, name: str) -> Any:
    """A member who may next to nothing by their role."""
    person = make_person(name)
    role = accounts.create_role(org_id=cast.org.id, name=f"Little {name}", capabilities=["org.read"])
    accounts.add_member(org_id=cast.org.id, user_id=person.id, role=role.key)
    return person


def send(token: str, *events: dict[str, Any]) -> None:
    response = Api(token=token).post("/v1/events", {"events": list(events)})
    assert response.json()["rejected"] == [], response.content


@pytest.fixture
def world(cast: Cast, drain: Callable[[], Any]) -> dict[str, Any]:
    """Two projects with events and sessions of their own, and a session's id that both used."""
    other = projects.create_project(org_id=cast.org.id, name="Hidden")
    tokens = {
        "mine": make_key(cast, scopes=("ingest",))[1],
        "theirs": make_key(cast, scopes=("ingest",), project_id=other.id)[1],
    }
    made: dict[str, Any] = {"other": other}
    for number, (whose, token) in enumerate(tokens.items()):
        made[whose] = event(
            model=f"model-of-{whose}", session_id=f"session-of-{whose}", timestamp=moment(minutes=number)
        )
        send(token, made[whose])
        made[f"shared-{whose}"] = event(
            model="model-of-both", session_id="shared", timestamp=moment(minutes=12 - number)
        )
        send(token, made[f"shared-{whose}"])
    drain()
    return made


def give(cast: Cast, grantee: Any, *rights: str) -> None:
    projects.give_project_access(
        org_id=cast.org.id, project_id=cast.project.id, grantee_id=grantee.id, capabilities=list(rights)
    )


@pytest.mark.parametrize("by", ["themselves", "their team"])
def test_whoever_was_given_the_usage_of_one_project_sees_that_and_nothing_of_others(
    by: str, cast: Cast, world: dict[str, Any]
) -> None:
    hugo = reader(cast, "hugo")
    api, pages = Api(hugo), f"/o/{cast.org.slug}"
    for path in ("/v1/events", "/v1/sessions", "/analytics/usage", f"{pages}/usage", f"{pages}/events"):
        assert api.get(path).status_code == 403
    if by == "themselves":
        give(cast, hugo, "usage.read")
    else:
        give(cast, cast.team, "usage.read")
        teams.add_team_member(org_id=cast.org.id, team_id=cast.team.id, user_id=hugo.id)
    mine, other = str(cast.project.id), str(world["other"].id)

    events = api.get("/v1/events").json()["data"]
    assert {one["event_id"] for one in events} == {world["mine"]["event_id"], world["shared-mine"]["event_id"]}
    sessions = api.get("/v1/sessions").json()["data"]
    assert {one["session_id"] for one in sessions} == {"session-of-mine", "shared"}
    answer = api.get("/analytics/usage", {"group_by": "project,model"}).json()
    assert {(row["group"]["project"], row["group"]["model"]) for row in answer["data"]} == {
        (mine, "model-of-mine"), (mine, "model-of-both"),
    }  # fmt: skip
    assert answer["totals"]["events"] == 2
    shared = api.get("/v1/sessions/shared").json()
    assert [one["event"]["event_id"] for one in shared["timeline"]["data"]] == [world["shared-mine"]["event_id"]]
    # Of a session that another project used too, what is theirs alone: sums, times and models.
    for _ in ("not folded", "folded"):
        parts = [
            *(one for one in api.get("/v1/sessions").json()["data"] if one["session_id"] == "shared"),
            api.get("/v1/sessions/shared").json(),
        ]
        for part in parts:
            assert (part["metrics"]["events"], part["metrics"]["input_tokens"]) == (1, 100)
            assert part["started_at"] == part["last_at"] == world["shared-mine"]["timestamp"]
        fold_all()
    whole = Api(cast.dora).get("/v1/sessions/shared").json()
    assert (whole["metrics"]["events"], whole["metrics"]["input_tokens"]) == (2, 200)
    assert api.get(f"/v1/events/{world['mine']['event_id']}").status_code == 200
    assert api.get(f"/v1/events/{world['theirs']['event_id']}").status_code == 404
    assert api.get("/v1/sessions/session-of-theirs").status_code == 404
    for path in ("/v1/events", "/v1/sessions", "/analytics/usage"):
        assert api.get(path, {"filter[project]": mine}).status_code == 200
        for asked in (other, f"{mine},{other}", "", f"{mine},"):
            assert api.get(path, {"filter[project]": asked}).status_code == 403, (path, asked)

    for path in ("usage", "usage?by=project", "usage?add=project", "usage.csv?by=model", "sessions", "sessions.csv",
                 "events", "events.csv", "session?id=shared", "session?id=session-of-mine", "costs",
                 "costs/models.csv", "costs/months.csv"):  # fmt: skip
        shown = api.client.get(f"{pages}/{path}")
        assert shown.status_code == 200, path
        text = shown.content.decode()
        for hidden in ("model-of-theirs", "session-of-theirs", "Hidden", other):
            assert hidden not in text, (path, hidden)
    assert "bob@example.com" not in api.client.get(f"{pages}/events").content.decode()
    assert api.client.get(f"{pages}/events/{world['theirs']['event_id']}").status_code == 404
    assert api.client.get(f"{pages}/session?id=session-of-theirs").status_code == 404
    assert api.client.get(f"{pages}/session?id=shared&event={world['shared-theirs']['event_id']}").status_code == 200
    for path in (f"usage?filter[project]={other}", f"events?project={other}", f"sessions?project={other}"):
        assert api.client.get(f"{pages}/{path}").status_code == 403
    # The bill is of their project alone, whether its deltas are folded or not.
    whole = Api(cast.dora).client.get(f"{pages}/costs/models.csv").content.decode().splitlines()
    assert [line.split(",")[0] for line in whole[1:]] == ["model-of-both", "model-of-mine", "model-of-theirs", "All"]
    lines = api.client.get(f"{pages}/costs/models.csv").content.decode().splitlines()
    assert [(line.split(",")[0], line.split(",")[-2]) for line in lines[1:]] == [
        ("model-of-both", "1"), ("model-of-mine", "1"), ("All", "2"),
    ]  # fmt: skip
    # What cannot be narrowed stays shut.
    assert api.client.get(f"{pages}/").status_code == 403


def test_the_navigation_shows_the_places_of_what_was_given(cast: Cast) -> None:
    hugo, iris = reader(cast, "hugo"), reader(cast, "iris")
    page = f"/o/{cast.org.slug}/settings"

    def places(person: Any) -> set[str]:
        text = Api(person).client.get(page).content.decode()
        named = ("projects", "usage", "sessions", "events", "costs", "settings/teams")
        return {name for name in named if f'href="/o/{cast.org.slug}/{name}"' in text}

    assert places(hugo) == set()
    give(cast, hugo, "usage.read")
    assert places(hugo) == {"projects", "usage", "sessions", "events", "costs"}
    give(cast, hugo, "key.read")
    assert places(hugo) == {"projects"}
    teams.give_team_access(org_id=cast.org.id, team_id=cast.team.id, user_id=iris.id, capabilities=["team.read"])
    assert places(iris) == {"settings/teams"}
    assert places(cast.dora) == {"projects", "usage", "sessions", "events", "costs", "settings/teams"}
