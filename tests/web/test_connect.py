"""Connect: settings to copy, a key made for them, and the event that proves them."""

import html
import json
import re
from datetime import timedelta

import pytest
import yaml
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.accounts import services as members
from apps.projects.contracts import ProjectInfo
from apps.projects.selectors import key_authenticate, key_list
from apps.projects.services import create_api_key, create_project
from apps.projects.snippets import snippets
from apps.teams.services import create_team
from tests.web.conftest import Cast, browser, event, person
from tests.web.test_projects import shown_key


def word(body: str) -> str:
    found = re.search(r'name="once" value="(\w+)"', body)
    assert found is not None
    return found[1]


def waits_at(body: str) -> str:
    found = re.search(r'hx-get="([^"]+)"', body)
    assert found is not None
    return html.unescape(found[1])


def plain(key: str) -> str:
    found = {snippet.key: snippet for snippet in snippets(base_url="https://mw.test/", token="mw_x")}
    return html.unescape(re.sub(r"<[^>]+>", "", str(found[key].code)))


# ---------------------------------------------------------------- settings
def test_every_client_has_its_settings_without_a_secret(cast: Cast) -> None:
    body = cast.viewer.get(cast.url("connect")).content.decode()
    for label in ("Claude Code", "Python", "TypeScript", "curl", "OpenTelemetry Collector"):
        assert f">{label}</button>" in body
    assert "Bearer mw_…" in body
    assert cast.token not in body
    assert "laptop" in body, "keys by name"


def test_the_settings_of_the_collector_are_yaml_as_they_are_copied() -> None:
    config = yaml.safe_load(plain("collector"))
    exporter = config["exporters"]["otlphttp/mindweave"]
    assert exporter["endpoint"] == "https://mw.test/otlp"
    assert exporter["headers"]["Authorization"] == "Bearer mw_x"
    for signal in ("logs", "metrics", "traces"):
        assert config["service"]["pipelines"][signal]["exporters"] == ["otlphttp/mindweave"]
        assert config["service"]["pipelines"][signal]["receivers"] == ["otlp"]


def test_typescript_sends_to_track_with_the_key() -> None:
    code = plain("typescript")
    assert 'fetch("https://mw.test/v1/track"' in code
    assert '"Bearer mw_x"' in code
    assert json.loads(re.search(r"input_tokens: (\d+)", code)[1]) == 412


def test_a_project_is_chosen_and_an_unknown_one_is_404(cast: Cast) -> None:
    create_project(org_id=cast.org.id, name="Newer")
    assert "connect/newer/event" in cast.owner.get(cast.url("connect")).content.decode()
    assert "connect/shuttle/event" in cast.owner.get(cast.url("connect?project=shuttle")).content.decode()
    assert cast.owner.get(cast.url("connect?project=never")).status_code == 404


def test_without_a_project_the_way_to_one_is_shown(cast: Cast) -> None:
    body = cast.stranger.get(f"/o/{cast.other.slug}/connect").content.decode()
    assert "No project to connect yet" in body
    assert f'href="/o/{cast.other.slug}/welcome"' in body


def test_another_organisation_and_a_role_without_projects_stay_out(cast: Cast) -> None:
    assert cast.stranger.get(cast.url("connect")).status_code == 404
    assert cast.stranger.get(cast.url("connect/shuttle/event")).status_code == 404
    assert cast.billing.get(cast.url("connect")).status_code == 403
    assert cast.nobody.get(cast.url("connect")).status_code == 302


# ---------------------------------------------------------------- a key
def test_a_key_is_made_once_shown_once_and_filled_in(cast: Cast) -> None:
    page = cast.url("connect?project=shuttle")
    form = {"project": "shuttle", "name": "ci", "once": word(cast.owner.get(page).content.decode())}
    made = cast.owner.post(cast.url("connect"), form)
    token = shown_key(made.content.decode())
    assert token is not None
    assert f"Authorization=Bearer {token}" in made.content.decode()
    assert "no-store" in made.headers["Cache-Control"]
    key = key_authenticate(token)
    assert key is not None
    assert key.scopes == {"ingest"}
    again = cast.owner.post(cast.url("connect"), form)
    assert again.headers["Location"] == page
    assert key_list(org_id=cast.org.id).filter(name="ci").count() == 1
    assert token not in cast.owner.get(page).content.decode()


