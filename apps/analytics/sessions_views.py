"""Pages of sessions and of raw events."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from apps.accounts.selectors import member_infos
from apps.accounts.web import can, org_page
from apps.analytics.explorer_filters import value_names
from apps.analytics.export import csv_response
from apps.analytics.period import PERIODS, Period, period_of
from apps.analytics.waterfall import Step, first_token_ms, waterfall
from apps.audit.services import record_read
from apps.core.errors import NotFound
from apps.projects.selectors import project_names
from apps.usage.granted import given_to, given_usage, narrowed, only_of, require_given
from apps.usage.selectors import event_search, session_get, session_list
from apps.usage.selectors.event import event_explained
from apps.usage.selectors.timeline import session_events
from apps.usage.sessions import idle_limit

__all__ = ["event_page", "events_csv", "events_page", "session_page", "sessions_csv", "sessions_page"]

_PAGE, _MOST, _STEPS = 50, 5000, 200
_GONE = "There is no such event, or it is not kept any more"
_STATES = {"": "Any state", "active": "Going on", "ended": "Ended"}
_TYPES = {"": "Any type", "api_call": "Model call", "mcp_tool": "Tool call", "session": "Session"}
_STATUSES = {"": "Any status", "ok": "Succeeded", "error": "Failed"}


# ---------------------------------------------------------------- what an address says
def _period(request: HttpRequest) -> Period:
    return period_of(request.GET.get("period"), request.org.timezone)  # type: ignore[attr-defined]


def _text(request: HttpRequest, name: str) -> str:
    return request.GET.get(name, "").replace("\0", "").strip()[:256]


def _id(request: HttpRequest, name: str) -> str:
    try:
        return str(UUID(request.GET.get(name, "")))
    except ValueError:
        return ""


def _after(request: HttpRequest) -> tuple[datetime, str] | None:
    """The place that ``after`` names: a moment and what tells equal ones apart; nonsense counts as not there."""
    moment, _, ident = request.GET.get("after", "").partition("~")
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return (at, ident) if at.tzinfo is not None and ident else None


def _address(**said: str) -> str:
    return urlencode([(name, value) for name, value in said.items() if value and (name, value) != ("period", "28d")])


def _who(request: HttpRequest) -> dict[str, Any]:
    """The choices of the filter form."""
    org = request.org  # type: ignore[attr-defined]
    given = given_to(request)
    members = member_infos(org.id) if given is None or can(request, "member.read") else []
    people = sorted(((str(m.user_id), m.name or m.email) for m in members), key=lambda p: p[1].casefold())
    named = {str(key): name for key, name in project_names(org.id).items()}
    projects = sorted(
        ((key, name) for key, name in named.items() if given is None or key in given), key=lambda p: p[1].casefold()
    )
    return {"people": people, "projects": projects, "periods": PERIODS}


def _names(org_id: UUID, bodies: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Names of the people and projects of some events or sessions; two queries."""
    found = {}
    for field, by in (("user_id", "user"), ("project_id", "project")):
        keys = {body[field] or "" for body in bodies}
        found[by] = value_names(org_id, by, keys) if keys else {}
    return found


def _narrowed(request: HttpRequest, filters: dict[str, list[str]]) -> dict[str, list[str]]:
    return narrowed(filters, given_to(request))


# ---------------------------------------------------------------- sessions
def _session_filters(request: HttpRequest) -> dict[str, str]:
    state = request.GET.get("state", "")
    return {
        "period": _period(request).key,
        "user": _id(request, "user"),
        "project": _id(request, "project"),
        "state": state if state in _STATES else "",
    }


def _sessions(request: HttpRequest, said: Mapping[str, str], limit: int, *, paged: bool = True) -> list[Any]:
    period, place = _period(request), _after(request) if paged else None
    number = int(place[1]) if place and place[1].lstrip("-").isascii() and place[1].lstrip("-").isdigit() else 0
    filters = _narrowed(request, {name: [said[name]] for name in ("user", "project") if said[name]})
    return session_list(
        org_id=request.org.id,  # type: ignore[attr-defined]
        filters=filters,
        projects=only_of(filters, given_to(request)),
        limit=limit,
        start=period.start,
        end=period.end,
        after=(place[0], max(-(2**63), min(number, 2**63 - 1))) if place else None,
        states=[said["state"]] if said["state"] else ("active", "ended"),
        idle=idle_limit(),
    )


