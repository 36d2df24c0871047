"""Home: what it computes, whom it lets in, what it says when there is nothing."""

import csv
import html
import io
import json
import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from django.test.utils import CaptureQueriesContext

from apps.analytics.home import home
from apps.analytics.period import period_of
from apps.usage.contracts import EventIn
from tests.web.conftest import Cast, event

# The start of the organisation's day must lie behind the events that a test calls today's.
NOW = timedelta(seconds=1)
Send = Callable[..., None]


def test_without_any_event_home_leads_to_the_first_run(cast: Cast) -> None:
    page = cast.owner.get(cast.url())
    assert page.status_code == 200
    assert "Nothing has been sent yet" in page.content.decode()
    assert f'href="{cast.url("welcome")}"' in page.content.decode()


def test_an_empty_period_of_a_busy_organisation_says_so(cast: Cast, send: Send) -> None:
    send(event(ago=timedelta(days=70)))
    page = cast.owner.get(cast.url(), {"period": "7d"}).content.decode()
    assert "Nothing in this period" in page
    assert "Show the last 90 days" in page


def test_home_sums_spend_calls_and_tokens(cast: Cast, send: Send) -> None:
    send(event(ago=NOW), event(ago=NOW, model="claude-sonnet-4-5"), event(ago=timedelta(days=3), status="error"))
    page = home(org_id=cast.org.id, slug=cast.org.slug, period=period_of("7d", cast.org.timezone))
    assert page.total.calls == 3
    assert page.total.tokens == 3300
    assert page.total.call_errors == 1
    # haiku 4.5: $1 and $5 a million; sonnet 4.5: $3 and $15
    assert page.total.cost == Decimal("0.0015") * 2 + Decimal("0.0045")
    assert page.days[-1].calls + page.days[-2].calls == 2
    assert [line.name for line in page.by_model] == ["claude-sonnet-4-5", "claude-haiku-4-5"]
    assert page.projects[0].name == "Shuttle"
    assert page.people[0].name == "Olive"
    assert page.people_active == 1
    assert sorted(page.people_days) == [0, 0, 0, 0, 0, 1, 1]
    assert page.members == 3


def test_an_unpriced_model_is_named_and_never_free(cast: Cast, send: Send) -> None:
    send(event(ago=NOW, model="a-model-nobody-sells"))
    page = cast.owner.get(cast.url()).content.decode()
    assert "1 event without a price" in page
    assert "no price" in page


def test_days_are_cut_in_the_time_zone_of_the_organisation(cast: Cast, send: Send) -> None:
    period = period_of("7d", cast.org.timezone)
    # Half past midnight in Berlin is still the day before in UTC.
    early = period.start + timedelta(days=3, minutes=30)
    assert early.utctimetuple().tm_mday == period.days[2].day
    send(EventIn(**{**_fields(event()), "timestamp": early.isoformat()}))
    page = home(org_id=cast.org.id, slug=cast.org.slug, period=period)
    assert [day.calls for day in page.days] == [0, 0, 0, 1, 0, 0, 0]


def _fields(sent: EventIn) -> dict[str, object]:
    return {name: getattr(sent, name) for name in sent.__struct_fields__}


def test_four_weeks_earlier_is_shown_only_where_history_reaches_back(cast: Cast, send: Send) -> None:
    send(event(ago=timedelta(days=2)))
    period = period_of("7d", cast.org.timezone)
    assert home(org_id=cast.org.id, slug=cast.org.slug, period=period).comparable is False
    send(event(ago=timedelta(days=33)), event(ago=timedelta(days=33)))
    page = home(org_id=cast.org.id, slug=cast.org.slug, period=period)
    assert page.comparable is True
    assert page.change == Decimal("-0.5")


def test_the_chart_of_a_metric_is_a_fragment_of_its_own(cast: Cast, send: Send) -> None:
    send(event(ago=NOW))
    answer = cast.owner.get(cast.url(), {"metric": "tokens"}, headers={"HX-Request": "true", "HX-Target": "days"})
    body = answer.content.decode()
    assert body.lstrip().startswith("<section")
    assert "Tokens by day" in body
    assert "HX-Target" in answer.headers["Vary"]
    data = json.loads(html.unescape(re.search(r'data-values="(.*?)"', body)[1]))
    assert data["series"] == [{"name": "claude-haiku-4-5", "c": 1, "v": [0.0] * 27 + [1100.0]}]
    assert data["partial"] is True