@pytest.mark.parametrize("name", ["", "  ", "x" * 121])
def test_a_key_without_a_proper_name_is_not_made(cast: Cast, name: str) -> None:
    answer = cast.owner.post(cast.url("connect"), {"project": "shuttle", "name": name, "once": "a"})
    assert answer.status_code == 400
    assert "mw-err" in answer.content.decode()
    assert key_list(org_id=cast.org.id).count() == 1


def test_who_may_not_make_keys_makes_none(cast: Cast) -> None:
    team = create_team(org_id=cast.org.id, name="Theirs")
    create_project(org_id=cast.org.id, name="Closed", team_id=team.id)
    dev = person("dev")
    members.add_member(org_id=cast.org.id, user_id=dev.id, role="developer")
    developer = browser(dev)
    for client, project in ((cast.viewer, "shuttle"), (developer, "closed")):
        assert 'name="once"' not in client.get(cast.url(f"connect?project={project}")).content.decode()
        assert client.post(cast.url("connect"), {"project": project, "name": "x", "once": "a"}).status_code == 403
    assert key_list(org_id=cast.org.id).count() == 1
    assert developer.post(cast.url("connect"), {"project": "shuttle", "name": "x", "once": "b"}).status_code == 200


def test_a_hostile_name_of_a_key_is_text(cast: Cast) -> None:
    form = {"project": "shuttle", "name": "<script>alert(1)</script>", "once": "a"}
    assert "<script>alert" not in cast.owner.post(cast.url("connect"), form).content.decode()
    assert "<script>alert" not in cast.owner.get(cast.url("connect")).content.decode()


# ---------------------------------------------------------------- the event
def test_only_what_comes_after_the_page_was_opened_is_an_arrival(cast: Cast, send) -> None:
    send(event(ago=timedelta(minutes=5)))
    page = cast.owner.get(cast.url("connect?project=shuttle")).content.decode()
    assert "Waiting for the next event" in page
    waiting = waits_at(page)
    assert cast.owner.get(waiting).status_code == 204, "the page was opened after it"
    # The client's clock may be slow: what counts is that it was not there before.
    send(event(ago=timedelta(minutes=2), model="claude-opus-4-5"))
    body = cast.owner.get(waiting).content.decode()
    assert "We saw your event" in body
    assert "2 min ago" in body
    assert "claude-opus-4-5" in body


def test_without_scripts_looking_again_shows_what_arrived(cast: Cast, send) -> None:
    for _ in range(2):
        page = cast.owner.get(cast.url("connect?project=shuttle")).content.decode()
        again = html.unescape(re.search(r'href="([^"]+)">Look again', page)[1])
        assert "Look again" in cast.owner.get(again).content.decode(), "nothing yet"
        send(event())
        assert "We saw your event" in cast.owner.get(again).content.decode()


def test_the_first_event_of_a_project_is_seen_and_another_projects_is_not(cast: Cast, send) -> None:
    quiet: ProjectInfo = create_project(org_id=cast.org.id, name="Quiet")
    create_api_key(org_id=cast.org.id, project_id=quiet.id, name="k", scopes=["ingest"])
    loud, still = (
        waits_at(cast.owner.get(cast.url(f"connect?project={slug}")).content.decode()) for slug in ("shuttle", "quiet")
    )
    assert cast.owner.get(loud).status_code == 204
    send(event())
    assert "It works" in cast.owner.get(loud).content.decode()
    assert cast.owner.get(still).status_code == 204
    assert cast.owner.get(cast.url("connect/never/event")).status_code == 404


def test_a_made_up_word_for_what_was_seen_is_nothing_seen(cast: Cast, send) -> None:
    send(event())
    for seen in ("", "x", "%00", "01a209e4-215f-7371-be17-514d2bfae41c"):
        assert cast.viewer.get(cast.url(f"connect/shuttle/event?seen={seen}")).status_code == 200


def test_more_projects_and_keys_cost_no_more_queries(cast: Cast) -> None:
    page = cast.url("connect?project=shuttle")
    cast.owner.get(page)

    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            cast.owner.get(page)
        return len(captured)

    few = count()
    for number in range(4):
        create_project(org_id=cast.org.id, name=f"P{number}")
        create_api_key(org_id=cast.org.id, project_id=cast.project.id, name=f"k{number}", scopes=["ingest"])
    assert count() == few
