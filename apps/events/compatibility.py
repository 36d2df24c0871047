"""Published fields never change their meaning: what may and may not become of a schema once it is published.

Allowed: new types, new optional or required properties (a publisher may promise more), new values of an enumeration,
other descriptions. All else would surprise a subscriber that reads what it read yesterday.
"""

from collections.abc import Mapping
from typing import Any

from apps.events.registry import event_types

__all__ = ["breaking_changes", "published_schemas"]

Snapshot = Mapping[str, Mapping[str, Any]]
_PROSE = {"description", "title", "examples", "$comment"}


def published_schemas() -> dict[str, dict[str, Any]]:
    """What is published now: type → topic, version, schema of its data."""
    return {
        each.name: {"topic": each.topic, "version": each.version, "schema": dict(each.schema)} for each in event_types()
    }


def breaking_changes(old: Snapshot, new: Snapshot) -> list[str]:
    """What in ``new`` would break a subscriber written against ``old``, one sentence each."""
    found = []
    for name, was in old.items():
        now = new.get(name)
        if now is None:
            found.append(f"{name} is no longer published")
            continue
        if now["topic"] != was["topic"]:
            found.append(f"{name} moved from {was['topic']} to {now['topic']}")
        found += _schema_changes(name, was["schema"], now["schema"])
    return found


def _schema_changes(where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    found = []
    for name, schema in old.get("properties", {}).items():
        if name not in new.get("properties", {}):
            found.append(f"{where}/{name} is gone")
        else:
            found += _schema_changes(f"{where}/{name}", schema, new["properties"][name])
    found += [
        f"{where}/{name} may be missing now"
        for name in old.get("required", [])
        if name not in new.get("required", []) and name in new.get("properties", {})
    ]
    if isinstance(old.get("items"), Mapping) and isinstance(new.get("items"), Mapping):
        found += _schema_changes(f"{where}/[]", old["items"], new["items"])
    elif old.get("items") != new.get("items"):
        found.append(f"{where}: its items changed")
    if missing := [value for value in old.get("enum", []) if value not in new.get("enum", old["enum"])]:
        found.append(f"{where} no longer takes {', '.join(map(str, missing))}")
    handled = {"properties", "required", "items", "enum", *_PROSE}
    changed = sorted(name for name in {*old, *new} - handled if old.get(name) != new.get(name))
    return found + [f"{where}: {name} changed from {old.get(name)!r} to {new.get(name)!r}" for name in changed]
