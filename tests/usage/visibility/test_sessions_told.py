"""``usage.session_started`` and ``usage.session_ended``: each told once."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.core import clock
from apps.usage.drain.fold import fold_sessions
from apps.usage.drain.shard import drain_now
from apps.usage.services import ingest
from apps.usage.sessions import tell_sessions
from tests.cast import published
from tests.usage.engine.conftest import World, moment, rows, typed

pytestmark = pytest.mark.django_db


def count(world: World, *events: Any) -> None:
    """Take events in, count them, fold their sessions."""
    ingest(key=world.key, events=list(events))
    drain_now()
    fold_sessions()


def after(**later: float) -> Any:
    return clock.freeze(datetime.now(UTC) + timedelta(**later))


def told(name: str) -> list[dict[str, Any]]:
    return published(name)


def test_a_session_is_told_as_started_once_with_who_it_is_of(world: World) -> None:
    count(world, typed(session_id="s1", user_id=str(world.alice)), typed(session_id="s1"))
    assert tell_sessions() == {"started": 1, "ended": 0}
    assert tell_sessions() == {"started": 0, "ended": 0}
    count(world, typed(session_id="s1"))
    assert tell_sessions() == {"started": 0, "ended": 0}
    (data,) = told("usage.session_started")
    assert (data["session_id"], data["user_id"], data["restarted"]) == ("s1", str(world.alice), False)
    owners = "SELECT org_id FROM events_outbox WHERE type = 'usage.session_started'"
    assert rows(owners) == [(world.org_id,)]


def test_a_session_has_ended_when_it_was_idle_for_half_an_hour_and_tells_its_sums(world: World) -> None:
    first, last = moment(minutes=10), moment(minutes=1)
    count(world, typed(session_id="s1", timestamp=first), typed(session_id="s1", timestamp=last, status="error"))
    tell_sessions()
    with after(minutes=28):
        assert tell_sessions()["ended"] == 0
    with after(minutes=30):
        assert tell_sessions()["ended"] == 1
        assert tell_sessions()["ended"] == 0
    (data,) = told("usage.session_ended")
    assert data["ended_at"][:19] == last[:19]
    assert data["duration_ms"] // 1000 in (539, 540)
    assert (data["events"], data["calls"], data["errors"]) == (2, 2, 1)
    assert (data["input_tokens"], data["models"], data["cost_usd"]) == (200, ["claude-opus-5"], "0.001500")


def test_how_long_idle_is_a_setting(world: World, settings: Any) -> None:
    settings.USAGE_SESSION_IDLE_SECONDS = 60
    count(world, typed(session_id="s1", timestamp=moment(seconds=90)))
    assert tell_sessions() == {"started": 1, "ended": 1}


def test_a_session_that_goes_on_after_its_end_is_started_again(world: World) -> None:
    count(world, typed(session_id="s1", timestamp=moment(hours=2)))
    assert tell_sessions() == {"started": 1, "ended": 1}
    # Something late, from before its end, changes nothing.
    count(world, typed(session_id="s1", timestamp=moment(hours=3)))
    assert tell_sessions() == {"started": 0, "ended": 0}
    count(world, typed(session_id="s1"))
    assert tell_sessions() == {"started": 1, "ended": 0}
    assert [data["restarted"] for data in told("usage.session_started")] == [False, True]
    with after(hours=1):
        assert tell_sessions() == {"started": 0, "ended": 1}
    assert [data["events"] for data in told("usage.session_ended")] == [1, 3]


def test_what_waits_to_be_counted_or_folded_may_belong_to_a_session_that_seems_silent(world: World) -> None:
    count(world, typed(session_id="s1", timestamp=moment(minutes=40)))
    ingest(key=world.key, events=[typed(session_id="s2", timestamp=moment(minutes=40))])
    drain_now()
    rows("INSERT INTO usage_session_delta_pack (org, sessions, session, session_id, who, models, started_at, last_at)"
         " SELECT org, 1, ARRAY[id], ARRAY[session_id], ARRAY[who], '{x}', ARRAY[started_at], ARRAY[now()]"
         " FROM usage_session RETURNING 1")  # fmt: skip
    assert tell_sessions() == {"started": 1, "ended": 0}
    rows("DELETE FROM usage_session_delta_pack RETURNING 1")
    received = datetime.now(UTC) - timedelta(minutes=20)
    ingest(key=world.key, events=[typed(session_id="s1", timestamp=moment(minutes=20))], received_at=received)
    assert tell_sessions() == {"started": 0, "ended": 0}
    drain_now()
    rows("DELETE FROM usage_session_delta_pack RETURNING 1")
    assert tell_sessions() == {"started": 0, "ended": 1}


def test_history_is_no_news(world: World, drain: Callable[[], None]) -> None:
    count(world, typed(session_id="old", timestamp=moment(days=3)), typed(session_id="late", timestamp=moment(hours=5)))
    assert tell_sessions() == {"started": 1, "ended": 1}
    assert [data["session_id"] for data in told("usage.session_ended")] == ["late"]
    count(world, typed(session_id="old"))
    assert tell_sessions() == {"started": 1, "ended": 0}
    assert told("usage.session_started")[-1]["restarted"] is True


def test_many_at_once_are_told_in_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.usage.sessions.BATCH", 10)
    count(world, *(typed(session_id=f"s{n}", timestamp=moment(hours=1)) for n in range(35)))
    assert tell_sessions() == {"started": 35, "ended": 35}
    assert len({data["session_id"] for data in told("usage.session_ended")}) == 35
