"""What the usage engine publishes."""

from apps.events.registry import EventType, register_type

__all__ = ["register"]

_COUNT = {"type": "integer", "minimum": 0}
_AT = {"type": "string", "format": "date-time"}
_MAYBE_AT = {"type": ["string", "null"], "format": "date-time"}
_ID = {"type": "string", "format": "uuid"}
_MAYBE_ID = {"type": ["string", "null"], "format": "uuid"}
_SECONDS = {"type": "number", "minimum": 0}
_NAMES = {"type": "array", "items": {"type": "string"}}
_COUNTS = (
    "events", "calls", "tool_calls", "errors", "input_tokens", "output_tokens", "cache_read_tokens",
    "cache_creation_tokens", "unpriced",
)  # fmt: skip
_LISTS = ("minutes", "models", "event_types", "mcp_servers", "sources", "projects", "teams", "people", "keys")

_SESSION = {
    "session_id": {"type": "string"},
    "project_id": _MAYBE_ID,
    "user_id": _MAYBE_ID,
    "team_id": _MAYBE_ID,
    "key_id": _MAYBE_ID,
    "started_at": _AT,
}
_SESSION_COUNTS = (
    "duration_ms", "events", "calls", "tool_calls", "errors", "input_tokens", "output_tokens", "cache_read_tokens",
    "cache_creation_tokens",
)  # fmt: skip
_SHARD = {"shard": {"type": ["integer", "null"]}, "slots": {"type": "array", "items": {"type": "integer"}}}


def register() -> None:
    """Make the types known to the bus."""
    _register_counting()
    _register_sessions()
    _register_drain()
    _register_background()
    _register_imports()


def _register_sessions() -> None:
    started = {**_SESSION, "restarted": {"type": "boolean"}}
    register_type(
        EventType(
            name="usage.session_started",
            topic="usage.events",
            description="A session was counted for the first time, or goes on after it had been told as ended"
            " (`restarted`).",
            schema={"properties": started, "required": list(started)},
        )
    )
    ended = {
        **_SESSION,
        "ended_at": _AT,
        "models": _NAMES,
        **dict.fromkeys(_SESSION_COUNTS, _COUNT),
        "cost_usd": {"type": "string"},
    }
    register_type(
        EventType(
            name="usage.session_ended",
            topic="usage.events",
            description="Nothing came for a session in half an hour (a setting); `ended_at` is its last event, the"
            " counts are those of the whole session.",
            schema={"properties": ended, "required": list(ended)},
        )
    )


def _register_drain() -> None:
    stalled = {**_SHARD, "waiting_events": _COUNT, "lag_seconds": _SECONDS, "flushed_at": _MAYBE_AT}
    register_type(
        EventType(
            name="usage.drain_stalled",
            topic="usage.events",
            description="A shard of the drain writes nothing while events of its slots wait; `shard` is null where no"
            " drain works on the slots. Told once, until `usage.drain_recovered`.",
            schema={"properties": stalled, "required": list(stalled)},
        )
    )
    recovered = {**_SHARD, "stalled_at": _AT, "stalled_seconds": _SECONDS}
    register_type(
        EventType(
            name="usage.drain_recovered",
            topic="usage.events",
            description="A shard that was told of as stuck goes on.",
            schema={"properties": recovered, "required": list(recovered)},
        )
    )
    work = {"shard": {"type": "integer"}, "work": {"type": "string"}, "since": _AT}
    failing = {**work, "reason": {"type": "string"}}
    register_type(
        EventType(
            name="usage.upkeep_failing",
            topic="usage.events",
            description="Work of the drain beside the counting (merging, folding, announcing) fails again and again, or"
            " leaves something out. Counting goes on. Told once, until `usage.upkeep_recovered`.",
            schema={"properties": failing, "required": list(failing)},
        )
    )
    recovered = {**work, "failed_seconds": _SECONDS}
    register_type(
        EventType(
            name="usage.upkeep_recovered",
            topic="usage.events",
            description="Work of the drain beside the counting that was told of as failing succeeds again.",
            schema={"properties": recovered, "required": list(recovered)},
        )
    )
    set_aside = {
        "batch": {"type": "integer"}, "org_id": _ID, "events": _COUNT, "received_at": _AT, "reason": {"type": "string"},
    }  # fmt: skip
    register_type(
        EventType(
            name="usage.batch_set_aside",
            topic="usage.events",
            description="Accepted events of an organisation could not be counted. They are kept, and the others go on.",
            schema={"properties": set_aside, "required": list(set_aside)},
        )
    )


def _register_counting() -> None:
    register_type(
        EventType(
            name="usage.batch_ingested",
            topic="usage.events",
            description="What a flush of the drain counted for one organisation: sums, and the minutes and dimensions"
            " that it touched (at most 100 of each).",
            schema={
                "properties": {
                    **dict.fromkeys(_COUNTS, _COUNT),
                    "cost_usd": {"type": "string"},
                    **dict.fromkeys(_LISTS, _NAMES),
                },
                "required": ["cost_usd", *_COUNTS, *_LISTS],
            },
        )
    )
    register_type(
        EventType(
            name="usage.model_unpriced",
            topic="usage.events",
            description="Calls of a model were counted for which the price book has no price; at most once an hour for"
            " each organisation and model.",
            schema={"properties": {"model": {"type": "string"}, "events": _COUNT}, "required": ["model", "events"]},
        )
    )
    outside = {
        "project_id": _ID, "key_id": _ID, "rule": {"type": "string", "enum": ["model", "source"]},
        "value": {"type": "string"}, "events": _COUNT, "refused": {"type": "boolean"},
    }  # fmt: skip
    register_type(
        EventType(
            name="usage.outside_settings",
            topic="usage.events",
            description="Events came of a model or a source that their project's settings do not allow; at most once an"
            " hour for each value and process. `refused` tells whether they were rejected or counted.",
            schema={"properties": outside, "required": list(outside)},
        )
    )
    register_type(
        EventType(
            name="usage.price_changed",
            topic="usage.events",
            description="A price was set or ended: of one organisation, or without one the list price of all.",
            schema={
                "properties": {
                    "price_id": {"type": "string", "format": "uuid"},
                    "model": {"type": "string"},
                    "valid_from": {"type": "string", "format": "date-time"},
                    "valid_to": {"type": ["string", "null"], "format": "date-time"},
                },
                "required": ["price_id", "model", "valid_from", "valid_to"],
            },
        )
    )


def _register_imports() -> None:
    finished = {
        "import_id": _ID,
        "project_id": _ID,
        "name": {"type": "string"},
        "state": {"type": "string", "enum": ["completed", "failed", "cancelled"]},
        "failure": {"type": "string"},
        **dict.fromkeys(("lines_read", "accepted", "duplicates", "rejected", "repeated"), _COUNT),
    }
    register_type(
        EventType(
            name="usage.import_finished",
            topic="usage.events",
            description="An import of usage events has ended; `failure` says why it failed, else it is empty."
            " `repeated` are lines that were imported before.",
            schema={"properties": finished, "required": list(finished)},
        )
    )


def _register_background() -> None:
    usd = {"type": "string"}
    repriced = {
        "reprice_id": {"type": "string", "format": "uuid"}, "model": {"type": "string"}, "looked_at": _COUNT,
        "changed": _COUNT, "cost_before_usd": usd, "cost_after_usd": usd,
    }  # fmt: skip
    register_type(
        EventType(
            name="usage.repriced",
            topic="usage.events",
            description="A repricing is done: how many events it looked at and changed, and what these cost before and"
            " now. An empty model stands for all.",
            schema={"properties": repriced, "required": list(repriced)},
        )
    )
