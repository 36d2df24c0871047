"""What was counted is priced again: raw events and rollups alike, once, also after a break."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command

from apps.accounts.services import update_organization
from apps.core import clock
from apps.core.tenancy import org_scope, system_scope
from apps.events.contracts import Envelope
from apps.projects.services import create_project, update_project_settings
from apps.usage import chunks, rebuild, repricing, store
from apps.usage.drain import fold
from apps.usage.drain.merge import merge_chunks
from apps.usage.drain.rows import delta_packs
from apps.usage.drain.shard import drain_now
from apps.usage.ingest.attribution import forget_directories
from apps.usage.pricing.book import forget_book
from apps.usage.pricing.writes import price_set
from apps.usage.rebuild import check_rollups, rebuild_rollups
from apps.usage.repricing import reprice, reprice_start
from apps.usage.selectors.event import event_explained
from apps.usage.services import ingest
from apps.usage.subscriptions import on_price_changed
from tests.usage.engine.conftest import World, make_world, moment, rows, typed, value

UNITS = {
    "input": Decimal(2), "output": Decimal(10), "cache_read": Decimal("0.2"), "cache_write_5m": Decimal("2.5"),
    "cache_write_1h": Decimal(4), "web_search": Decimal("0.01"),
}  # fmt: skip


def set_price(model: str = "brand-new", *, org_id: UUID | None = None, **changes: Any) -> UUID:
    found = price_set(
        model=model,
        valid_from=datetime(2025, 1, 1, tzinfo=UTC),
        units={**UNITS, **changes},
        source="test",
        org_id=org_id,
    )
    forget_book()
    return found


def count(world: World, *events: Any, **options: Any) -> None:
    assert not ingest(key=options.pop("key", world.key), events=list(events), **options).rejected
    drain_now()


def run(**options: Any) -> UUID:
    run_id = reprice_start(**options)
    assert reprice(run_id)
    return run_id


def all_grains() -> list[tuple[Any, ...]]:
    """Cost and unpriced in the raw events, and in each rollup with what is not folded."""
    raw = rows("SELECT sum(cost_nano), count(*) FILTER (WHERE flags & 8 > 0) FROM usage_event")
    rolled = [
        rows(
            f"SELECT sum(cost_nano), sum(unpriced) FROM (SELECT cost_nano, unpriced FROM usage_rollup_{table}"
            " UNION ALL SELECT cost_nano, unpriced FROM usage_delta) s"
        )[0]
        for table in ("minute", "quarter", "day")
    ]
    return [tuple(int(number or 0) for number in row) for row in (*raw, *rolled)]


def session_costs() -> int:
    return int(
        value(
            "SELECT coalesce(sum(cost_nano), 0) FROM (SELECT cost_nano FROM usage_session UNION ALL"
            " SELECT cost_nano FROM usage_session_delta) s"
        )
    )


def test_events_without_a_price_get_the_one_that_arrives(world: World) -> None:
    count(world, *(typed(model="brand-new", input_tokens=1000, output_tokens=100, session_id="s") for _ in range(5)))
    assert all_grains() == [(0, 5)] * 4
    set_price()
    data = {"model": "brand-new", "valid_from": "2025-01-01T00:00:00+00:00", "valid_to": None}
    on_price_changed(cast(Envelope, SimpleNamespace(org_id=None, data=data)))
    while repricing.reprice_step():
        pass
    assert all_grains() == [(5 * 3_000_000, 0)] * 4
    assert session_costs() == 5 * 3_000_000
    assert value("SELECT count(*) FROM audit_entry WHERE action = 'usage.repriced'") == 1


def test_raw_events_and_rollups_agree_after_any_repricing_and_a_second_one_changes_nothing(world: World) -> None:
    rng = random.Random(7)
    models = ["claude-opus-5", "brand-new", "other", None]
    for _ in range(6):
        count(
            world,
            *(
                typed(
                    model=rng.choice(models), input_tokens=rng.randrange(200_000), output_tokens=rng.randrange(5000),
                    cache_read_input_tokens=rng.randrange(3000), timestamp=moment(hours=rng.randrange(150)),
                    cost_usd=rng.choice([None, 0.25]), session_id=rng.choice([None, "a", "b"]),
                    event_type=rng.choice(["api_call", "mcp_tool"]), status=rng.choice(["ok", "error"]),
                )
                for _ in range(40)
            ),
        )  # fmt: skip
        if rng.random() < 0.5:
            fold.fold_all()
    set_price("brand-new", input=Decimal("2.000000000001"))
    set_price("claude-opus-5", org_id=world.org_id, input=Decimal(1))
    run(org_id=world.org_id)
    grains = all_grains()
    assert len(set(grains)) == 1
    assert session_costs() == value("SELECT sum(cost_nano) FROM usage_event WHERE session <> 0")
    again = run(org_id=world.org_id)
    assert value("SELECT changed FROM usage_reprice WHERE id = %s", again) == 0
    assert all_grains() == grains
    with org_scope(world.org_id):
        today = clock.now().date()
        assert check_rollups(org_id=world.org_id, first=today - timedelta(days=5), last=today) == []


def test_only_unpriced_leaves_alone_what_has_a_cost(world: World) -> None:
    count(world, typed(model="claude-opus-5", input_tokens=1000), typed(model="brand-new", input_tokens=1000))
    before = value("SELECT sum(cost_nano) FROM usage_event")
    set_price()
    set_price("claude-opus-5", org_id=world.org_id)
    run(only_unpriced=True)
    assert value("SELECT sum(cost_nano) FROM usage_event") == before + 2_000_000 + 100_000


def test_a_run_goes_on_where_it_was_broken_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(6):
        count(world, *(typed(model="brand-new", input_tokens=1000, output_tokens=0) for _ in range(3)))
    set_price()
    run_id = reprice_start(model="brand-new")
    turns = iter(range(100))
    assert not reprice(run_id, enough=lambda: next(turns) > 3)
    halfway = all_grains()
    assert len(set(halfway)) == 1
    assert 0 < halfway[0][0] < 18 * 2_000_000
    assert reprice(run_id)
    assert all_grains() == [(18 * 2_000_000, 0)] * 4
    assert value("SELECT changed FROM usage_reprice WHERE id = %s", run_id) == 18


def test_chunks_that_are_merged_meanwhile_are_priced_once(world: World) -> None:
    for _ in range(20):
        count(world, typed(model="brand-new", input_tokens=1000, output_tokens=0))
    set_price()
    run_id = reprice_start()
    turns = iter(range(100))
    assert not reprice(run_id, enough=lambda: next(turns) > 7)
    assert merge_chunks() > 0
    assert reprice(run_id)
    assert all_grains() == [(20 * 2_000_000, 0)] * 4


def test_time_whose_raw_events_are_gone_is_priced_by_its_sums(world: World) -> None:
    key = world.key_with(scopes=frozenset({"ingest", "backfill"}))
    old = [typed(model="brand-new", input_tokens=1000, output_tokens=0, timestamp=moment(days=60)) for _ in range(4)]
    count(world, *old, typed(model="brand-new", input_tokens=1000, output_tokens=0), key=key)
    fold.fold_all()
    set_price()
    run()
    fold.fold_all()
    assert rows("SELECT sum(cost_nano), sum(unpriced) FROM usage_rollup_quarter") == [(10_000_000, 0)]
    assert rows("SELECT sum(cost_nano), sum(unpriced) FROM usage_rollup_day") == [(10_000_000, 0)]
    run()
    assert value("SELECT sum(cost_nano) FROM usage_delta") in (None, 0)


def keep_for(world: World, project_id: UUID, days: int) -> None:
    update_project_settings(org_id=world.org_id, project_id=project_id, changes={"raw_retention_days": days})


def test_a_project_that_keeps_less_is_priced_by_its_sums_and_the_others_by_their_events(world: World) -> None:
    short = create_project(org_id=world.org_id, name="Short").id
    keep_for(world, short, 2)
    forget_directories()
    old = {"model": "brand-new", "input_tokens": 1000, "output_tokens": 0, "timestamp": moment(days=4)}
    count(world, typed(**old), typed(**old), key=world.key_with(project_id=short))
    count(world, typed(**old))
    assert value("SELECT count(*) FROM usage_event") == 1, "of the one that keeps it"
    # A time that is set later takes nothing away that is kept: priced by events, once.
    keep_for(world, world.project_id, 2)
    fold.fold_all()
    set_price()
    for _ in range(2):
        run()
        fold.fold_all()
        assert rows("SELECT sum(cost_nano), sum(unpriced) FROM usage_rollup_quarter") == [(6_000_000, 0)]
        assert value("SELECT sum(cost_nano) FROM usage_event") == 2_000_000
    day = (clock.now() - timedelta(days=4)).date().isoformat()
    with pytest.raises(CommandError, match="Raw events are kept for 2 days"):
        call_command("rebuild_rollups", "--org", "acme", "--from", day, "--to", day)


def test_what_is_kept_is_known_though_retention_was_another_when_events_came(world: World) -> None:
    def org_keeps(days: int) -> None:
        with system_scope("test"):
            update_organization(org_id=world.org_id, changes={"raw_retention_days": days})

    # One person and one quarter-hour, of which two events were not kept and one was.
    old = {"model": "brand-new", "input_tokens": 1000, "output_tokens": 0, "timestamp": moment(days=4)}
    org_keeps(2)
    count(world, typed(**old), typed(**old))
    org_keeps(30)
    count(world, typed(**old))
    org_keeps(3)
    fold.fold_all()
    set_price()
    for _ in range(2):
        run()
        fold.fold_all()
        assert rows("SELECT sum(cost_nano), sum(unpriced) FROM usage_rollup_quarter") == [(6_000_000, 0)]
        assert value("SELECT sum(cost_nano) FROM usage_event") == 2_000_000
    org_keeps(30)
    day = (clock.now() - timedelta(days=4)).date()
    days = ("--org", "acme", "--from", day.isoformat(), "--to", day.isoformat())
    with pytest.raises(CommandError, match="3 events, of which raw events are kept of 1"):
        call_command("rebuild_rollups", *days)
    assert value("SELECT sum(events) FROM usage_rollup_day") == 3
    call_command("rebuild_rollups", *days, "--fewer")
    fold.fold_all()
    assert value("SELECT sum(events) FROM usage_rollup_day") == 1


def test_chunks_that_are_merged_while_rollups_are_made_anew_count_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(17):
        count(world, typed())
    monkeypatch.setattr(chunks, "_AT_ONCE", 5)
    merged: list[int] = []

    def merging(events: Any) -> bytes:
        merged.append(merge_chunks())
        return delta_packs(events)

    monkeypatch.setattr(rebuild, "delta_packs", merging)
    today = clock.now().date()
    with org_scope(world.org_id):
        assert rebuild_rollups(org_id=world.org_id, first=today - timedelta(days=1), last=today) == 17
    assert merged[0] == 16
    assert value("SELECT sum(events) FROM usage_delta") == 17


def test_a_run_that_failed_is_resumed_and_one_that_waits_for_the_drain_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    count(world, typed(model="brand-new"))
    ingest(key=world.key, events=[typed(model="brand-new")])
    set_price()
    monkeypatch.setattr(repricing, "_WAIT_SECONDS", 0.05)
    run_id = reprice_start(model="brand-new")
    assert not reprice(run_id), "an event of before is not counted yet"
    drain_now()
    with monkeypatch.context() as broken:
        broken.setattr(repricing, "_finish", lambda run: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            reprice(run_id)
    call_command("reprice", "--resume", str(run_id))
    assert rows("SELECT state, changed, error FROM usage_reprice") == [("completed", 2, "")]
    with pytest.raises(CommandError, match="completed already"):
        call_command("reprice", "--resume", str(run_id))


def test_a_run_that_waits_does_not_hold_up_the_next(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    other = make_world("other")
    count(other, typed(model="brand-new"))
    ingest(key=world.key, events=[typed(model="brand-new")])
    set_price()
    monkeypatch.setattr(repricing, "_WAIT_SECONDS", 0.05)
    waits, goes = (reprice_start(org_id=each.org_id, model="brand-new") for each in (world, other))
    assert repricing.reprice_step() == {"done": 1}
    states = {run_id: value("SELECT state FROM usage_reprice WHERE id = %s", run_id) for run_id in (waits, goes)}
    assert states == {waits: "running", goes: "completed"}
    drain_now()
    assert repricing.reprice_step() == {"done": 1}
    assert repricing.reprice_step() == {}
    # These are the first events that anybody has seen of the organisation.
    assert rows("SELECT changed FROM usage_reprice WHERE id = %s", waits) == [(1,)]


def test_what_a_client_knows_better_keeps_its_cost(world: World) -> None:
    count(
        world,
        typed(model="brand-new", cost_usd=0.5, source="claude_code"),
        typed(model="brand-new", cost_usd=0.5, input_tokens=1000, output_tokens=0),
    )
    set_price()
    run()
    assert sorted(row[0] for row in rows("SELECT cost_nano FROM usage_event")) == [2_000_000, 500_000_000]


def test_an_event_explains_its_cost(world: World) -> None:
    own = str(uuid4())
    count(world, typed(event_id=own, model="brand-new", input_tokens=1_000_000, output_tokens=3))
    with org_scope(world.org_id):
        before = event_explained(org_id=world.org_id, event_id=UUID(own))
        set_price(output=Decimal("0.1"))
        run()
        after = event_explained(org_id=world.org_id, event_id=UUID(own))
        assert event_explained(org_id=world.org_id, event_id=uuid4()) is None
    assert before
    assert after
    assert (before["cost_usd"], before["cost_explanation"]["price"]) == (None, None)
    explained = after["cost_explanation"]
    assert [(line["kind"], line["quantity"], line["usd"]) for line in explained["lines"]] == [
        ("input", 1_000_000, "2"), ("output", 3, "0.0000003"),
    ]  # fmt: skip
    assert explained["book_cost_usd"] == after["cost_usd"] == "2.0000003"
    assert explained["price"]["source"] == "test"


def test_rollups_made_anew_equal_those_that_grew(world: World) -> None:
    rng = random.Random(3)
    for _ in range(4):
        count(
            world,
            *(
                typed(timestamp=moment(minutes=rng.randrange(4000)), input_tokens=rng.randrange(1000),
                      latency_ms=rng.choice([None, 5, 700]), model=rng.choice(["claude-opus-5", "nobody"]))
                for _ in range(50)
            ),
        )  # fmt: skip
        fold.fold_all()
    number, today = store.org_number(world.org_id), clock.now().date()
    first = today - timedelta(days=4)

    def sums() -> list[Any]:
        fold.fold_all()
        return [
            rows(
                f"SELECT {column}, who, what, sum(events), sum(input_tokens), sum(cost_nano), sum(unpriced),"
                f" sum(latency_count), sum(latency_ms), sum(length(usage_hist_compact(latency_hist)))"
                f" FROM usage_rollup_{table} WHERE org = {number} GROUP BY 1, 2, 3 HAVING sum(events) > 0"
                " ORDER BY 1, 2, 3"
            )
            for table, column in (("minute", "bucket"), ("quarter", "bucket"), ("day", "day"))
        ]

    fold.compact_quarters()
    before = [[row[:9] for row in table] for table in sums()]
    with org_scope(world.org_id):
        assert rebuild_rollups(org_id=world.org_id, first=first, last=today) == 200
        assert [[row[:9] for row in table] for table in sums()] == before
        assert check_rollups(org_id=world.org_id, first=first, last=today) == []


def test_the_check_names_what_differs_and_a_rebuild_mends_it(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    count(world, typed(input_tokens=10), typed(input_tokens=20))
    fold.fold_all()
    rows("UPDATE usage_rollup_quarter SET input_tokens = input_tokens + 1 RETURNING 1")
    today = clock.now().date().isoformat()
    with pytest.raises(CommandError, match="1 sums differ"):
        call_command("rebuild_rollups", "--org", "acme", "--from", today, "--to", today, "--check")
    assert "quarter input_tokens: 31 in the rollups, 30 raw" in capsys.readouterr().out
    call_command("rebuild_rollups", "--org", "acme", "--from", today, "--to", today)
    call_command("rebuild_rollups", "--org", "acme", "--from", today, "--to", today, "--check")
    assert "All sums agree" in capsys.readouterr().out


def test_days_whose_raw_events_may_be_gone_are_refused(world: World) -> None:
    count(world, typed())
    with pytest.raises(CommandError, match="Raw events are kept for 7 days"):
        call_command("rebuild_rollups", "--org", "acme", "--from", "2026-01-01", "--to", "2026-01-02")


def test_the_command_prices_and_says_what_it_did(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    count(world, typed(model="brand-new", input_tokens=1000, output_tokens=0))
    set_price()
    call_command("reprice", "--org", "acme", "--model", "Brand-New", "--from", "2026-01-01", "--reason", "asked for")
    assert "1 events looked at, 1 changed: 0.000000 USD became 0.002000 USD" in capsys.readouterr().out
    with pytest.raises(CommandError, match="no organisation"):
        call_command("reprice", "--org", "nobody")


def test_the_api_queues_a_repricing_of_its_own_organisation(world: World, client: Any) -> None:
    from django.contrib.auth import get_user_model

    from apps.accounts.models import Membership
    from apps.core.tenancy import system_scope

    with system_scope("test"):
        Membership.objects.filter(user_id=world.alice).update(role="admin")
        client.force_login(get_user_model().objects.get(pk=world.alice))
    headers = {"X-Org-Id": str(world.org_id)}
    answer = client.post("/v1/reprices", {"model": "brand-new"}, content_type="application/json", headers=headers)
    assert (answer.status_code, answer.json()["state"], answer.json()["only_unpriced"]) == (202, "queued", True)
    shown = client.get(f"/v1/reprices/{answer.json()['id']}", headers=headers).json()
    assert shown["id"] == answer.json()["id"]
    assert client.get("/v1/reprices", headers=headers).json()["data"] == [shown]
