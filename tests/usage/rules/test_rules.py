"""A project's settings at ingest: what is refused, told of, dropped, hashed and added."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.projects.contracts import IngestRules
from apps.usage.contracts import EventCore, TelemetryEvent
from apps.usage.ingest.outside import forget_outside
from apps.usage.ingest.rules import _matcher, treated_metadata
from apps.usage.services import ingest, register_tag_key
from apps.usage.subscriptions import on_key_changed, on_settings_changed
from tests.cast import published
from tests.usage.engine.conftest import World, event, moment, rows, typed


@pytest.fixture(autouse=True)
def _tell_anew() -> None:
    forget_outside()


def send(world: World, rules: IngestRules | None, *events: Any) -> Any:
    return ingest(key=world.key_with(rules=rules), events=list(events))


def core(**fields: Any) -> EventCore:
    return EventCore(**event(**fields))


# ---------------------------------------------------------------- what is allowed
def test_an_event_of_a_model_that_is_not_allowed_is_refused_and_the_others_stay(world: World, drain) -> None:
    rules = IngestRules(allowed_models=("claude-haiku-*",), refuses=True)
    result = send(world, rules, typed(model="claude-haiku-4-5"), typed(model="claude-opus-5"), typed(model=None))
    assert (result.accepted, len(result.rejected)) == (2, 1)
    [refused] = result.rejected
    assert (refused.index, refused.code, refused.pointer) == (1, "model_not_allowed", "/events/1/model")
    drain()
    assert rows("SELECT DISTINCT t.model FROM usage_event e JOIN usage_what t ON t.id = e.what ORDER BY 1") == [
        ("",), ("claude-haiku-4-5",),
    ]  # fmt: skip


def test_an_event_outside_is_counted_and_told_of_once(world: World, drain) -> None:
    rules = IngestRules(allowed_models=("claude-haiku-*",), allowed_sources=frozenset({"claude_code"}))
    for _ in range(3):
        assert send(world, rules, typed(model="claude-opus-5", source="claude_code")).accepted == 1
    told = {"project_id": str(world.project_id), "key_id": str(world.key.key_id), "events": 1, "refused": False}
    assert published("usage.outside_settings") == [{**told, "rule": "model", "value": "claude-opus-5"}]
    drain()
    assert rows("SELECT count(*) FROM usage_event") == [(3,)]


def test_an_event_that_names_no_source_is_of_the_sdk(world: World) -> None:
    refuse = {"refuses": True}
    assert send(world, IngestRules(allowed_sources=frozenset({"sdk"}), **refuse), core()).rejected == []
    [refused] = send(world, IngestRules(allowed_sources=frozenset({"claude_code"}), **refuse), core()).rejected
    assert (refused.code, refused.pointer) == ("source_not_allowed", "/events/0/source")
    assert "'sdk'" in refused.detail


def test_a_single_event_is_held_to_the_rules_too(world: World) -> None:
    rules = IngestRules(allowed_models=("claude-haiku-*",), refuses=True)
    result = ingest(key=world.key_with(rules=rules), events=[core()], check_nul=False)
    assert (result.accepted, [each.code for each in result.rejected]) == (0, ["model_not_allowed"])


def test_made_up_names_are_told_of_five_times_and_no_more(world: World) -> None:
    rules = IngestRules(allowed_models=("claude-*",))
    send(world, rules, *(typed(model=f"made-up-{n}") for n in range(30)))
    assert len(published("usage.outside_settings")) == 5


def test_what_is_refused_for_another_reason_is_not_told_of(world: World) -> None:
    rules = IngestRules(allowed_models=("claude-*",), refuses=True)
    [refused] = send(world, rules, typed(model="gpt", timestamp=moment(days=30))).rejected
    assert refused.code == "timestamp_too_old"
    assert published("usage.outside_settings") == []


NAMES = st.text("abC.-[]()|?+$^\\", max_size=4)


@given(NAMES, NAMES)
def test_a_pattern_without_a_star_means_itself_in_any_case(pattern: str, name: str) -> None:
    assert (_matcher((pattern,)).fullmatch(name) is not None) == (pattern.lower() == name.lower())


@given(NAMES, st.text(max_size=10), NAMES)
def test_a_star_stands_for_any_characters(start: str, middle: str, end: str) -> None:
    assert _matcher((f"{start}*{end}",)).fullmatch(start + middle + end)


# ---------------------------------------------------------------- what may be kept
def test_metadata_is_dropped_and_hashed_before_tags_are_read(world: World, drain) -> None:
    register_tag_key(org_id=world.org_id, key="customer")
    rules = IngestRules(metadata_drop=frozenset({"prompt"}), metadata_hash=frozenset({"customer"}), hash_salt="s")
    send(world, rules, typed(metadata=json.dumps({"prompt": "secret", "customer": "Acme", "n": 1}).encode()))
    drain()
    [(kept,)] = rows("SELECT metadata FROM usage_event")
    data = json.loads(kept)
    assert data.keys() == {"customer", "n"}
    assert data["customer"].startswith("h:")
    assert "Acme" not in kept
    assert rows("SELECT tags->>'customer' FROM usage_tagset") == [(data["customer"],)]


def test_only_tag_keys_are_kept_or_nothing() -> None:
    raw = [b'{"customer": "Acme", "note": "x"}', b"", b'{"note": "x"}']
    assert treated_metadata(raw, IngestRules(metadata="tags"), ("customer",)) == [b'{"customer":"Acme"}', b"", b""]
    assert treated_metadata(raw, IngestRules(metadata="drop"), ("customer",)) == [b"", b"", b""]


def test_a_hash_is_of_its_project_and_of_its_key() -> None:
    raw = [b'{"a": "x", "b": "x", "c": null}']
    names = frozenset({"a", "b", "c"})
    ours, theirs = (
        json.loads(treated_metadata(raw, IngestRules(metadata_hash=names, hash_salt=salt), ())[0])
        for salt in ("ours", "theirs")
    )
    assert len({ours["a"], ours["b"], theirs["a"], theirs["b"]}) == 4
    assert ours["c"] is None
    again = treated_metadata(raw, IngestRules(metadata_hash=names, hash_salt="ours"), ())
    assert json.loads(again[0]) == ours


def telemetry(**fields: Any) -> TelemetryEvent:
    return TelemetryEvent(**event(**fields))


def test_without_attribution_by_address_nobody_is_made_of_one(world: World, drain) -> None:
    key = world.key_with(owner_id=world.bob, rules=IngestRules(email_attribution=False))
    told = [telemetry(user_email="guest@elsewhere.test"), telemetry(user_email="alice@acme.test")]
    ingest(key=key, events=told)
    drain()
    assert rows("SELECT DISTINCT w.person_id FROM usage_event e JOIN usage_who w ON w.id = e.who") == [(world.bob,)]
    assert rows("SELECT count(*) FROM usage_person WHERE email LIKE '%%elsewhere%%'") == [(0,)]


# ---------------------------------------------------------------- what is added
def test_default_tags_are_for_events_that_lack_them(world: World, drain) -> None:
    for key in ("environment", "region"):
        register_tag_key(org_id=world.org_id, key=key)
    rules = IngestRules(default_tags=(("environment", "staging"), ("region", "eu"), ("unknown", "x")))
    send(world, rules, typed(metadata=b'{"region": "us"}'), typed())
    send(world, rules, core())
    drain()
    found = rows("SELECT g.tags FROM usage_event e JOIN usage_who w ON w.id = e.who JOIN usage_tagset g"
                 " ON g.id = w.tagset")  # fmt: skip
    tags = [each if isinstance(each, dict) else json.loads(each) for (each,) in found]
    assert sorted(tags, key=lambda each: each["region"]) == [
        {"environment": "staging", "region": "eu"}, {"environment": "staging", "region": "eu"},
        {"environment": "staging", "region": "us"},
    ]  # fmt: skip


def test_a_single_event_gets_default_tags_by_the_short_way_too(world: World) -> None:
    from apps.core.clock import now
    from apps.usage.services import take

    for key in ("environment", "region"):
        register_tag_key(org_id=world.org_id, key=key)
    key = world.key_with(rules=IngestRules(default_tags=(("environment", "staging"),)))
    for one in (core(), core(metadata=b'{"region": "us"}')):
        at = now()
        short, long = (take(key=key, events=[one], received_at=at, check_nul=nul) for nul in (False, True))
        assert short.parts[0].frame == long.parts[0].frame


def test_rules_that_ask_nothing_make_the_same_frame(world: World) -> None:
    from apps.core.clock import now
    from apps.usage.services import take

    events, at = [typed(metadata=b'{"a": 1}') for _ in range(3)], now()
    plain = take(key=world.key, events=events, received_at=at)
    idle = take(key=world.key_with(rules=IngestRules()), events=events, received_at=at)
    assert [part.frame for part in plain.parts] == [part.frame for part in idle.parts]


# ---------------------------------------------------------------- how long raw events are kept
def test_a_project_may_keep_raw_events_for_less_and_counts_them_all(world: World, drain) -> None:
    from apps.projects.services import create_project, update_project_settings

    other = create_project(org_id=world.org_id, name="Other")
    update_project_settings(org_id=world.org_id, project_id=other.id, changes={"raw_retention_days": 2})
    old = {"timestamp": moment(days=3)}
    ingest(key=world.key_with(project_id=other.id), events=[typed(**old), typed()])
    ingest(key=world.key, events=[typed(**old), typed()])
    drain()
    kept = rows("SELECT w.project_id, e.drop_on - e.ts::date FROM usage_event e JOIN usage_who w ON w.id = e.who")
    assert sorted(days for project, days in kept if project == other.id) == [3]
    assert sorted(days for project, days in kept if project == world.project_id) == [8, 8]
    assert rows("SELECT sum(events) FROM usage_delta") == [(4,)]


# ---------------------------------------------------------------- tags that projects bring along
class Told:
    def __init__(self, world: World, **data: Any) -> None:
        self.org_id, self.data = world.org_id, data


def tag_keys(world: World) -> list[str]:
    return [key for (key,) in rows("SELECT key FROM usage_tag_key WHERE org_id = %s ORDER BY key", world.org_id)]


def test_usage_is_counted_by_the_tags_that_projects_give(world: World) -> None:
    told = Told(world, changed=["default_tags"], tag_keys=["cost_center", "region"])
    for _ in range(2):
        on_settings_changed(told)
    assert tag_keys(world) == ["cost_center", "region"]
    on_settings_changed(Told(world, changed=["outside"], tag_keys=["later"]))
    assert tag_keys(world) == ["cost_center", "region"]


def test_the_first_key_of_an_environment_has_usage_counted_by_environments(world: World) -> None:
    from apps.projects.services import create_api_key

    make = {"org_id": world.org_id, "project_id": world.project_id, "scopes": ["ingest"]}
    plain, _ = create_api_key(**make, name="plain")
    on_key_changed(Told(world, key_id=str(plain.id)))
    assert tag_keys(world) == []
    staging, _ = create_api_key(**make, name="staging", environment="staging")
    for _ in range(2):
        on_key_changed(Told(world, key_id=str(staging.id)))
    assert tag_keys(world) == ["environment"]


def test_a_full_list_of_tag_keys_is_left_to_people(world: World) -> None:
    for n in range(20):
        register_tag_key(org_id=world.org_id, key=f"key{n:02}")
    on_settings_changed(Told(world, changed=["default_tags"], tag_keys=["one_more"]))
    assert "one_more" not in tag_keys(world)
