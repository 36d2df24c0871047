import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.usage.pricing.models_names import canonical_model


@pytest.mark.parametrize(
    ("spelt", "name"),
    [
        ("claude-opus-4-8", "claude-opus-4-8"),
        ("claude-opus-4-8[1m]", "claude-opus-4-8"),
        ("Claude-Opus-4-8 ", "claude-opus-4-8"),
        ("claude-opus-4-5-20251101", "claude-opus-4-5"),
        ("claude-sonnet-4-5-20250929[1m]", "claude-sonnet-4-5"),
        ("claude-opus-4-0", "claude-opus-4"),
        ("claude-opus-4-20250514", "claude-opus-4"),
        ("claude-sonnet-4-0", "claude-sonnet-4"),
        ("claude-3-7-sonnet-latest", "claude-3-7-sonnet"),
        ("claude-3-5-haiku-20241022", "claude-3-5-haiku"),
        ("anthropic.claude-opus-4-8-v1:0", "claude-opus-4-8"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("global.anthropic.claude-opus-4-6-v1", "claude-opus-4-6"),
        ("anthropic.claude-3-haiku-20240307-v1:0:48k", "claude-3-haiku"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-4-1-20250805-v1:0",
            "claude-opus-4-1",
        ),
        ("claude-opus-4-1@20250805", "claude-opus-4-1"),
        ("publishers/anthropic/models/claude-haiku-4-5@20251001", "claude-haiku-4-5"),
        ("anthropic/claude-opus-5", "claude-opus-5"),
        ("claude-fable-5-2", "claude-fable-5-2"),
        ("gpt-7", "gpt-7"),
    ],
)
def test_every_spelling_of_a_model_is_one_name(spelt: str, name: str) -> None:
    assert canonical_model(spelt) == name


@given(st.text(max_size=60) | st.from_regex(r"[a-z./]{0,12}claude-[a-z0-9@:.\[\]-]{0,40}", fullmatch=True))
def test_a_name_is_its_own_name(spelt: str) -> None:
    assert canonical_model(canonical_model(spelt)) == canonical_model(spelt)
