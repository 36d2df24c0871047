"""``GET /v1/events`` over many stored events: what each kind of search costs through the front, one after the other."""

import json
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import uuid4

import psycopg

from benchmarks.ingest_load import DEPARTMENTS, ERRORS, MODELS, SERVERS, SOURCES, TOOLS, Account, percentile, session_of
from benchmarks.routes import Caller

__all__ = ["measure_search"]

ROUNDS = 40
# Milliseconds.
TARGET = 50
_NOBODY = "01a209e4-215f-7371-be17-514d2bfae41c"
_RARE = {"stop_reason": "refusal", "request_id": "req_rare", "mcp_server": "attic", "mcp_tool": "rummage"}
_BARE = """
SELECT count(*) FROM usage_chunk c LEFT JOIN (SELECT unnest(chunks) AS id FROM usage_hint) h ON h.id = c.id
WHERE h.id IS NULL
"""


def measure_search(
    url: str, database: str, account: Account, beside: Account, *, is_new: bool = False, only: str = ""
) -> None:
    """Print a row for each kind of search of one organisation; ``beside`` is another project of it.

    Where it is new, the events that only one search finds are sent first.
    """
    caller = Caller(url, {"Authorization": f"Bearer {account.token}"})

    def get(**filters: object) -> tuple[float, dict[str, object]]:
        began = time.perf_counter()
        status, body, _ = caller("GET", f"/v1/events?{urlencode(filters, doseq=True)}")
        if status != 200:
            raise SystemExit(f"{status}: {body[:300]!r}")
        return (time.perf_counter() - began) * 1000, json.loads(body)

    if is_new:
        _send_rare(caller, account)
    _, page = get(limit=50)
    newest = page["data"][-1]  # type: ignore[index]
    _, late = get(limit=1, end=newest["timestamp"])
    old = late["data"][0]  # type: ignore[index]
    weeks = (datetime.now(UTC) - timedelta(days=6)).isoformat()
    _, far = get(limit=1, end=weeks)
    rows = _searches(account, page["next_cursor"], old, far["data"][0])  # type: ignore[index]
    rows += _rarely_met(account, beside)
    _wait_for_hints(database, is_new=is_new)
    # The front closes what was silent for so long; the next call opens another.
    caller.connection.close()
    above = 0
    for words, filters in rows:
        if only not in words:
            continue
        times, found = [], 0
        for _ in range(ROUNDS):
            took, answer = get(**{"limit": 50, **filters})
            times.append(took)
            found = len(answer["data"])  # type: ignore[arg-type]
        print(
            f"  {words:<50} {found:>4} found  p50 {percentile(times, 0.5):6.1f}  p95 {percentile(times, 0.95):6.1f} ms",
            flush=True,
        )
        above += percentile(times, 0.95) >= TARGET
    print(f"  {above} of {len(rows)} take {TARGET} ms or more at p95", flush=True)


def _searches(
    account: Account, cursor: object, old: dict[str, str], far: dict[str, str]
) -> list[tuple[str, dict[str, object]]]:
    user = str(account.users[3])
    errors: dict[str, object] = {"filter[status]": "error", "filter[user]": user}
    return [
        ("the newest 50", {}),
        ("the next page", {"cursor": cursor}),
        ("the newest 200", {"limit": 200}),
        ("one model", {"filter[model]": MODELS[2]}),
        ("one person", {"filter[user]": user}),
        ("failed calls", {"filter[status]": "error"}),
        *((f"failed calls of a person and model {n}", {**errors, "filter[model]": MODELS[n]}) for n in range(3)),
        ("one session", {"filter[session_id]": session_of(account.users[5])}),
        ("one id", {"filter[event_id]": old["event_id"]}),
        ("one id of six days ago", {"filter[event_id]": far["event_id"]}),
        ("one request id of six days ago", {"filter[request_id]": far["request_id"]}),
        ("a rare stop reason of five days ago", {"filter[stop_reason]": _RARE["stop_reason"]}),
        ("a rare word of an error of five days ago", {"filter[error_type]": "odd_error"}),
        ("a rare tool of five days ago", {"filter[mcp_tool]": _RARE["mcp_tool"]}),
        ("a rare tag of five days ago", {"filter[tag:shelf]": "top"}),
        ("a stop reason and a person that never met", {"filter[stop_reason]": "refusal", "filter[user]": user}),
        ("a tag and a stop reason that never met", {"filter[tag:shelf]": "top", "filter[stop_reason]": "end_turn"}),
        ("a person, model and session that never met", {
            "filter[user]": user, "filter[model]": MODELS[1], "filter[session_id]": session_of(account.users[5]),
        }),
        ("an id that is nowhere", {"filter[event_id]": _NOBODY}),
        ("a request id that is nowhere", {"filter[request_id]": "req_nowhere"}),
        ("an error type that is nowhere", {"filter[error_type]": "never_heard_of"}),
        ("a stop reason that never was", {"filter[stop_reason]": "pause_turn"}),
        ("unpriced, which nothing is", {"filter[cost_source]": "unpriced"}),
        ("a person who never was", {"filter[user]": _NOBODY}),
    ]  # fmt: skip