@org_page(capability="usage.read", title="Sessions", key="sessions", granted=given_usage)
@require_safe
def sessions_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/sessions``: what people and agents did in one go, the latest first."""
    org = request.org  # type: ignore[attr-defined]
    said = _session_filters(request)
    found = _sessions(request, said, _PAGE + 1)
    bodies = [row.body for row in found[:_PAGE]]
    names = _names(org.id, bodies)
    for body in bodies:
        _dress_session(body, names)
    older = ""
    if len(found) > _PAGE:
        last = found[_PAGE - 1]
        older = _address(**said, after=f"{last.at.isoformat()}~{last.number}")
    context = _who(request) | {
        "rows": bodies, "said": said, "period": _period(request), "older": older, "states": _STATES,
        "later": bool(_after(request)), "address": _address(**said),
    }  # fmt: skip
    return render(request, "analytics/sessions.html", context)


def _dress_session(body: dict[str, Any], names: Mapping[str, Mapping[str, str]]) -> None:
    metrics = body["metrics"]
    body["person"] = names["user"][body["user_id"] or ""]
    body["project"] = names["project"][body["project_id"] or ""]
    body["started"] = datetime.fromisoformat(body["started_at"])
    body["address"] = urlencode({"id": body["session_id"]})
    body["cost"] = Decimal(metrics["cost_usd"])
    body["tokens"] = sum(
        metrics[name] for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")
    )


@org_page(capability="usage.read", title="Sessions", key="sessions", granted=given_usage)
@require_safe
def sessions_csv(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/sessions.csv``: the sessions of the view, the latest 5,000."""
    org = request.org  # type: ignore[attr-defined]
    bodies = [row.body for row in _sessions(request, _session_filters(request), _MOST, paged=False)]
    names = _names(org.id, bodies)
    sums = ("events", "calls", "tool_calls", "errors", "input_tokens", "output_tokens", "cache_read_tokens",
            "cache_creation_tokens", "cost_usd")  # fmt: skip
    rows = [
        [body["session_id"], names["user"][body["user_id"] or ""], names["project"][body["project_id"] or ""],
         body["state"], body["started_at"], body["last_at"], body["duration_ms"], " ".join(body["models"]),
         *(body["metrics"][name] for name in sums)]
        for body in bodies
    ]  # fmt: skip
    header = ["session_id", "person", "project", "state", "started_at", "last_at", "duration_ms", "models", *sums]
    return csv_response(f"{org.slug}-sessions", header, rows)


