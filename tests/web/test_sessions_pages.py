"""Sessions and raw events as pages: what they show, how they are paged, what they refuse to believe."""

import csv
import html
import io
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import quote

import pytest
from django.test.utils import CaptureQueriesContext

from apps.analytics.waterfall import waterfall
from apps.usage.contracts import EventIn
from tests.web.conftest import Cast, event

NOW = timedelta(seconds=1)
Send = Callable[..., None]
HOSTILE = '../"><script>alert(1)</script>/?a=1&b=%2F'


def changed(sent: EventIn, **fields: object) -> EventIn:
    return EventIn(**{**{name: getattr(sent, name) for name in sent.__struct_fields__}, **fields})


def of_session(session_id: str, ago: timedelta, **fields: object) -> EventIn:
    return changed(event(ago=ago), session_id=session_id, **fields)


def links(page: str, start: str) -> list[str]:
    return [
        html.unescape(link) for link in re.findall(r'href="([^"]+)"', page) if html.unescape(link).startswith(start)
    ]


# ---------------------------------------------------------------- sessions
def test_sessions_are_listed_with_their_sums_and_lead_to_one(cast: Cast, send: Send) -> None:
    send(
        of_session("s-1", timedelta(minutes=3)),
        of_session("s-1", timedelta(minutes=2), event_type="mcp_tool", mcp_tool="grep", model=None),
        of_session("s-2", timedelta(hours=3), status="error"),
    )
    page = cast.owner.get(cast.url("sessions")).content.decode()
    assert page.index("s-1") < page.index("s-2")
    assert "going on" in page
    assert "Shuttle" in page
    one = cast.owner.get(links(page, cast.url("session?id=s-1"))[0]).content.decode()
    assert "Olive in Shuttle" in one
    assert "grep" in one
    assert one.count('class="mw-bar') == 2


def test_sessions_are_found_by_person_project_state_and_period(cast: Cast, send: Send) -> None:
    send(of_session("s-now", NOW), of_session("s-old", timedelta(days=40)), of_session("s-ended", timedelta(hours=2)))

    def seen(**query: str) -> set[str]:
        text = cast.owner.get(cast.url("sessions"), query).content.decode()
        return {name for name in ("s-now", "s-old", "s-ended") if name in text}

    assert seen() == {"s-now", "s-ended"}
    assert seen(period="90d") == {"s-now", "s-old", "s-ended"}
    assert seen(state="active") == {"s-now"}
    assert seen(project=str(cast.project.id)) == {"s-now", "s-ended"}
    assert seen(user=str(cast.olive.id), state="ended") == {"s-ended"}
    assert seen(user="01a209e4-215f-7371-be17-514d2bfae41c") == set()
    rows = list(csv.DictReader(io.StringIO(cast.owner.get(cast.url("sessions.csv")).content.decode())))
    assert [row["session_id"] for row in rows] == ["s-now", "s-ended"]


def test_older_sessions_come_page_by_page(cast: Cast, send: Send) -> None:
    send(*(of_session(f"s-{n:03}", timedelta(minutes=n + 1)) for n in range(60)))
    first = cast.owner.get(cast.url("sessions")).content.decode()
    older = next(link for link in links(first, "?") if "after=" in link)
    second = cast.owner.get(cast.url("sessions") + older).content.decode()
    ids = re.findall(r"s-\d{3}(?=</span>)", first + second)
    assert ids == [f"s-{n:03}" for n in range(60)]
    assert "Newest" in second


def test_a_session_may_be_called_anything(cast: Cast, send: Send) -> None:
    send(of_session(HOSTILE, NOW, model=HOSTILE, metadata=b'{"x":"<script>alert(1)</script>"}'))
    for address in ("sessions", "events", f"session?id={quote(HOSTILE, safe='')}"):
        page = cast.owner.get(cast.url(address))
        assert page.status_code == 200
        assert "<script>alert" not in page.content.decode()
    listed = cast.owner.get(cast.url("sessions")).content.decode()
    one = cast.owner.get(links(listed, cast.url("session?id="))[0]).content.decode()
    assert "Olive in Shuttle" in one
    raw = next(link for link in links(one, cast.url("events?")) if "session=" in link)
    assert "1 shown" in cast.owner.get(raw).content.decode()


