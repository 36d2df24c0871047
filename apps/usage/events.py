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
                    **{name: _COUNT for name in _COUNTS},
                    "cost_usd": {"type": "string"},
                    **{name: _NAMES for name in _LISTS},
                },
                "required": ["cost_usd", *_COUNTS, *_LISTS],
            },
        )
    )
