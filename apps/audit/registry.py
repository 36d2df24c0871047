"""Which actions the trail knows. Apps fill it from ``AppConfig.ready``."""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["actions", "is_person", "is_registered", "register_action", "register_actions", "register_person_target"]

_actions: dict[str, str] = {}
_people = {"user", "member", "person"}


def register_action(name: str, description: str) -> str:
    """Make an action known: ``project.created`` and a sentence for whoever reads the trail; returns the name.

    Registering it again with the same sentence is harmless, with another an error.
    """
    known = _actions.get(name)
    if known is not None and known != description:
        raise ValueError(f"the action {name!r} is registered already, as {known!r}")
    _actions[name] = description
    return name


def register_actions(actions: Mapping[str, str]) -> None:
    """:func:`register_action` for several, name → description."""
    for name, description in actions.items():
        register_action(name, description)


def is_registered(name: str) -> bool:
    """Whether :func:`apps.audit.services.record` takes this action."""
    return name in _actions


def actions() -> Mapping[str, str]:
    """All actions, name → description, by name."""
    return MappingProxyType(dict(sorted(_actions.items())))


def register_person_target(name: str) -> None:
    """Say that targets of this type are people: their ids are persons', their labels and names are personal."""
    _people.add(name)


def is_person(target_type: str) -> bool:
    """Whether what is said of targets of this type is sealed under the person's own key."""
    return target_type in _people
