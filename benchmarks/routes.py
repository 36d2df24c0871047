"""What each route costs through the front: one caller after the other, then eight at once, on keep-alive connections.

Against a running instance with the demo organisation. The specification's budget is 100 ms at p95 for every request of
a person (section 4.2), 50 ms for sign-in (section 2.1; without the cost of hashing the password, which is meant).
"""

import http.client
import json
import re
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

__all__ = ["Caller", "measure", "sign_in"]

ALONE, AT_ONCE, CALLERS = 150, 25, 8


class Caller:
    """One keep-alive connection that says who it is."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        self.headers = headers

    def __call__(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes, Any]:
        self.connection.request(method, path, body or None, {**self.headers, **headers})
        answer = self.connection.getresponse()
        return answer.status, answer.read(), answer.headers


def sign_in(url: str, facts: dict[str, Any]) -> dict[str, str]:
    """The cookie of a session, through the login page as a browser would."""
    caller = Caller(url, {})
    _, page, headers = caller("GET", "/login")
    token = re.search(rb'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token, "the login page has no form"
    form = {"csrfmiddlewaretoken": token[1].decode(), "email": facts["email"], "password": facts["password"]}
    cookies = [value.split(";")[0] for name, value in headers.items() if name.lower() == "set-cookie"]
    status, _, headers = caller(
        "POST", "/login", urlencode(form).encode(), Cookie="; ".join(cookies), Referer=url,
        **{"Content-Type": "application/x-www-form-urlencoded"},
    )  # fmt: skip
    assert status == 302, status
    cookies += [value.split(";")[0] for name, value in headers.items() if name.lower() == "set-cookie"]
    return {"Cookie": "; ".join(cookies)}


def _event() -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()), "timestamp": datetime.now(UTC).isoformat(), "event_type": "api_call",
        "model": "claude-opus-5-5", "input_tokens": 1200, "output_tokens": 42, "latency_ms": 830,
    }  # fmt: skip


def measure(url: str, facts: dict[str, Any]) -> None:
    """Print a row for each route."""
    key = {"Authorization": f"Bearer {facts['api_key']}", "Content-Type": "application/json"}
    _, answer, _ = Caller(url, {"Content-Type": "application/json"})(
        "POST", "/auth/login", json.dumps({"email": facts["email"], "password": facts["password"]}).encode()
    )
    access = {"Authorization": f"Bearer {json.loads(answer)['access_token']}", "Content-Type": "application/json"}
    page = sign_in(url, facts)
    org, project = facts["org_id"], facts["project_id"]
    _, answer, _ = Caller(url, access)("GET", f"/orgs/{org}")
    slug = json.loads(answer)["slug"]
    rows: list[tuple[str, str, dict[str, str], Callable[[], bytes]]] = [
        ("POST", "/v1/track", key, lambda: json.dumps(_event()).encode()),
        ("POST", "/v1/events", key, lambda: json.dumps({"events": [_event() for _ in range(100)]}).encode()),
        ("GET", "/v1/events?limit=50", key, bytes),
        ("GET", "/v1/sessions?limit=50", key, bytes),
        ("GET", "/analytics/usage?granularity=day&group_by=model", key, bytes),
        ("GET", "/analytics/usage?granularity=none&group_by=user,model", key, bytes),
        ("GET", f"/orgs/{org}/usage", key, bytes),
        ("GET", "/auth/me", access, bytes),
        ("GET", "/orgs", access, bytes),
        ("GET", f"/orgs/{org}/members", access, bytes),
        ("GET", f"/projects/{project}/keys", access, bytes),
        ("GET", "/audit", access, bytes),
        ("GET", f"/o/{slug}/", page, bytes),
        ("GET", f"/o/{slug}/projects", page, bytes),
        ("GET", "/login", {}, bytes),
        ("GET", "/docs", {}, bytes),
        ("GET", "/health/live", {}, bytes),
    ]
    print(f"{'route':58} {'alone p50':>9} {'p95':>7} {'8 at once p50':>14} {'p95':>7}  ms")
    for method, path, who, body in rows:
        alone = _times(url, method, path, who, body, ALONE)
        together: list[float] = []
        threads = [
            threading.Thread(target=_collect, args=(together, url, method, path, who, body)) for _ in range(CALLERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        name = f"{method} {path}".replace(org, "{org}").replace(project, "{project}").replace(slug, "{org}")
        print(
            f"{name:58} {_at(alone, 50):9.1f} {_at(alone, 95):7.1f} {_at(together, 50):14.1f} {_at(together, 95):7.1f}"
        )


def _times(url: str, method: str, path: str, who: dict[str, str], body: Callable[[], bytes], count: int) -> list[float]:
    caller, found = Caller(url, who), []
    for number in range(count + 3):
        content = body()
        began = time.perf_counter()
        status, answer, _ = caller(method, path, content)
        if number >= 3:  # the first are the connection's and the caches'
            found.append((time.perf_counter() - began) * 1000)
        if status >= 400:
            raise RuntimeError(f"{method} {path}: {status} {answer[:300]!r}")
    return found


def _at(times: list[float], percent: int) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def _collect(
    into: list[float], url: str, method: str, path: str, who: dict[str, str], body: Callable[[], bytes]
) -> None:
    into.extend(_times(url, method, path, who, body, AT_ONCE))
