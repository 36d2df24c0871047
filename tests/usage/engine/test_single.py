"""An event by itself becomes the very frame that it would become as a column of one."""

from fractions import Fraction
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings

from apps.core import clock
from apps.projects.contracts import KeyContext
from apps.usage.contracts import EventCore
from apps.usage.ingest.attribution import Directory
from apps.usage.ingest.columns import Window, build
from apps.usage.pricing.book import TOKEN_KINDS, PriceBook, PriceRow
from tests.usage.engine.conftest import World, event
from tests.usage.engine.shapes import ALICE, shapes


@pytest.mark.parametrize("tag_keys", [(), ("feature",)])
@settings(max_examples=300, deadline=None)
@given(shape=shapes())
def test_the_frame_is_the_same_to_the_byte(tag_keys: tuple[str, ...], shape: dict[str, Any]) -> None:
    org, project, team = UUID(int=1), UUID(int=2), UUID(int=3)
    key = KeyContext(
        key_id=UUID(int=4), org_id=org, project_id=project, name="k", prefix="mw", scopes=frozenset({"ingest"}),
        owner_id=None, team_id=None, project_team_id=None, rate_limit_per_minute=0, unlimited=True,
    )  # fmt: skip
    directory = Directory(org, {str(ALICE): ALICE}, {}, {ALICE: team}, tag_keys)
    window = Window.of(key, clock.now())
    one = EventCore(**{**shape, "metadata": msgspec.Raw(shape["metadata"])})
    with pytest.MonkeyPatch.context() as patch:
        units = {kind: Fraction(number + 1, 7) for number, kind in enumerate(TOKEN_KINDS)}
        book = PriceBook([PriceRow("claude-opus-5", None, 0, 2**62, units, {"context:>100k": Fraction(2)}, "list")])
        for module in ("apps.usage.ingest.what.get_book", "apps.usage.ingest.single.get_book"):
            patch.setattr(module, lambda: book)
        by_columns, alone = (
            build([one], key=key, directory=directory, window=window, check_nul=check) for check in (True, False)
        )
    assert (alone.accepted, alone.rejected, alone.unpriced) == (
        by_columns.accepted, by_columns.rejected, by_columns.unpriced,
    )  # fmt: skip
    assert alone.frame == by_columns.frame


def test_a_tracked_event_of_the_usual_kind_takes_the_short_way(
    world: World, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.usage.ingest import columns

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("a column of one was made")

    monkeypatch.setattr(columns, "Columns", never)
    body = event(org_id=str(world.org_id), session_id="s", request_id="r", metadata={"a": 1})
    answer = client.post(
        "/v1/track", body, content_type="application/json", headers={"Authorization": f"Bearer {world.token}"}
    )
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
