"""Batches that wait for each other are computed together, and become what each would by itself."""

import threading
from fractions import Fraction
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core import clock
from apps.projects.contracts import IngestRules, KeyContext
from apps.usage import services
from apps.usage.contracts import CacheCreation, EventCore, EventIn, ServerToolUse
from apps.usage.errors import InboxFull
from apps.usage.ingest.attribution import Directory
from apps.usage.ingest.batch import Window
from apps.usage.ingest.columns import Built, build
from apps.usage.ingest.frame import NO_SESSION, unpack
from apps.usage.ingest.inbox import gauge
from apps.usage.ingest.together import Part, build_together, fits
from apps.usage.pricing.book import TOKEN_KINDS, PriceBook, PriceRow
from apps.usage.services import SentBatch, ingest_batch
from tests.usage.engine.conftest import World, event, make_world, moment, value
from tests.usage.engine.shapes import ALICE, shapes
from tests.usage.visibility.test_metrics import scrape

UNITS = {kind: Fraction(number + 1, 7) for number, kind in enumerate(TOKEN_KINDS)}
OWN_PRICES = 77


def priced(patch: pytest.MonkeyPatch) -> None:
    """A list price, and one of an organisation's own."""
    book = PriceBook(
        [
            PriceRow("claude-opus-5", None, 0, 2**62, UNITS, {"context:>100k": Fraction(2)}, "list"),
            PriceRow("claude-opus-5", UUID(int=OWN_PRICES), 0, 2**62, UNITS, {}, "contract"),
        ]
    )
    for module in ("what", "single", "together"):
        patch.setattr(f"apps.usage.ingest.{module}.get_book", lambda: book)


def part_of(number: int, events: list[EventCore], tag_keys: tuple[str, ...] = (), **key_options: Any) -> Part:
    """A batch of organisation ``number``."""
    options = {"team_id": None, "rules": None, "org_id": UUID(int=number), **key_options}
    key = KeyContext(
        key_id=UUID(int=1000 + number), project_id=UUID(int=2000 + number), name="k", prefix="mw",
        scopes=frozenset({"ingest"}), owner_id=None, project_team_id=None, rate_limit_per_minute=0, unlimited=True,
        **options,
    )  # fmt: skip
    directory = Directory(key.org_id, {str(ALICE): ALICE}, {}, {ALICE: UUID(int=3000 + number)}, tag_keys)
    return Part(events, key, directory, Window.of(key, clock.now()))


def events_of(found: list[dict[str, Any]]) -> list[EventCore]:
    return [EventCore(**{**shape, "metadata": msgspec.Raw(shape["metadata"])}) for shape in found]


def widened(events: list[EventCore], more: list[dict[str, Any]]) -> list[EventCore]:
    """The events with these fields in turn, where there are any."""
    return [
        EventIn(**msgspec.structs.asdict(one), **more[number % len(more)]) if more else one
        for number, one in enumerate(events)
    ]


def rarer() -> st.SearchStrategy[dict[str, Any]]:
    """Fields that few events have."""
    words = st.sampled_from([None, "", "batch", "us", "fast", "overloaded_error", "tool_use", "unheard-of"])
    names = ("service_tier", "inference_geo", "speed", "error_type", "stop_reason", "mcp_server", "mcp_tool", "source")
    count = st.integers(0, 1000)
    return st.fixed_dictionaries(
        {
            **dict.fromkeys(names, words),
            "cache_creation": st.one_of(st.none(), st.builds(CacheCreation, count, count)),
            "server_tool_use": st.one_of(st.none(), st.builds(ServerToolUse, count, count)),
        }
    )


def told(built: Built) -> list[tuple[Any, ...]]:
    """Each event of a frame, with what its positions in the dictionaries stand for."""
    [frame] = unpack(built.frame)
    header, records = frame.header, frame.records
    texts = [column.texts() if column is not None else [b""] * len(records) for column in frame.texts]
    out = []
    for number, record in enumerate(records.tolist()):
        one = dict(zip(records.dtype.names or (), record, strict=True))
        session = one.pop("session")
        out.append(
            (
                header.whos[one.pop("who")], header.whats[one.pop("what")],
                header.sessions[session] if session != NO_SESSION else None, one, *(column[number] for column in texts),
            )
        )  # fmt: skip
    assert set(header.whos) == {row[0] for row in out}
    assert set(header.whats) == {row[1] for row in out}
    return out


def alone(part: Part) -> Built:
    return build(part.events, key=part.key, directory=part.directory, window=part.window, check_nul=False)