@org_page(capability="usage.read", title="Session", key="sessions", granted=given_usage)
@require_safe
def session_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/session?id=…``: one session against time, a step explained (``event``, else the dearest).

    The id is a parameter, because a sender may put anything into it, slashes and dots too.
    """
    org = request.org  # type: ignore[attr-defined]
    session_id = _text(request, "id")
    given = given_to(request)
    found = session_get(org_id=org.id, session_id=session_id, idle=idle_limit(), projects=given) if session_id else None
    if found is None:
        raise NotFound("There is no such session")
    _dress_session(found.body, _names(org.id, [found.body]))
    place = _after(request)
    rows = session_events(
        org_id=org.id, session_id=session_id, start=found.started_at, end=found.at, limit=_STEPS + 1,
        after=(place[0], UUID(place[1])) if place and _is_uuid(place[1]) else None, projects=given,
    )  # fmt: skip
    seen = rows[:_STEPS]
    drawn = waterfall([row.body for row in seen])
    chosen_id = _id(request, "event") or _dearest(drawn.steps)
    chosen = event_explained(org_id=org.id, event_id=UUID(chosen_id)) if chosen_id else None
    if chosen is not None and given is not None and chosen["project_id"] not in given:
        chosen = None
    here = {"id": session_id, **({"after": request.GET["after"]} if place else {})}
    for step in drawn.steps:
        step.event["address"] = urlencode(here | {"event": step.event["event_id"]})  # type: ignore[index]
    more = ""
    if len(rows) > _STEPS:
        last = rows[_STEPS - 1]
        more = urlencode({"id": session_id, "after": f"{last.at.isoformat()}~{last.event_id}"})
    context = {
        "session": found.body, "drawn": drawn, "more": more, "paged": bool(place),
        "chosen": _dress_event(org.id, chosen) if chosen and chosen["session_id"] == session_id else None,
        "by_model": _by_model(seen) if not more and not place else [],
        "kept": bool(rows), **_beside(drawn.steps, chosen_id),
    }  # fmt: skip
    record_read(what="raw events", org_id=org.id)
    return render(request, "analytics/session.html", context)


def _dearest(steps: Sequence[Step]) -> str:
    """The id of the step that cost most, of equal ones the first; empty where there is none."""
    best = max(steps, key=lambda step: Decimal(step.event["cost_usd"] or 0), default=None)
    return str(best.event["event_id"]) if best else ""


def _beside(steps: Sequence[Step], chosen_id: str) -> dict[str, Any]:
    """The chosen step's number among those of the page, and the addresses of the one before and the one after."""
    ids = [step.event["event_id"] for step in steps]
    if chosen_id not in ids:
        return {}
    at = ids.index(chosen_id)
    return {
        "number": at + 1,
        "before": steps[at - 1].event["address"] if at else "",
        "after": steps[at + 1].event["address"] if at + 1 < len(steps) else "",
    }


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _by_model(rows: list[Any]) -> list[tuple[str, Decimal]]:
    sums: dict[str, Decimal] = {}
    for row in rows:
        if row.body["model"] and row.body["cost_usd"] is not None:
            sums[row.body["model"]] = sums.get(row.body["model"], Decimal(0)) + Decimal(row.body["cost_usd"])
    return sorted(sums.items(), key=lambda pair: (-pair[1], pair[0]))


# ---------------------------------------------------------------- raw events
def _event_filters(request: HttpRequest) -> dict[str, str]:
    kind, status = request.GET.get("type", ""), request.GET.get("status", "")
    return {
        "period": _period(request).key,
        "type": kind if kind in _TYPES else "",
        "status": status if status in _STATUSES else "",
        "user": _id(request, "user"),
        "project": _id(request, "project"),
        "model": _text(request, "model"),
        "tool": _text(request, "tool"),
        "session": _text(request, "session"),
        "request": _text(request, "request"),
    }


_FIELDS = {
    "type": "event_type", "status": "status", "user": "user", "project": "project", "model": "model",
    "tool": "mcp_tool", "session": "session_id", "request": "request_id",
}  # fmt: skip


def _events(request: HttpRequest, said: Mapping[str, str], limit: int, *, paged: bool = True) -> list[Any]:
    period, place = _period(request), _after(request) if paged else None
    return event_search(
        org_id=request.org.id,  # type: ignore[attr-defined]
        filters=_narrowed(
            request, {_FIELDS[name]: [value] for name, value in said.items() if name in _FIELDS and value}
        ),
        limit=limit,
        start=period.start,
        end=period.end + timedelta(minutes=5),
        after=(place[0], UUID(place[1])) if place and _is_uuid(place[1]) else None,
    )


