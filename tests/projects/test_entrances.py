"""A key that may not be used is refused at every entrance: dead, or from elsewhere than it may."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from apps.core.clock import now
from apps.projects import services
from apps.projects.selectors import forget_keys
from tests.cast import Api, Cast, make_key

APPS = Path(__file__).resolve().parents[2] / "apps"
EVENT = {
    "event_id": str(uuid4()), "timestamp": now().isoformat(), "event_type": "api_call", "model": "claude-haiku-4-5",
    "input_tokens": 1,
}  # fmt: skip
ENTRANCES: dict[str, Callable[[Api, Cast], Any]] = {
    "a batch": lambda api, cast: api.post("/v1/events", {"events": [EVENT | {"event_id": str(uuid4())}]}),
    "one event": lambda api, cast: api.post("/v1/track", EVENT | {"event_id": str(uuid4())}),
    "logs": lambda api, cast: api.post("/otlp/v1/logs", {}),
    "metrics": lambda api, cast: api.post("/otlp/v1/metrics", {}),
    "traces": lambda api, cast: api.post("/otlp/v1/traces", {}),
    "search": lambda api, cast: api.get("/v1/events"),
    "sessions": lambda api, cast: api.get("/v1/sessions"),
    "analytics": lambda api, cast: api.get("/analytics/usage"),
    "a project": lambda api, cast: api.get(f"/projects/{cast.project.id}"),
    "settings": lambda api, cast: api.get(f"/projects/{cast.project.id}/settings"),
    "imports": lambda api, cast: api.get("/v1/imports"),
    "an upload": lambda api, cast: api.post("/v1/imports?format=jsonl", EVENT, Idempotency_Key="once"),
}  # fmt: skip


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_revoked_key_is_refused_at(entrance: str, cast: Cast) -> None:
    key, token = make_key(cast, scopes=("ingest", "read", "backfill"))
    api, enter = Api(token=token), ENTRANCES[entrance]
    assert enter(api, cast).status_code in {200, 202}
    services.revoke_api_key(org_id=cast.org.id, project_id=cast.project.id, key_id=key.id)
    forget_keys()
    # A repeat of what was answered before is no way in either.
    answer = enter(api, cast)
    assert answer.status_code == 401, answer.content


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_key_is_refused_from_an_address_that_it_may_not_be_used_from_at(entrance: str, cast: Cast) -> None:
    _, token = make_key(cast, scopes=("ingest", "read", "backfill"), allowed_ips=["192.0.2.0/24"])
    assert ENTRANCES[entrance](Api(token=token, ip="192.0.2.10"), cast).status_code in {200, 202}
    answer = ENTRANCES[entrance](Api(token=token, ip="198.51.100.7"), cast)
    assert answer.status_code == 403, answer.content
    assert b"ip_not_allowed" in answer.content


def test_keys_come_in_through_one_door_alone() -> None:
    """Whoever asks ``key_authenticate`` without the caller's address would open a second one."""
    callers = set()
    for path in APPS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node, "attr", getattr(node, "id", ""))
            if name == "key_authenticate" and path.name != "selectors.py":
                callers.add(str(path.relative_to(APPS)))
    # The demo makes its own key and sends with it, from nowhere.
    assert callers == {"projects/authentication.py", "analytics/demo/build.py"}
