"""PATCH (RFC 7644, 3.5.2), in the forms that Okta and Entra send it.

Okta leaves the path out and puts an object into ``value``. Entra writes operations with a capital, booleans as words
("False"), paths with filters (``emails[type eq "work"].value``), whole paths as keys of a value, and expects an element
that a filter does not find to be made.
"""

from typing import Any

from apps.sso.scim.errors import ScimError
from apps.sso.scim.filters import matches
from apps.sso.scim.grammar import And, Compare, Node, Path, parse_path

__all__ = ["PATCH_SCHEMA", "apply_patch"]

PATCH_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
_MOST = 1000
# Ours to say. In an object they are passed over, as Okta sends a group's id along; as a path they are refused.
_READ_ONLY = frozenset({"id", "meta", "schemas", "groups"})


def apply_patch(document: dict[str, Any], body: Any) -> dict[str, Any]:
    """The resource after the operations; :class:`ScimError` for what is none of SCIM's. ``document`` stays as it is."""
    if not isinstance(body, dict):
        raise ScimError("The body is an object with Operations", "invalidSyntax")
    operations = next((value for name, value in body.items() if name.lower() == "operations"), None)
    if not isinstance(operations, list) or not 0 < len(operations) <= _MOST:
        raise ScimError(f"Operations is a list of 1 to {_MOST}", "invalidSyntax")
    result: dict[str, Any] = _copy(document)
    for operation in operations:
        if not isinstance(operation, dict):
            raise ScimError("An operation is an object", "invalidSyntax")
        op = str(operation.get("op", "")).lower()
        if op not in {"add", "replace", "remove"}:
            raise ScimError("op is add, replace or remove", "invalidSyntax")
        _operate(result, op, operation.get("path"), operation.get("value"))
    return result


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(inner) for name, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _operate(document: dict[str, Any], op: str, path: Any, value: Any) -> None:
    if path is not None and path != "":
        parsed = parse_path(path)
        if parsed.names[0].lower() in _READ_ONLY:
            raise ScimError(f"{parsed.names[0]} cannot be changed", "mutability")
        _at(document, op, parsed, value)
        return
    if op == "remove":
        raise ScimError("remove needs a path", "noTarget")
    if not isinstance(value, dict):
        raise ScimError("Without a path, value is an object of attributes", "invalidValue")
    for name, inner in value.items():
        if name.lower() in _READ_ONLY:
            continue
        if name.lower().startswith("urn:") and isinstance(inner, dict):
            held = document.setdefault(_key(document, name), {})
            for below, deepest in inner.items():
                held[_key(held, below)] = deepest
        else:
            _at(document, op, parse_path(name), inner)


def _key(holder: dict[str, Any], name: str) -> str:
    """The key under which a holder has an attribute, whatever its case; the name itself where it has none."""
    return next((key for key in holder if key.lower() == name.lower()), name)


def _at(document: dict[str, Any], op: str, path: Path, value: Any) -> None:
    holder = document
    for name in path.names[:-1]:  # a schema extension
        holder = holder.setdefault(_key(holder, name), {})
        if not isinstance(holder, dict):
            raise ScimError("The path leads nowhere", "invalidPath")
    key = _key(holder, path.names[-1])
    if path.where is not None:
        _in_list(holder, key, op, path.where, path.sub, value)
    elif path.sub:
        _below(holder, key, op, path.sub, value)
    else:
        _whole(holder, key, op, value)


def _whole(holder: dict[str, Any], key: str, op: str, value: Any) -> None:
    if op == "remove":
        if isinstance(value, list) and isinstance(holder.get(key), list):
            # Entra's older form: the members to take out stand in the value.
            gone = {_identity(one) for one in value}
            holder[key] = [one for one in holder[key] if _identity(one) not in gone]
        else:
            holder.pop(key, None)
        return
    present = holder.get(key)
    if op == "add" and isinstance(present, list):
        known = {_identity(one) for one in present}
        more = value if isinstance(value, list) else [value]
        holder[key] = [*present, *(one for one in more if _identity(one) not in known)]
    elif isinstance(present, dict) and isinstance(value, dict):
        for name, inner in value.items():
            present[_key(present, name)] = inner
    else:
        holder[key] = value


def _identity(one: Any) -> str:
    """By what elements of a list are the same: their value and their type."""
    if isinstance(one, dict):
        return f"{str(one.get('value', '')).lower()}\0{str(one.get('type', '')).lower()}"
    return f"{str(one).lower()}\0"


def _below(holder: dict[str, Any], key: str, op: str, sub: str, value: Any) -> None:
    present = holder.get(key)
    if isinstance(present, list):
        for one in present:
            if isinstance(one, dict):
                _put(one, sub, op, value)
        return
    if present is None:
        if op == "remove":
            return
        present = holder[key] = {}
    if not isinstance(present, dict):
        raise ScimError(f"{key} has no {sub}", "invalidPath")
    _put(present, sub, op, value)


def _put(holder: dict[str, Any], name: str, op: str, value: Any) -> None:
    key = _key(holder, name)
    if op == "remove":
        holder.pop(key, None)
    else:
        holder[key] = value


def _in_list(holder: dict[str, Any], key: str, op: str, where: Node, sub: str, value: Any) -> None:
    present = holder.get(key)
    elements = [one for one in present if isinstance(one, dict)] if isinstance(present, list) else []
    found = [one for one in elements if matches(where, one)]
    if op == "remove":
        if sub:
            for one in found:
                one.pop(_key(one, sub), None)
        elif isinstance(present, list):
            holder[key] = [one for one in present if not any(one is gone for gone in found)]
        return
    if not found:
        made = _made_of(where)
        if made is None:
            raise ScimError("The filter of the path finds nothing", "noTarget")
        found = [made]
        holder[key] = [*elements, made]
    for one in found:
        if sub:
            one[_key(one, sub)] = value
        elif isinstance(value, dict):
            one |= value
        else:
            raise ScimError("An element is an object", "invalidValue")


def _made_of(where: Node) -> dict[str, Any] | None:
    """The element that a filter of plain equalities describes; None for any other filter."""
    match where:
        case Compare((name,), "eq", value):
            return {name: value}
        case And(left, right):
            first, second = _made_of(left), _made_of(right)
            return None if first is None or second is None else {**first, **second}
    return None
