"""Files of events, and an organisation to import them into."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from apps.core.tenancy import org_scope
from apps.usage.drain.shard import drain_now
from apps.usage.imports import job, store
from apps.usage.models import Import, ImportProblem
from tests.cast import cast  # noqa: F401 - the fixture of everybody
from tests.usage.engine.conftest import World, _fresh_caches, committed, event, rows, world  # noqa: F401 - fixtures

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes, "gzip": gzip.compress, "zstd": lambda content: zstandard.ZstdCompressor().compress(content),
}  # fmt: skip


def jsonl(events: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in events)


def anonymous(**fields: Any) -> dict[str, Any]:
    """An event without an id."""
    return {name: value for name, value in event(**fields).items() if name != "event_id"}


def csv_of(names: list[str], *lines: list[Any]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([names, *lines])
    return text.getvalue().encode()


def written(folder: Path, content: bytes, name: str = "events.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def imports(world: World) -> list[Import]:  # noqa: F811
    with org_scope(world.org_id):
        return list(Import.objects.order_by("created_at"))


def only(world: World) -> Import:  # noqa: F811
    (row,) = imports(world)
    return row


def problems(world: World) -> list[ImportProblem]:  # noqa: F811
    with org_scope(world.org_id):
        return list(ImportProblem.objects.order_by("line"))


def counted() -> tuple[int, int]:
    """Events, and the sum of their input tokens, once the drain is through."""
    drain_now()
    sums = (
        "SELECT events, input_tokens FROM usage_delta UNION ALL SELECT events, input_tokens FROM usage_rollup_quarter"
    )
    found = rows(f"SELECT coalesce(sum(events), 0)::bigint, coalesce(sum(input_tokens), 0)::bigint FROM ({sums}) s")
    return int(found[0][0]), int(found[0][1])


def work(world: World) -> None:  # noqa: F811
    """What the worker does, until nothing is left to do."""
    while job.take_on(world.org_id):
        pass


@pytest.fixture(autouse=True)
def _own_data_directory(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path / "data"


def stored() -> list[str]:
    return sorted(path.name for path in store.directory().iterdir())