def _rarely_met(account: Account, beside: Account) -> list[tuple[str, dict[str, object]]]:
    """Two or three fields that meet in hardly any chunk, or in each hardly once."""
    user: dict[str, object] = {"filter[user]": str(account.users[3])}
    failed: dict[str, object] = {"filter[status]": "error"}
    model: dict[str, object] = {"filter[model]": MODELS[3]}
    now = datetime.now(UTC)
    days: dict[str, object] = {
        "start": (now - timedelta(days=4)).isoformat(), "end": (now - timedelta(days=2)).isoformat(),
    }  # fmt: skip
    project: dict[str, object] = {"filter[project]": str(beside.project_id)}
    tool: dict[str, object] = {"filter[mcp_server]": SERVERS[2], "filter[mcp_tool]": TOOLS[1]}
    return [
        ("a person and another department's tag", {**user, "filter[tag:department]": DEPARTMENTS[7]}),
        ("a tag, failed, one model", {"filter[tag:department]": DEPARTMENTS[7], **failed, **model}),
        ("a tool that failed", {**tool, **failed}),
        ("a tool that a person used", {**tool, **user}),
        ("a session and a model", {"filter[session_id]": session_of(account.users[5]), **model}),
        ("a session that failed", {"filter[session_id]": session_of(account.users[5]), **failed}),
        ("a person's stop reason", {**user, "filter[stop_reason]": "max_tokens"}),
        ("a person's error type", {**user, "filter[error_type]": ERRORS[1]}),
        (
            "an error type of a model and source",
            {**model, "filter[error_type]": ERRORS[2], "filter[source]": SOURCES[1]},
        ),
        ("a person's source, failed", {**user, **failed, "filter[source]": SOURCES[2]}),
        ("a person in another project", {**user, **project}),
        ("failed, one model, in another project", {**failed, **model, **project}),
        ("a person, failed, of two days", {**user, **failed, **days}),
        ("a person's failed calls of one model, of two days", {**user, **failed, **model, **days}),
        ("an error type of two days", {"filter[error_type]": ERRORS[3], **days}),
    ]


def _send_rare(caller: Caller, account: Account) -> None:
    """A few events of five days ago that differ from all others, one of them with a tag that is counted by."""
    from apps.usage.services import register_tag_key

    register_tag_key(org_id=account.org_id, key="shelf")
    time.sleep(6)  # until every process counts by it
    at = datetime.now(UTC) - timedelta(days=5)
    common: dict[str, object] = {
        "org_id": str(account.org_id), "project_id": str(account.project_id), "user_id": str(account.users[7]),
        "model": MODELS[1], "input_tokens": 1, "output_tokens": 1,
    }  # fmt: skip
    kinds: list[dict[str, object]] = [
        {"event_type": "api_call", "stop_reason": _RARE["stop_reason"], "request_id": _RARE["request_id"]},
        {"event_type": "api_call", "status": "error", "error_type": "odd_error"},
        {"event_type": "mcp_tool", "mcp_server": _RARE["mcp_server"], "mcp_tool": _RARE["mcp_tool"]},
        {"event_type": "api_call", "metadata": {"shelf": "top"}},
    ]
    events = [
        {**common, **kind, "event_id": str(uuid4()), "timestamp": (at + timedelta(seconds=n)).isoformat()}
        for n, kind in enumerate(kinds)
    ]
    body = json.dumps({"events": events}).encode()
    status, answer, _ = caller("POST", "/v1/events", body, **{"Content-Type": "application/json"})
    if status != 202 or json.loads(answer)["rejected"]:
        raise SystemExit(f"{status}: {answer[:300]!r}")
    time.sleep(2)


def _wait_for_hints(database: str, *, is_new: bool) -> None:
    """Wait until the job has given hints to nearly every chunk, and say what that took."""
    if not is_new:
        time.sleep(30)  # an instance that was just started is busy with itself
    began = time.monotonic()
    with psycopg.connect(database, autocommit=True) as connection:
        before = after = 1 << 30
        while time.monotonic() - began < 120:
            after = int((connection.execute(_BARE).fetchone() or [0])[0])
            if after < 50 and (after == before or not is_new):
                break
            before = after
            time.sleep(25)
        events, chunks, raw, hints, blocks = connection.execute(
            "SELECT (SELECT sum(events) FROM usage_chunk)::bigint, (SELECT count(*) FROM usage_chunk),"
            " (SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'usage_chunk'::regclass)"
            "::bigint, pg_total_relation_size('usage_hint'), (SELECT count(*) FROM usage_hint)"
        ).fetchone() or (1, 0, 0, 0, 0)
        jobs = connection.execute(
            "SELECT count(*), round(sum(extract(epoch FROM finished_at - started_at)), 1) FROM scheduler_run"
            " WHERE job = 'usage.hints' AND finished_at IS NOT NULL AND (result->>'blocks')::int > 0"
        ).fetchone() or (0, 0)
    print(
        f"  {events:,} events in {chunks:,} chunks, {after} of them without a hint {time.monotonic() - began:.0f} s"
        f" later; {raw / events:.1f} bytes an event raw, {hints / events:.2f} of hints in {blocks} blocks,"
        f" made by {jobs[0]} runs of {jobs[1]} s together",
        flush=True,
    )