def test_a_call_of_a_session_explains_its_cost(cast: Cast, send: Send) -> None:
    call = of_session("s-1", NOW, latency_ms=2000)
    send(call)
    page = cast.owner.get(cast.url("session"), {"id": "s-1", "event": call.event_id}).content.decode()
    assert "What it cost" in page
    assert "Input" in page
    assert 'aria-current="true"' in page
    stray = event(ago=NOW)
    send(stray)
    other = cast.owner.get(cast.url("session"), {"id": "s-1", "event": stray.event_id}).content.decode()
    assert "What it cost" not in other


def test_a_long_session_is_shown_by_pages(cast: Cast, send: Send) -> None:
    send(*(of_session("s-1", timedelta(seconds=600 - n)) for n in range(250)))
    first = cast.owner.get(cast.url("session"), {"id": "s-1"}).content.decode()
    assert "200 steps on this page" in first
    second = cast.owner.get(
        cast.url("session") + next(link for link in links(first, "?id=") if "&after=" in link and "event=" not in link)
    )
    assert "50 steps on this page" in second.content.decode()


@pytest.mark.parametrize(
    "address", ["session", "session?id=", "session?id=nobody", "session?id=%00", "events/not-an-id"]
)
def test_what_is_not_there_is_not_found(cast: Cast, send: Send, address: str) -> None:
    send(of_session("s-1", NOW))
    assert cast.owner.get(cast.url(address)).status_code == 404


# ---------------------------------------------------------------- the drawing
def body(seconds: float, took_ms: int | None, **fields: object) -> dict[str, object]:
    at = datetime.fromtimestamp(1_790_000_000 + seconds).astimezone()
    return {
        "timestamp": at.isoformat(), "latency_ms": took_ms, "model": "m", "event_type": "api_call", "status": "ok",
        "mcp_tool": None, "mcp_server": None, "input_tokens": 100, "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0, "output_tokens": 7, "metadata": {}, **fields,
    }  # fmt: skip


def test_steps_lie_where_they_were_and_long_waits_are_not_drawn() -> None:
    drawn = waterfall([body(10, 10_000), body(15, 5_000), body(315, 5_000, status="error"), body(316, None)])
    assert [(step.x, step.width) for step in drawn.steps[:3]] == [(0.0, 476.2), (476.2, 238.1), (714.3, 238.1)]
    assert drawn.steps[3].width == 2.0
    assert [step.wait_ms for step in drawn.steps] == [None, None, 295_000, None]
    assert (drawn.busy_ms, drawn.waited_ms) == (21_000, 295_000)
    assert drawn.steps[2].failed
    assert drawn.axis[0] == ("0.00%", "0:00")


def test_a_call_is_pale_until_its_first_token_where_that_was_told() -> None:
    drawn = waterfall([
        body(10, 10_000, metadata={"ttft_ms": 2_500}), body(15, 5_000), body(20, 5_000, metadata={"ttft_ms": 9_000}),
        body(25, 5_000, metadata={"ttft_ms": "soon"}), body(30, 5_000, status="error", metadata={"ttft_ms": 100}),
    ])  # fmt: skip
    assert drawn.tells_first
    assert [step.first_ms for step in drawn.steps] == [2_500, None, None, None, None]
    assert drawn.steps[0].first_width == round(drawn.steps[0].width / 4, 1)
    assert not waterfall([body(10, 10_000)]).tells_first


def test_a_session_of_one_moment_and_of_none_can_be_drawn() -> None:
    assert waterfall([]).steps == []
    one = waterfall([body(0, None)])
    assert 0 <= one.steps[0].x <= 1000


def test_the_context_is_what_each_call_was_given_to_read() -> None:
    tool = body(10, 1_000, event_type="mcp_tool", model=None, mcp_tool="grep", input_tokens=0, output_tokens=0)
    drawn = waterfall([body(5, 5_000), tool, body(15, 5_000, cache_read_input_tokens=300)])
    assert drawn.context is not None
    assert (drawn.context.last, drawn.context.scale) == (400, 500)
    assert drawn.context.line == "M0 51.2H666.7V12.8H1000"
    assert (drawn.calls, drawn.tools, drawn.output_tokens) == (2, 1, 14)
    assert waterfall([body(0, 10)]).context is None


