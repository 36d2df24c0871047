"""``GET /v1/events`` over many stored events: what each kind of search costs through the front, one after the other."""

import json
import time
from urllib.parse import urlencode

from benchmarks.ingest_load import MODELS, Account, percentile
from benchmarks.routes import Caller

__all__ = ["measure_search"]

ROUNDS = 40


def measure_search(url: str, account: Account) -> None:
    """Print a row for each kind of search of one organisation."""
    caller = Caller(url, {"Authorization": f"Bearer {account.token}"})

    def get(**filters: object) -> tuple[float, dict[str, object]]:
        began = time.perf_counter()
        status, body, _ = caller("GET", f"/v1/events?{urlencode(filters, doseq=True)}")
        if status != 200:
            raise SystemExit(f"{status}: {body[:300]!r}")
        return (time.perf_counter() - began) * 1000, json.loads(body)

    _, page = get(limit=50)
    newest = page["data"][-1]  # type: ignore[index]
    _, late = get(limit=1, end=newest["timestamp"])
    old = late["data"][0]  # type: ignore[index]
    user = str(account.users[3])
    nobody = "01a209e4-215f-7371-be17-514d2bfae41c"
    rows: list[tuple[str, dict[str, object]]] = [
        ("the newest 50", {}),
        ("the next page", {"cursor": page["next_cursor"]}),
        ("the newest 200", {"limit": 200}),
        ("one model", {"filter[model]": MODELS[2]}),
        ("one person", {"filter[user]": user}),
        ("failed calls", {"filter[status]": "error"}),
        ("failed calls of a person and model", {
            "filter[status]": "error", "filter[user]": user, "filter[model]": MODELS[0],
        }),
        ("one session", {"filter[session_id]": f"s-{account.users[5].hex[:12]}"}),
        ("one id", {"filter[event_id]": old["event_id"]}),
        ("an id that is nowhere", {"filter[event_id]": nobody}),
        ("a request id that is nowhere", {"filter[request_id]": "req_nowhere"}),
        ("a stop reason that never was", {"filter[stop_reason]": "refusal"}),
        ("a person who never was", {"filter[user]": nobody}),
    ]  # fmt: skip
    for words, filters in rows:
        times, found = [], 0
        for _ in range(ROUNDS):
            took, answer = get(**{"limit": 50, **filters})
            times.append(took)
            found = len(answer["data"])  # type: ignore[arg-type]
        print(
            f"  {words:<38} {found:>4} found  p50 {percentile(times, 0.5):6.1f}  p95 {percentile(times, 0.95):6.1f} ms",
            flush=True,
        )