@org_page(capability="usage.read", title="Events", key="events", granted=given_usage)
@require_safe
def events_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/events``: raw events by any field, newest first; ``follow`` shows new ones as they are counted."""
    org = request.org  # type: ignore[attr-defined]
    wanted = _text(request, "id")
    if _is_uuid(wanted):
        return redirect("event", org.slug, UUID(wanted))
    said = _event_filters(request)
    found = _events(request, said, _PAGE + 1)
    bodies = [row.body for row in found[:_PAGE]]
    names = _names(org.id, bodies)
    for body in bodies:
        body["person"] = names["user"][body["user_id"] or ""]
        body["project"] = names["project"][body["project_id"] or ""]
        body["at"] = datetime.fromisoformat(body["timestamp"])
        body["cost"] = None if body["cost_usd"] is None else Decimal(body["cost_usd"])
    older = ""
    if len(found) > _PAGE:
        last = found[_PAGE - 1]
        older = _address(**said, after=f"{last.at.isoformat()}~{last.event_id}")
    filters = {f"filter[{_FIELDS[name]}]": value for name, value in said.items() if name in _FIELDS and value}
    context = _who(request) | {
        "rows": bodies, "said": said, "period": _period(request), "older": older, "types": _TYPES,
        "statuses": _STATUSES, "later": bool(_after(request)), "address": _address(**said), "wanted": wanted,
        "filtered": bool(filters), "socket": f"/ws/usage/events?{urlencode({'org': org.slug, **filters})}",
    }  # fmt: skip
    record_read(what="raw events", org_id=org.id)
    return render(request, "analytics/events.html", context)


@org_page(capability="usage.read", title="Events", key="events", granted=given_usage)
@require_safe
def events_csv(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/events.csv``: the events of the view, the newest 5,000."""
    bodies = [row.body for row in _events(request, _event_filters(request), _MOST, paged=False)]
    header = [
        "timestamp", "event_id", "event_type", "status", "model", "user_id", "project_id", "team_id", "key_id",
        "session_id", "request_id", "mcp_server", "mcp_tool", "input_tokens", "output_tokens",
        "cache_read_input_tokens", "cache_creation_input_tokens", "latency_ms", "cost_usd", "cost_source", "error_type",
    ]  # fmt: skip
    rows = [[body[name] for name in header] for body in bodies]
    record_read(what="raw events", org_id=request.org.id, key="csv")  # type: ignore[attr-defined]
    return csv_response(f"{request.org.slug}-events", header, rows)  # type: ignore[attr-defined]


@org_page(capability="usage.read", title="Event", key="events", granted=given_usage)
@require_safe
def event_page(request: HttpRequest, event_id: UUID) -> HttpResponse:
    """``/o/<slug>/events/<id>``: every field of one event, and how its cost came about."""
    org = request.org  # type: ignore[attr-defined]
    found = event_explained(org_id=org.id, event_id=event_id)
    if found is None:
        raise NotFound(_GONE)
    require_given(found["project_id"], given_to(request), _GONE)
    record_read(what="raw events", org_id=org.id)
    return render(request, "analytics/event.html", {"chosen": _dress_event(org.id, found)})


def _pace(body: Mapping[str, Any]) -> dict[str, Any]:
    """When a call's first token came, and how fast the others did from there on, where its sender told it."""
    first = first_token_ms(body)
    after = body["latency_ms"] - first if first else 0
    speed = round(body["output_tokens"] / after * 1000) if after and body["output_tokens"] else 0
    return {"first_ms": first, "speed_words": f"{speed} tokens/s" if speed else ""}


def _dress_event(org_id: UUID, body: dict[str, Any]) -> dict[str, Any]:
    raw = json.dumps({key: value for key, value in body.items() if key != "cost_explanation"}, indent=2)
    names = _names(org_id, [body])
    explanation = body["cost_explanation"]
    return body | {
        "raw": raw,
        "at": datetime.fromisoformat(body["timestamp"]),
        "person": names["user"][body["user_id"] or ""],
        "project": names["project"][body["project_id"] or ""],
        "key": value_names(org_id, "key", [body["key_id"] or ""])[body["key_id"] or ""],
        "team": value_names(org_id, "team", [body["team_id"] or ""])[body["team_id"] or ""],
        "session_address": urlencode({"id": body["session_id"] or "", "event": body["event_id"]}),
        "cost": None if body["cost_usd"] is None else Decimal(body["cost_usd"]),
        "lines": [line | {"words": line["kind"].replace("_", " ").capitalize()} for line in explanation["lines"]],
        "price": explanation["price"],
        "note": explanation["note"],
        **_pace(body),
    }