def test_the_dearest_step_is_explained_until_another_is_chosen(cast: Cast, send: Send) -> None:
    cheap, dear = of_session("s-1", timedelta(minutes=3)), of_session("s-1", timedelta(minutes=2), input_tokens=90_000)
    send(cheap, dear, of_session("s-1", NOW))
    page = cast.owner.get(cast.url("session?id=s-1")).content.decode()
    assert "Step 2 of 3" in page
    assert dear.event_id in page.split('id="call"')[1]
    before, after = (link for link in links(page.split('id="call"')[1], "?"))
    first = cast.owner.get(cast.url(f"session{before}")).content.decode()
    assert "Step 1 of 3" in first
    assert cheap.event_id in first.split('id="call"')[1]
    assert "The step before" not in first
    assert "Step 3 of 3" in cast.owner.get(cast.url(f"session{after}")).content.decode()


# ---------------------------------------------------------------- raw events
def test_events_are_found_by_any_field(cast: Cast, send: Send) -> None:
    first = of_session("s-1", NOW, request_id="req_1", latency_ms=1234)
    send(first, event(ago=timedelta(minutes=5), model="claude-sonnet-4-5", status="error"))

    def shown(**query: str) -> int:
        return cast.owner.get(cast.url("events"), query).content.decode().count(f'href="{cast.url("events/")}')

    assert shown() == 2
    assert (
        shown(model="claude-sonnet-4-5") == shown(status="error") == shown(request="req_1") == shown(session="s-1") == 1
    )
    assert shown(type="mcp_tool") == 0
    assert shown(user=str(cast.olive.id), project=str(cast.project.id)) == 2
    answer = cast.owner.get(cast.url("events"), {"id": first.event_id})
    assert answer.headers["Location"] == cast.url(f"events/{first.event_id}")
    one = cast.owner.get(answer.headers["Location"]).content.decode()
    assert "1.23 s" in one
    assert "req_1" in one
    assert "Its session" in one
    assert "That is no event id" in cast.owner.get(cast.url("events"), {"id": "nonsense"}).content.decode()
    rows = list(csv.DictReader(io.StringIO(cast.owner.get(cast.url("events.csv")).content.decode())))
    assert [row["status"] for row in rows] == ["ok", "error"]


def test_events_are_paged_without_a_gap(cast: Cast, send: Send) -> None:
    send(*(event(ago=timedelta(minutes=n + 1)) for n in range(60)))
    first = cast.owner.get(cast.url("events")).content.decode()
    second = cast.owner.get(cast.url("events") + next(link for link in links(first, "?") if "after=" in link))
    ids = [link for page in (first, second.content.decode()) for link in links(page, cast.url("events/"))]
    assert len(ids) == len(set(ids)) == 60


@pytest.mark.parametrize(
    "query", ["after=x", "after=2026-01-01T00:00:00Z~x", "type=x&status=x&user=x&period=x", "session=%00"]
)
def test_an_address_that_means_nothing_is_the_plain_list(cast: Cast, send: Send, query: str) -> None:
    send(of_session("s-1", NOW))
    assert cast.owner.get(f"{cast.url('events')}?{query}").status_code == 200
    assert cast.owner.get(f"{cast.url('sessions')}?{query}").status_code == 200


def test_nobody_else_sees_them(cast: Cast, send: Send) -> None:
    sent = of_session("s-1", NOW)
    send(sent)
    for address in ("sessions", "session?id=s-1", "events", f"events/{sent.event_id}", "sessions.csv", "events.csv"):
        assert cast.viewer.get(cast.url(address)).status_code == 200
        assert cast.stranger.get(cast.url(address)).status_code == 404
        assert cast.nobody.get(cast.url(address)).status_code == 302


def test_the_number_of_queries_does_not_grow(
    cast: Cast, send: Send, django_assert_max_num_queries: Callable[..., CaptureQueriesContext]
) -> None:
    send(*(of_session(f"s-{n % 9}", timedelta(minutes=n + 1)) for n in range(45)))
    for address in ("sessions", "events", "session?id=s-1"):
        cast.owner.get(cast.url(address))
        with django_assert_max_num_queries(25):
            cast.owner.get(cast.url(address))
