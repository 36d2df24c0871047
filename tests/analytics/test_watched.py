"""What was counted is told to open pages of the organisation, and to nobody where there are none."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from apps.analytics import live
from apps.core.ids import uuid7
from apps.events.contracts import Envelope


def _counted(org_id: UUID | None) -> Envelope:
    return Envelope(
        id=uuid7(), type="usage.batch_ingested", source="usage", timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        version="1", correlation_id="c", data={}, topic="usage.events", key="k",
        metadata={} if org_id is None else {"org_id": str(org_id)},
    )  # fmt: skip


def test_events_of_organisations_that_nobody_watches_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    watched, alone = uuid7(), uuid7()
    asked: list[list[str]] = []

    def heard(groups: list[str]) -> list[bool]:
        asked.append(groups)
        return [group == live.org_group(watched) for group in groups]

    monkeypatch.setattr(live, "groups_heard", heard)
    events = [_counted(org_id) for org_id in (watched, alone, None, watched)]
    assert live.pick_watched(events) == [True, False, False, True]
    assert [sorted(groups) for groups in asked] == [sorted([live.org_group(watched), live.org_group(alone)])], "once"