def test_every_chart_has_a_table_and_a_csv_with_the_same_sums(cast: Cast, send: Send) -> None:
    send(event(ago=NOW), event(ago=timedelta(days=1)))
    page = cast.owner.get(cast.url()).content.decode()
    links = re.findall(r'href="(/o/[^"]+\.csv\?[^"]*)"', page)
    assert len(links) == 5
    for link in links:
        answer = cast.owner.get(link.replace("&amp;", "&"))
        assert answer.status_code == 200
        assert answer.headers["Content-Disposition"].startswith('attachment; filename="loom-co-')
    days = csv.DictReader(io.StringIO(cast.owner.get(cast.url("home/days.csv")).content.decode()))
    assert sum(Decimal(row["all"]) for row in days) == Decimal("0.003")


def test_a_cell_that_would_be_a_formula_is_defused(cast: Cast, send: Send) -> None:
    send(event(ago=NOW, model="=cmd|' /C calc'!A0"))
    text = cast.owner.get(cast.url("home/days.csv"), {"metric": "calls"}).content.decode()
    assert "'=cmd" in text


def test_names_cannot_break_out_of_the_data_of_a_chart(cast: Cast, send: Send) -> None:
    send(event(ago=NOW, model="</script><script>alert(1)</script>"))
    assert "<script>alert" not in cast.owner.get(cast.url(), {"metric": "calls"}).content.decode()


def test_an_unknown_period_metric_or_panel_does_no_harm(cast: Cast, send: Send) -> None:
    send(event(ago=NOW))
    assert "Last 28 days" in cast.owner.get(cast.url(), {"period": "' OR 1", "metric": "x"}).content.decode()
    assert cast.owner.get(cast.url("home/nothing.csv")).status_code == 404


@pytest.mark.parametrize("path", ["", "live", "welcome", "projects", "home/days.csv", "projects/shuttle"])
def test_pages_of_an_organisation_are_for_its_members(cast: Cast, path: str) -> None:
    assert cast.owner.get(cast.url(path)).status_code == 200
    assert cast.stranger.get(cast.url(path)).status_code == 404
    answer = cast.nobody.get(cast.url(path))
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/login?next=")


def test_the_number_of_queries_does_not_grow_with_people_and_projects(
    cast: Cast, send: Send, django_assert_max_num_queries: Callable[[int], CaptureQueriesContext]
) -> None:
    send(event(ago=NOW))
    cast.owner.get(cast.url())
    with django_assert_max_num_queries(36) as first:
        assert cast.owner.get(cast.url()).status_code == 200
    send(*(event(ago=NOW, model=f"model-{n}", user_id=str(cast.olive.id)) for n in range(12)))
    with django_assert_max_num_queries(len(first.captured_queries)):
        assert cast.owner.get(cast.url()).status_code == 200


def test_the_live_answer_carries_what_the_page_shows(cast: Cast, send: Send) -> None:
    send(event(), event())
    news = cast.owner.get(cast.url("live")).json()
    assert news["events"]["text"] == "2"
    assert news["ticks"][-1] + news["ticks"][-2] == 2
    assert news["spend"]["exact"] == "$0.003"


def test_every_number_leads_to_what_it_is_made_of(cast: Cast, send: Send) -> None:
    send(event(ago=NOW), event(ago=timedelta(days=3), model="claude-sonnet-4-5"), event(ago=NOW, status="error"))
    page = cast.owner.get(cast.url(), {"period": "7d"}).content.decode()
    links = {html.unescape(link) for link in re.findall(r'href="([^"]*/(?:usage|costs)\?[^"]*)"', page)}
    assert len(links) >= 10
    assert all("period=7d" in link for link in links)
    spend = re.search(r'class="mw-hero"><a[^>]*>(<data[^>]*>)', page)
    assert spend
    for link in links:
        answer = cast.owner.get(link)
        assert answer.status_code == 200, link
        if "filter" not in link and "metric" not in link and "/usage" in link:
            assert spend[1] in answer.content.decode(), f"{link} says another sum"


def test_days_are_stacked_by_model_team_or_project(cast: Cast, send: Send) -> None:
    send(event(ago=NOW), event(ago=NOW, model="claude-sonnet-4-5"))
    by_model = cast.owner.get(cast.url("home/days.csv")).content.decode()
    assert "claude-haiku-4-5" in by_model.splitlines()[0]
    by_project = cast.owner.get(cast.url("home/days.csv"), {"stack": "project", "metric": "calls"}).content.decode()
    assert by_project.splitlines()[0] == "day,Shuttle,all,four_weeks_earlier"
    assert by_project.splitlines()[-1].split(",")[1:3] == ["2", "2"]
    by_team = cast.owner.get(cast.url("home/days.csv"), {"stack": "team"}).content.decode()
    assert by_team.splitlines()[0] == "day,No team,all,four_weeks_earlier"
    part = cast.owner.get(cast.url(), {"stack": "project"}, headers={"HX-Target": "days"}).content.decode()
    assert "stacked by project" in part
    assert "<html" not in part
    assert cast.owner.get(cast.url(), {"stack": "nonsense"}).status_code == 200