@settings(max_examples=40, deadline=None)
@given(found=st.lists(st.lists(shapes(sound=True), min_size=1, max_size=40), min_size=2, max_size=5), data=st.data())
@pytest.mark.parametrize("tag_keys", [(), ("feature",)])
@pytest.mark.parametrize("wide", [False, True])
def test_each_becomes_what_it_would_by_itself(
    wide: bool, tag_keys: tuple[str, ...], found: list[list[dict[str, Any]]], data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        priced(patch)
        more = data.draw(st.lists(rarer(), min_size=1, max_size=4)) if wide else []
        parts = [
            part_of(n + 1, widened(events_of(one), more), tag_keys if n % 2 else ()) for n, one in enumerate(found)
        ]
        assert all(fits(part.key) for part in parts)
        ids = [one["event_id"] for batch in found for one in batch]
        built = build_together(parts)
        if built is None:
            assert len({each[-16:] for each in ids}) < len(ids)
            return
        for part, one in zip(parts, built, strict=True):
            by_itself = alone(part)
            assert (one.accepted, one.duplicates, one.rejected, one.unpriced) == (
                by_itself.accepted, 0, [], by_itself.unpriced,
            )  # fmt: skip
            assert told(one) == told(by_itself)


def test_the_dictionaries_of_a_frame_hold_nothing_of_the_other_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    priced(monkeypatch)
    parts = [
        part_of(1, [one("a", model="claude-opus-5"), one("b", model="first-only")]),
        part_of(2, [one("c", model="second-only", metadata=b'{"x":1}')]),
    ]
    built = build_together(parts)
    assert built is not None
    assert b"first-only" not in built[1].frame
    assert b"second-only" not in built[0].frame
    assert [len(told(each)) for each in built] == [2, 1]


def one(session: str, **fields: Any) -> EventCore:
    shape = {**event(session_id=session), **fields}
    return EventCore(**{**shape, "metadata": msgspec.Raw(shape.get("metadata", b""))})


@pytest.mark.parametrize(
    "wrong",
    [
        {"timestamp": moment(days=30)}, {"timestamp": moment(seconds=-3600)}, {"timestamp": "yesterday"},
        {"event_id": "no"}, {"event_id": str(UUID(int=5))}, {"user_id": "nobody"}, {"org_id": str(UUID(int=9))},
        {"project_id": "x"}, {"cost_usd": "-1"}, {"metadata": b"[1]"}, {"metadata": b"[" * 70 + b"]" * 70},
    ],
)  # fmt: skip
def test_with_a_problem_in_any_of_them_each_is_looked_at_by_itself(
    wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    priced(monkeypatch)
    good = [part_of(n, [one("s") for _ in range(3)]) for n in (1, 2)]
    assert build_together(good) is not None
    first = one("s", event_id=str(UUID(int=5)))
    assert build_together([*good, part_of(3, [first, one("s", **wrong)])]) is None


def test_what_has_rules_or_prices_of_its_own_is_not_of_the_usual_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    priced(monkeypatch)
    events = [one("s")]
    assert fits(part_of(1, events).key)
    assert fits(part_of(1, events, rules=IngestRules(default_tags=(("environment", "staging"),))).key)
    assert not fits(part_of(1, events, rules=IngestRules(allowed_models=("claude-opus-5",), refuses=True)).key)
    assert not fits(part_of(OWN_PRICES, events).key)


# ---------------------------------------------------------------- as they are sent
def body_of(*events: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"events": events})


def sent(world: World, *events: dict[str, Any], body: bytes | None = None) -> SentBatch:
    return SentBatch(world.key, clock.now(), body if body is not None else body_of(*events), "application/json")


def ingested_together(batches: list[SentBatch], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What each of these is answered, the first of which is held up until all others wait."""
    take, turns = services.take_batches, services._turns
    sizes: list[int] = []

    def slow(works: list[SentBatch]) -> None:
        sizes.append(len(works))
        while len(sizes) == 1 and len(turns._waiting) < len(batches) - 1:
            pass
        take(works)

    monkeypatch.setattr(turns, "_act", slow)
    answers: list[Any] = [None] * len(batches)

    def send(number: int) -> None:
        try:
            answers[number] = ingest_batch(batches[number])
        except Exception as error:
            answers[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(len(batches))]
    threads[0].start()
    while not sizes:
        pass
    for waiting, thread in enumerate(threads[1:], start=1):
        thread.start()
        while len(turns._waiting) < waiting and len(sizes) == 1:
            pass
    for thread in threads:
        thread.join(30)
    assert sizes == [1, len(batches) - 1]
    return answers


def test_batches_that_wait_are_committed_together_and_each_gets_its_own_answer(
    committed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme, other = make_world("acme"), make_world("other")
    twice = event()
    batches = [
        sent(acme, event()),
        sent(acme, event(), event()),
        sent(other, event(), event(), event()),
        sent(acme, body=b"{"),
        sent(other, event(timestamp="yesterday"), event(), twice, twice),
        sent(acme, event()),
    ]
    answers = ingested_together(batches, monkeypatch)
    assert [(a.accepted, a.duplicates, len(a.rejected)) for a in answers if not isinstance(a, Exception)] == [
        (1, 0, 0), (2, 0, 0), (3, 0, 0), (2, 1, 1), (1, 0, 0),
    ]  # fmt: skip
    assert answers[3].code == "malformed_json"
    assert answers[4].rejected[0].index == 0
    assert value("SELECT sum(events) FROM usage_inbox WHERE org_id = %s", acme.org_id) == 4
    assert value("SELECT sum(events) FROM usage_inbox WHERE org_id = %s", other.org_id) == 5
    # Those of one organisation that waited are one row.
    assert value("SELECT count(*) FROM usage_inbox") == 3


def test_usual_batches_that_wait_are_computed_as_one(committed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with rarer fields too, beside them."""
    worlds = [make_world(name) for name in ("one", "two")]
    built: list[int] = []

    def counted(parts: list[Part]) -> list[Built] | None:
        found = build_together(parts)
        built.append(len(found or ()))
        return found

    monkeypatch.setattr(services, "build_together", counted)
    before = turns_told()
    usual = [sent(worlds[n % 2], event(), event()) for n in range(5)]
    wide = [sent(worlds[n % 2], event(stop_reason="tool_use"), event()) for n in range(3)]
    answers = ingested_together([*usual, *wide], monkeypatch)
    assert [answer.accepted for answer in answers] == [2] * 8
    assert built == [4, 3]
    assert [after - figure for figure, after in zip(before, turns_told(), strict=True)] == [2, 8]


def test_a_batch_that_breaks_the_building_is_nobody_elses_error(
    committed: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = make_world()
    make = services.build

    def breaks(events: Any, **options: Any) -> Built:
        if any(one.model == "poison" for one in events):
            raise ZeroDivisionError
        return make(events, **options)

    def broken(parts: list[Part]) -> list[Built]:
        raise ZeroDivisionError

    monkeypatch.setattr(services, "build", breaks)
    monkeypatch.setattr(services, "build_together", broken)
    batches = [sent(world, event()), sent(world, event()), sent(world, event(model="poison")), sent(world, event())]
    answers = ingested_together(batches, monkeypatch)
    assert [type(a) if isinstance(a, Exception) else a.accepted for a in answers] == [1, 1, ZeroDivisionError, 1]
    assert "3 batches could not be built together" in caplog.text


def test_whoever_is_answered_for_all_tells_nothing_for_others(committed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world()
    told: list[tuple[UUID, int]] = []
    monkeypatch.setattr(services, "told", lambda taken: told.append((taken.key.org_id, threading.get_ident())))
    ingested_together([sent(world, event()) for _ in range(4)], monkeypatch)
    assert len({thread for _, thread in told}) == 4


def turns_told() -> list[float]:
    """What the metrics say of turns, and of batches in them."""
    figures = scrape()
    return [figures[f"mindweave_usage_{name}_total"] for name in ("turns", "turn_batches")]


def test_a_full_inbox_refuses_the_batch_for_which_there_is_no_room(
    committed: None, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    world = make_world()
    settings.USAGE_INBOX_MAX_EVENTS = 4
    gauge.reset()
    batches = [sent(world, event()), sent(world, event(), event()), sent(world, *(event() for _ in range(3)))]
    answers = ingested_together([*batches, sent(world, event())], monkeypatch)
    assert [answer if isinstance(answer, InboxFull) else answer.accepted for answer in answers] == [1, 2, answers[2], 1]
    assert isinstance(answers[2], InboxFull)
    assert value("SELECT sum(events) FROM usage_inbox") == 4


def test_a_database_that_is_away_is_every_waiting_batchs_error(
    committed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()

    def away(*_: Any, **__: Any) -> None:
        raise OSError("away")

    monkeypatch.setattr(services, "insert_again", away)
    monkeypatch.setattr(services.committer, "commit", away)
    answers = ingested_together([sent(world, event()) for _ in range(4)], monkeypatch)
    assert [str(answer) for answer in answers] == ["away"] * 4
    monkeypatch.undo()
    assert ingest_batch(sent(world, event())).accepted == 1
    assert value("SELECT sum(events) FROM usage_inbox") == 1
