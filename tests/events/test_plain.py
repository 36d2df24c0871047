"""The quick check of data never finds to fit what jsonschema does not, and knows what is published most."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from apps.events.plain import check_of
from apps.events.registry import event_types

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "n": {"type": "integer", "minimum": 0},
        "text": {"type": "string"},
        "yes": {"type": "boolean"},
        "names": {"type": "array", "items": {"type": "string"}},
        "id": {"type": "string", "format": "uuid"},
        "at": {"type": ["string", "null"], "format": "date-time"},
        "maybe": {"type": ["integer", "null"]},
    },
    "required": ["n", "names"],
}
VALUES = st.one_of(
    st.integers(-2, 2), st.floats(-2, 2), st.text(max_size=1), st.booleans(), st.none(), st.lists(st.text(max_size=1)),
    st.lists(st.integers(), max_size=2), st.just({}), st.uuids().map(str), st.datetimes().map(lambda at: f"{at:%Y}T"),
    st.datetimes().map(lambda at: f"{at.isoformat()}Z"), st.from_regex(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\Z"),
)  # fmt: skip
DATA = st.dictionaries(st.sampled_from(["n", "text", "yes", "names", "id", "at", "maybe", "more"]), VALUES)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(DATA)
def test_what_it_finds_to_fit_fits(data: dict) -> None:
    check = check_of(SCHEMA)
    assert check is not None
    if check(data):
        assert Draft202012Validator(SCHEMA, format_checker=FormatChecker()).is_valid(data)


@pytest.mark.parametrize(
    "data",
    [
        {"n": 0, "names": []},
        {
            "n": 5, "text": "", "yes": False, "names": ["a", "b"], "id": "01a22be5-1282-738f-b19a-c5570475a2aa",
            "at": "2026-11-30T10:00:00.123456Z", "maybe": 3,
        },
        {"n": 0, "names": [], "at": None, "maybe": None},
        {"n": 0, "names": [], "at": "2026-11-30T10:00:00Z"},
    ],
    ids=["least", "all", "null", "a whole second"],
)  # fmt: skip
def test_what_fits_is_found_to(data: dict) -> None:
    check = check_of(SCHEMA)
    assert check is not None
    assert check(data)


@pytest.mark.parametrize(
    "data",
    [
        [], {"n": 1}, {"n": -1, "names": []}, {"n": True, "names": []}, {"n": 1, "names": [1]},
        {"n": 1, "names": [], "x": 1}, {"n": 1, "names": [], "id": "x"}, {"n": 1, "names": [], "id": None},
        {"n": 1, "names": [], "at": "2026-02-30T10:00:00Z"}, {"n": 1, "names": [], "at": "2026-11-30T24:00:00Z"},
        {"n": 1, "names": [], "at": "2026-11-30"}, {"n": 1, "names": [], "at": 5},
    ],
    ids=[
        "no object", "lacking", "too small", "a truth", "of another type", "too many", "no id", "null", "no such day",
        "no such hour", "a day", "a number",
    ],
)  # fmt: skip
def test_what_does_not_fit_is_not_found_to(data: object) -> None:
    check = check_of(SCHEMA)
    assert check is not None
    assert not check(data)


@pytest.mark.parametrize(
    "more",
    [
        {"type": "string", "format": "email"}, {"type": ["string", "integer"]}, {"enum": ["a"]},
        {"type": ["string", "null"], "format": "uri"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        {"type": "array", "items": {"type": "string", "maxLength": 3}},
    ],
    ids=lambda more: " ".join(more),
)  # fmt: skip
def test_a_schema_with_more_in_it_is_left_to_jsonschema(more: dict) -> None:
    assert check_of({**SCHEMA, "properties": {"a": more}}) is None


@pytest.mark.parametrize("name", ["usage.batch_ingested", "usage.session_started", "usage.session_ended"])
def test_what_is_published_most_has_a_plain_schema(name: str) -> None:
    [schema] = [each.schema for each in event_types() if each.name == name]
    assert check_of({"type": "object", "additionalProperties": False, **schema}) is not None
