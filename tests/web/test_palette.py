"""Finding by a few letters or by an id; the same with scripts and without."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.accounts.permissions import ROLE_CAPABILITIES
from apps.analytics.search import find
from apps.analytics.services import create_view
from apps.projects.services import create_project
from apps.teams.services import create_team
from tests.web.conftest import Cast, event


def labels(cast: Cast, text: str, role: str = "owner") -> dict[str, list[str]]:
    groups = find(
        org_id=cast.org.id, slug=cast.org.slug, user_id=cast.olive.id, capabilities=ROLE_CAPABILITIES[role], text=text
    )
    return {group.title: [item.label for item in group.items] for group in groups}


def test_what_begins_with_the_letters_comes_before_what_holds_them(cast: Cast) -> None:
    for name in ("Space shuttle", "Weft", "shuttle-works"):
        create_project(org_id=cast.org.id, name=name)
    assert labels(cast, "SHUT")["Projects"] == ["Shuttle", "shuttle-works", "Space shuttle"]
    assert labels(cast, "  shut ")["Projects"] == ["Shuttle", "shuttle-works", "Space shuttle"]


def test_people_teams_views_and_settings_are_found(cast: Cast) -> None:
    create_team(org_id=cast.org.id, name="Olives")
    create_view(org_id=cast.org.id, user_id=cast.olive.id, page="usage", name="Olive's own", query="by=user")
    found = labels(cast, "olive")
    assert found["People"] == ["Olive"]
    assert found["Teams"] == ["Olives"]
    assert found["Saved views"] == ["Olive's own"]
    assert labels(cast, "vic@loom")["People"] == ["Vic"]
    assert labels(cast, "memb")["Settings"] == ["Members"]
    page = cast.owner.get(cast.url("search?q=olive%27s")).content.decode()
    assert f'href="{cast.url("usage")}?period=28d&amp;by=user"' in page


@pytest.mark.parametrize("text", ["", "  ", "%", "_", "\\", "no such thing", "x" * 5000, "a\0b"])
def test_what_matches_nothing_finds_nothing(cast: Cast, text: str) -> None:
    assert not {"People", "Teams", "Projects", "By id"} & set(labels(cast, text))
    assert cast.owner.get(cast.url("search/list"), {"q": text}).status_code == 200


def test_a_role_finds_only_what_it_may_see(cast: Cast) -> None:
    create_team(org_id=cast.org.id, name="Shuttlers")
    assert labels(cast, "shut", "viewer") == {"Teams": ["Shuttlers"], "Projects": ["Shuttle"]}
    assert labels(cast, "shut", "billing") == {}
    assert set(labels(cast, "members", "billing")) == {"Guide"}
    assert "Shuttle" not in cast.billing.get(cast.url("search/list?q=shut")).content.decode()


def test_another_organisation_is_never_found(cast: Cast) -> None:
    create_project(org_id=cast.other.id, name="Shuttle of theirs")
    assert labels(cast, "shuttle")["Projects"] == ["Shuttle"]
    assert labels(cast, "otto") == {}
    assert cast.stranger.get(cast.url("search/list?q=shut")).status_code == 404


def test_sessions_and_events_are_found_by_their_ids(cast: Cast, send: Callable[..., None]) -> None:
    one = event(session_id="loom/42 #1".replace(" ", "-"))
    send(one)
    assert labels(cast, "loom/42-#1")["By id"] == ["loom/42-#1"]
    assert labels(cast, str(one.event_id).upper())["By id"] == [str(one.event_id)]
    assert labels(cast, str(cast.project.id))["Projects"] == ["Shuttle"]
    assert "By id" not in labels(cast, "loom/42")


def test_it_costs_few_queries(cast: Cast, send: Callable[..., None]) -> None:
    send(event(session_id="s-1234"))
    labels(cast, "shut")
    with CaptureQueriesContext(connection) as captured:
        labels(cast, "shut")
    assert len(captured) <= 4


def test_at_most_five_of_a_kind(cast: Cast) -> None:
    for number in range(7):
        create_project(org_id=cast.org.id, name=f"Bobbin {number}")
    assert len(labels(cast, "bobbin")["Projects"]) == 5


def test_the_button_leads_to_the_search_page(cast: Cast) -> None:
    page = cast.owner.get(cast.url("usage")).content.decode()
    assert f'href="{cast.url("search")}" data-cmd' in page
    found = cast.owner.get(cast.url("search?q=shut")).content.decode()
    assert f'href="{cast.url("projects/shuttle")}"' in found
    assert "1 result for shut" in found
    assert "Nothing found" in cast.owner.get(cast.url("search?q=nothing-like-it")).content.decode()
    assert "&lt;b&gt;" in cast.owner.get(cast.url("search?q=<b>")).content.decode()


def test_shortcuts_are_on_the_navigation_and_in_the_list(cast: Cast) -> None:
    page = cast.owner.get(cast.url("keyboard")).content.decode()
    for letter in "huscept":
        assert f'data-shortcut="{letter}"' in page
    assert page.count("<kbd>g</kbd> then <kbd>u</kbd>") == 2
