"""Numbers that no call has, in whatever shape: one bad record never costs the export, nor the server."""

import copy
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.usage.engine.conftest import World, value
from tests.usage.otlp.test_captured import LOGS, METRICS, _shift, _shifted, captured, counted

pytestmark = pytest.mark.usefixtures("committed")


def _records(count: int = 1, **attributes: Any) -> dict[str, Any]:
    """``count`` calls of one session; ``attributes`` as OTLP values, on top of those of the first."""
    now = time.time_ns() - 60_000_000_000

    def record(number: int) -> dict[str, Any]:
        said = {
            "event.name": {"stringValue": "api_request"},
            "session.id": {"stringValue": "s"},
            "request_id": {"stringValue": f"req_{number}"},
            "model": {"stringValue": "claude-opus-4-8"},
            "input_tokens": {"intValue": 10},
        } | (attributes if number == 0 else {})
        pairs = [{"key": name, "value": inner} for name, inner in said.items()]
        return {"timeUnixNano": str(now), "body": {"stringValue": "claude_code.api_request"}, "attributes": pairs}

    return {"resourceLogs": [{"scopeLogs": [{"logRecords": [record(number) for number in range(count)]}]}]}


def _send(world: World, body: Any, where: str = "logs") -> Any:
    return Client().post(
        f"/otlp/v1/{where}", data=json.dumps(body).encode(), content_type="application/json",
        HTTP_AUTHORIZATION=f"Bearer {world.token}",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens",
                                  "cache_creation_5m_tokens", "cache_creation_1h_tokens", "duration_ms"])  # fmt: skip
@pytest.mark.parametrize("said", [{"intValue": str(2**63)}, {"intValue": 2_000_000_001}, {"doubleValue": 1e300}])
def test_a_count_beyond_all_bounds_refuses_its_record_alone(
    name: str, said: dict[str, Any], world: World, drain: Callable[[], None]
) -> None:
    response = _send(world, _records(3, **{name: said}))
    assert response.status_code == 200
    partial = response.json()["partialSuccess"]
    assert int(partial["rejectedLogRecords"]) == 1
    assert partial["errorMessage"].startswith("out_of_range: ")
    drain()
    assert counted(world).totals.calls == 2


def test_a_negative_count_is_told_and_takes_nothing_off(world: World, drain: Callable[[], None]) -> None:
    response = _send(world, _records(2, input_tokens={"intValue": "-5"}))
    assert response.json()["partialSuccess"] == {
        "rejectedLogRecords": "1",
        "errorMessage": "negative_number: input_tokens must not be negative",
    }
    drain()
    assert counted(world).totals.input_tokens == 10


@pytest.mark.parametrize(
    ("total", "short", "long", "written"),
    [(0, 200, 100, (200, 100)), (300, 200, 100, (200, 100)), (500, 200, 100, (400, 100)), (300, -1, -1, (300, 0))],
)
def test_a_split_of_cache_writes_and_its_total_agree(
    total: int, short: int, long: int, written: tuple[int, int], world: World, drain: Callable[[], None]
) -> None:
    split = {
        "cache_creation_tokens": {"intValue": total},
        "cache_creation_5m_tokens": {"intValue": short},
        "cache_creation_1h_tokens": {"intValue": long},
    }
    assert _send(world, _records(**split)).json() == {}
    drain()
    assert value("SELECT (cache_write_5m_tokens, cache_write_1h_tokens)::text FROM usage_event") == (
        f"({written[0]},{written[1]})"
    )


ODD = st.sampled_from(
    [
        None, True, "", -1, 0, 10**30, 1e308, "NaN", "x" * 70_000, [], {}, [[]], {"intValue": "abc"},
        {"intValue": None}, {"intValue": "-5"}, {"intValue": 2**64}, {"doubleValue": "NaN"}, {"doubleValue": 1e300},
        {"doubleValue": "-Infinity"}, {"stringValue": None}, {"stringValue": "\0"}, {"bytesValue": "AAA="},
        {"arrayValue": None}, {"arrayValue": {"values": [{"stringValue": "a"}]}}, {"kvlistValue": {"values": [7]}},
    ]
)  # fmt: skip


def _places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for name, child in inner for place in _places(child, (*path, name)))]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_a_request_holds_the_server_has_an_answer(data: st.DataObject, world: World) -> None:
    path = data.draw(st.sampled_from([*LOGS, *METRICS]))
    document = captured(path)
    body = copy.deepcopy(_shifted(document["body"], _shift(document)))
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(_places(body)[1:]))
        node = body
        for step in way:
            node = node[step]
        node[last] = copy.deepcopy(data.draw(ODD))
    response = _send(world, body, "logs" if "v1_logs" in path.name else "metrics")
    assert response.status_code in {200, 400}, response.content
    assert response["Content-Type"] == "application/json"
