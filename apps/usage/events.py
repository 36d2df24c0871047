"""What the usage engine publishes."""

from apps.events.registry import EventType, register_type

__all__ = ["register"]

_COUNT = {"type": "integer", "minimum": 0}
_NAMES = {"type": "array", "items": {"type": "string"}}
_COUNTS = (
    "events", "calls", "tool_calls", "errors", "input_tokens", "output_tokens", "cache_read_tokens",
    "cache_creation_tokens", "unpriced",
)  # fmt: skip
_LISTS = ("minutes", "models", "event_types", "mcp_servers", "sources", "projects", "teams", "people", "keys")


def register() -> None:
    """Make the types known to the bus."""
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
