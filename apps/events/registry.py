"""Which events exist and who hears them. Apps fill it from ``AppConfig.ready``; nothing changes it later."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from apps.events.contracts import TOPICS, Envelope
from apps.events.plain import Check, check_of

__all__ = [
    "EventType",
    "Handler",
    "Picks",
    "Subscription",
    "event_type",
    "event_types",
    "problems_of",
    "register_facts",
    "register_type",
    "subscribe",
    "subscriptions",
    "subscriptions_of",
    "unregister",
]

Handler = Callable[[Envelope], None]
Picks = Callable[[Sequence[Envelope]], Sequence[bool]]


@dataclass(frozen=True, slots=True)
class EventType:
    """A published fact. ``schema`` is the JSON Schema (2020-12) of ``data``; only additions may change it.

    ``source`` is the app that publishes it; left out, it is taken from the module that registers the type.
    """

    name: str
    topic: str
    schema: Mapping[str, Any]
    version: str = "1.0"
    description: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One listener with its own place in the stream.

    ``types`` are names, or families such as ``team.*``. ``handler`` is called once for each event in the order of its
    key; raising makes the bus try again, ``max_attempts`` times in all, before the event goes to the dead letters.

    ``picks``, where there is one, is given many events of these types at once and says of which the handler wants to
    hear: a question that is cheaper asked once for all of them than by a handler that finds nothing to do.
    """

    name: str
    types: tuple[str, ...]
    handler: Handler
    max_attempts: int = 8
    picks: Picks | None = None

    def hears(self, type_name: str) -> bool:
        """Whether events of this type are delivered to it."""
        return any(
            type_name == wanted or (wanted.endswith(".*") and type_name.startswith(wanted[:-1]))
            for wanted in self.types
        )


_types: dict[str, EventType] = {}
_validators: dict[str, Draft202012Validator] = {}
# Of the types whose schema is plain enough to have one.
_checks: dict[str, Check] = {}
_subscriptions: dict[str, Subscription] = {}


def register_type(event_type: EventType) -> EventType:
    """Make a type known; its ``data`` takes no properties that the schema does not name.

    Registering the same type again is harmless, another under its name is an error.
    """
    if event_type.topic not in TOPICS:
        raise ValueError(f"{event_type.name}: {event_type.topic!r} is none of the topics {', '.join(TOPICS)}")
    if not event_type.source:
        event_type = replace(event_type, source=_app_of(sys._getframe(1).f_globals["__name__"]))
    known = _types.get(event_type.name)
    if known is not None and known != event_type:
        raise ValueError(f"the event type {event_type.name!r} is registered already")
    schema = {"type": "object", "additionalProperties": False, **event_type.schema}
    Draft202012Validator.check_schema(schema)
    _types[event_type.name] = event_type
    _validators[event_type.name] = Draft202012Validator(schema, format_checker=FormatChecker())
    if (check := check_of(schema)) is not None:
        _checks[event_type.name] = check
    return event_type


def register_facts(types: Mapping[str, Mapping[str, Any]], *, topic: str = "audit.log") -> None:
    """:func:`register_type` for several, name → properties, whose data hold all that their schema names."""
    source = _app_of(sys._getframe(1).f_globals["__name__"])
    for name, properties in types.items():
        schema = {"type": "object", "properties": properties, "required": list(properties)}
        register_type(EventType(name=name, topic=topic, schema=schema, source=source))


def _app_of(module: str) -> str:
    """``apps.projects.events`` → ``projects``."""
    parts = module.split(".")
    return parts[1] if parts[0] == "apps" else parts[0]


def subscribe(
    *, name: str, types: Iterable[str], handler: Handler, max_attempts: int = 8, picks: Picks | None = None
) -> Subscription:
    """Have ``handler`` called for each event of these types, from now on.

    ``name`` (``app.purpose``) is the identity of the subscription: its backlog and its record of what it has handled
    hang on it, so it stays when the handler moves. The handler runs in a transaction of its own, in the scope of the
    event's organisation (a system scope where there is none), under its correlation id. Delivery is at least once:
    what the handler writes to the database is kept exactly once, what it does elsewhere may happen again. ``picks``
    (:class:`Subscription`) is asked when events are handed to the subscription, with the database as it is then.
    """
    subscription = Subscription(name, tuple(types), handler, max_attempts, picks)
    known = _subscriptions.get(name)
    if known is not None and known != subscription:
        raise ValueError(f"the subscription {name!r} is registered already")
    if max_attempts < 1:
        raise ValueError("max_attempts is at least 1")
    _subscriptions[name] = subscription
    return subscription


def unregister(*names: str) -> None:
    """Forget types and subscriptions of these names; for tests."""
    for name in names:
        _types.pop(name, None)
        _validators.pop(name, None)
        _checks.pop(name, None)
        _subscriptions.pop(name, None)


def event_type(name: str) -> EventType:
    """The registered type; KeyError where there is none."""
    return _types[name]


def event_types() -> list[EventType]:
    """All registered types by name."""
    return sorted(_types.values(), key=lambda known: known.name)


def problems_of(name: str, data: Any) -> list[str]:
    """What is wrong with the data of a type, as JSON has them; nothing where they fit its schema."""
    check = _checks.get(name)
    if check is not None and check(data):
        return []
    return [
        f"/{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in _validators[name].iter_errors(data)
    ]


def subscriptions() -> dict[str, Subscription]:
    """All subscriptions by name."""
    return dict(_subscriptions)


def subscriptions_of(type_name: str) -> list[Subscription]:
    """Who hears events of this type."""
    return [subscription for subscription in _subscriptions.values() if subscription.hears(type_name)]
