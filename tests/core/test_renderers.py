"""Long answers are written by another encoder, as the usual one would."""

from typing import Any

import pytest
from rest_framework.renderers import JSONRenderer

from apps.core.api.renderers import PageRenderer

VALUES: tuple[Any, ...] = (
    {"data": [{"text": "é \u2028 \u2029 \" \\ \n \x01", "none": None, "yes": True, "list": [1, -2.5, []]}]},
    {"large": 2**63 - 1, "small": -(2**63), "larger": 2**70, "double": 0.1, "tiny": 1e-7},
    {}, [], None, "text",
)  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("accepted", [None, "application/json", "application/json; indent=2"])
def test_it_writes_the_same_bytes(value: Any, accepted: str | None) -> None:
    assert PageRenderer().render(value, accepted, {}) == JSONRenderer().render(value, accepted, {})
