"""Bodies without a length, as Claude Code 2.1.197 sends them, through the real WSGI server."""

import gzip
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from apps.core.tenancy import system_scope
from apps.projects.models import RejectedKey
from apps.projects.services import revoke_api_key
from tests.processes import Processes
from tests.usage.engine.conftest import World
from tests.usage.otlp.test_captured import LOGS, body_of, captured, counted, expected, records
from tests.waiting import wait_for

pytestmark = [pytest.mark.usefixtures("committed"), pytest.mark.processes]


@pytest.fixture
def server(world: World, tmp_path: Path) -> Iterator[httpx.Client]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = Processes(tmp_path, "mindweave.settings")
    processes.start(
        "-m", "granian", "--interface", "wsgi", "--port", str(port), "--workers", "1", "--no-access-log",
        "mindweave.wsgi:application",
    )  # fmt: skip
    headers = {"Authorization": f"Bearer {world.token}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client:
        try:
            wait_for(lambda: _answers(client), seconds=60)
            yield client
        finally:
            processes.end()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health/live").status_code == 200
    except httpx.TransportError:
        return False


def chunked(client: httpx.Client, body: bytes, kind: str, size: int = 700, **headers: str) -> httpx.Response:
    """Post without Content-Length, in chunks."""
    pieces = (body[start : start + size] for start in range(0, len(body), size))
    response = client.post("/otlp/v1/logs", content=pieces, headers={"Content-Type": kind, **headers})
    assert response.request.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in response.request.headers
    return response


def test_chunked_bodies_count_like_any_other(server: httpx.Client, world: World, drain: Callable[[], None]) -> None:
    wanted: dict[str, Any] = {}
    for path in LOGS:
        body, kind = body_of(path)
        zipped = {"Content-Encoding": "gzip"} if captured(path)["headers"].get("Content-Encoding") == "gzip" else {}
        response = chunked(server, gzip.compress(body) if zipped else body, kind, **zipped)
        assert response.status_code == 200, response.content
        assert response.headers["Content-Type"] == kind
        for name, amount in expected(records(captured(path))).items():
            wanted[name] = wanted.get(name, 0) + amount
    drain()
    totals = counted(world).totals
    assert {name: getattr(totals, name) for name in wanted} == wanted
    # The connection is fit for the next request: nothing of a body was left in it.
    assert server.get("/health/live").status_code == 200


def test_a_chunked_body_without_end_is_cut_at_the_limit(server: httpx.Client) -> None:
    response = chunked(server, b" " * (11 * 1024 * 1024), "application/json", size=1024 * 1024)
    assert response.status_code == 413
    assert orjson.loads(response.content)["code"] == 8  # RESOURCE_EXHAUSTED


def test_a_dead_key_is_counted_for_the_organisations_admin_to_see(server: httpx.Client, world: World) -> None:
    body, kind = body_of(LOGS[0])
    revoke_api_key(org_id=world.org_id, project_id=world.project_id, key_id=world.key.key_id)
    wait_for(lambda: chunked(server, body, kind).status_code == 401, seconds=5)
    with system_scope("test"):
        row = RejectedKey.objects.get(key_id=world.key.key_id)
    assert (row.org_id, row.reason) == (world.org_id, "revoked")
    assert row.count >= 1
