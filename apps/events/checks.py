"""What is wrong with the bus of this build, said at start."""

from typing import Any

from django.core import checks

from apps.events import registry

__all__ = ["check_subscriptions"]


@checks.register("events")
def check_subscriptions(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Every subscription hears at least one type that exists."""
    names = [event_type.name for event_type in registry.event_types()]
    return [
        checks.Error(
            f"the subscription {subscription.name!r} waits for {wanted!r}, which nobody publishes",
            hint="register the type in the events.py of the app that publishes it, or correct the name",
            id="events.E001",
        )
        for subscription in registry.subscriptions().values()
        for wanted in subscription.types
        if not any(name == wanted or (wanted.endswith(".*") and name.startswith(wanted[:-1])) for name in names)
    ]
