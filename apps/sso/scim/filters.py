"""Filters as conditions: of the database for lists, of one element for the paths of a PATCH."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import BooleanField
from django.db.models.expressions import RawSQL
from django.utils.dateparse import parse_datetime

from apps.sso.scim.errors import ScimError
from apps.sso.scim.grammar import And, Compare, Node, Not, Or, ValuePath, parse_filter

__all__ = ["group_condition", "matches", "user_condition"]

_ORDER = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


@dataclass(frozen=True, slots=True)
class _Column:
    """What of our own an attribute is: an SQL expression, and how it is compared."""

    sql: str
    kind: str = "text"  # text (whatever the case), exact, uuid, boolean, time


_USER = {
    "id": _Column("sso_scimuser.id", "uuid"),
    "username": _Column("sso_scimuser.user_name"),
    "externalid": _Column("sso_scimuser.external_id", "exact"),
    "active": _Column("sso_scimuser.is_active", "boolean"),
    "meta.created": _Column("sso_scimuser.created_at", "time"),
    "meta.lastmodified": _Column("sso_scimuser.updated_at", "time"),
}
_GROUP = {
    "id": _Column("sso_scimgroup.id", "uuid"),
    "displayname": _Column("sso_scimgroup.display_name"),
    "externalid": _Column("sso_scimgroup.external_id", "exact"),
    "meta.created": _Column("sso_scimgroup.created_at", "time"),
    "meta.lastmodified": _Column("sso_scimgroup.updated_at", "time"),
}
# Attributes with several values; without a sub-attribute their `value` is meant.
_LISTS = frozenset({"emails", "phonenumbers", "addresses", "ims", "photos", "roles", "entitlements"})
_SINGLE = frozenset(
    {
        "displayname", "nickname", "profileurl", "title", "usertype", "preferredlanguage", "locale", "timezone",
        "name.formatted", "name.familyname", "name.givenname", "name.middlename", "name.honorificprefix",
        "name.honorificsuffix",
    }
)  # fmt: skip
# How names are spelt where we keep them; the grammar compares them whatever their case.
_SPELLING = {
    name.lower(): name
    for name in (
        "displayName", "nickName", "profileUrl", "title", "userType", "preferredLanguage", "locale", "timezone", "name",
        "formatted", "familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix", "emails",
        "phoneNumbers", "addresses", "ims", "photos", "roles", "entitlements", "value", "type", "primary", "display",
    )
}  # fmt: skip


def user_condition(text: str) -> RawSQL:
    """A filter of users; :class:`ScimError` ``invalidFilter`` for an attribute or operator that is not offered."""
    sql, params = _sql(parse_filter(text), _user_attribute, _user_elements)
    return RawSQL(sql, params, output_field=BooleanField())  # noqa: S611 - made of our own words; values are parameters


def group_condition(text: str) -> RawSQL:
    """A filter of groups; the same."""
    sql, params = _sql(parse_filter(text), _group_attribute, _group_elements)
    return RawSQL(sql, params, output_field=BooleanField())  # noqa: S611 - the same


Sql = tuple[str, list[Any]]


def _sql(node: Node, attribute: Any, elements: Any) -> Sql:
    match node:
        case And(left, right) | Or(left, right):
            (a, first), (b, second) = _sql(left, attribute, elements), _sql(right, attribute, elements)
            word = "AND" if isinstance(node, And) else "OR"
            return f"({a} {word} {b})", [*first, *second]
        case Not(inner):
            sql, params = _sql(inner, attribute, elements)
            return f"(NOT COALESCE({sql}, FALSE))", params
        case ValuePath(names, inner):
            return elements(names, inner)  # type: ignore[no-any-return]
        case Compare():
            return attribute(node)  # type: ignore[no-any-return]


# ---------------------------------------------------------------- users
def _user_attribute(node: Compare) -> Sql:
    name = ".".join(node.names).lower()
    if column := _USER.get(name):
        return _compared(column, [], node)
    head, _, sub = name.partition(".")
    if head in _LISTS:
        return _user_elements(node.names[:1], Compare((sub or "value",), node.op, node.value))
    if name in _SINGLE:
        return _compared(_Column("(sso_scimuser.attributes #>> %s)"), [_spelt(name)], node)
    if node.names[0].lower().startswith("urn:"):
        return _compared(_Column("(sso_scimuser.attributes #>> %s)"), [list(node.names)], node)
    raise _unknown(node.names)


def _user_elements(names: tuple[str, ...], inner: Node) -> Sql:
    if len(names) != 1 or names[0].lower() not in _LISTS:
        raise _unknown(names)

    def attribute(node: Compare) -> Sql:
        if len(node.names) != 1 or node.names[0].lower() not in {"value", "type", "primary", "display"}:
            raise _unknown((*names, *node.names))
        return _compared(_Column("(element #>> %s)"), [_spelt(node.names[0])], node)

    def elements(below: tuple[str, ...], _: Node) -> Sql:
        raise _unknown((*names, *below))

    sql, params = _sql(inner, attribute, elements)
    source = "jsonb_path_query(sso_scimuser.attributes, %s::jsonpath)"
    path = f'lax $."{_SPELLING[names[0].lower()]}"[*]'
    return f"EXISTS (SELECT 1 FROM {source} AS element WHERE {sql})", [path, *params]  # noqa: S608 - our own words


def _spelt(name: str) -> list[str]:
    return [_SPELLING[part] for part in name.lower().split(".")]


# ---------------------------------------------------------------- groups
def _group_attribute(node: Compare) -> Sql:
    name = ".".join(node.names).lower()
    if column := _GROUP.get(name):
        return _compared(column, [], node)
    if name in {"members", "members.value"}:
        return _group_elements(("members",), Compare(("value",), node.op, node.value))
    raise _unknown(node.names)


def _group_elements(names: tuple[str, ...], inner: Node) -> Sql:
    if names[0].lower() != "members" or not isinstance(inner, Compare) or inner.names[0].lower() != "value":
        raise _unknown(names)
    sql, params = _compared(_Column("inside.member_id", "uuid"), [], inner)
    within = "sso_scimgroupmember AS inside WHERE inside.group_id = sso_scimgroup.id"
    return f"EXISTS (SELECT 1 FROM {within} AND {sql})", params  # noqa: S608 - our own words


# ---------------------------------------------------------------- comparing
def _compared(column: _Column, before: list[Any], node: Compare) -> Sql:
    """One comparison as SQL; ``before`` are the parameters of the column's own expression."""
    sql, op, value = column.sql, node.op, node.value
    if op == "pr":
        if column.kind in {"text", "exact"}:
            return f"(COALESCE({sql}, '') <> '')", before
        return f"({sql} IS NOT NULL)", before
    if value is None:
        if op not in {"eq", "ne"}:
            raise ScimError(f"{op} does not compare with null", "invalidFilter")
        return f"({sql} IS {'NOT ' if op == 'ne' else ''}NULL)", before
    if column.kind == "uuid":
        return _compared_id(sql, before, op, value)
    if column.kind == "boolean":
        return _compared_boolean(sql, before, op, value)
    if column.kind == "time":
        moment = parse_datetime(value) if isinstance(value, str) else None
        if moment is None or op not in {*_ORDER, "eq", "ne"}:
            raise ScimError("A date and time is wanted here", "invalidFilter")
        return f"({sql} {_ORDER.get(op, '=' if op == 'eq' else '<>')} %s)", [*before, moment]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return _compared_text(sql if column.kind == "exact" else f"lower({sql})", before, op, text, column.kind)


def _compared_text(sql: str, before: list[Any], op: str, text: str, kind: str) -> Sql:
    wanted = text if kind == "exact" else text.lower()
    match op:
        case "eq":
            return f"({sql} = %s)", [*before, wanted]
        case "ne":
            return f"({sql} IS DISTINCT FROM %s)", [*before, wanted]
        case "co":
            return f"(position(%s IN {sql}) > 0)", [wanted, *before]
        case "sw":
            return f"(starts_with({sql}, %s))", [*before, wanted]
        case "ew":
            return f"(right({sql}, %s) = %s)", [*before, len(wanted), wanted]
    return f"({sql} {_ORDER[op]} %s)", [*before, wanted]


def _compared_id(sql: str, before: list[Any], op: str, value: Any) -> Sql:
    if op not in {"eq", "ne"}:
        raise ScimError(f"Ids are not compared by {op}", "invalidFilter")
    try:
        wanted = UUID(str(value))
    except ValueError:
        return ("FALSE" if op == "eq" else "TRUE"), []  # no id of ours: nothing has it
    return f"({sql} {'=' if op == 'eq' else '<>'} %s)", [*before, wanted]


def _compared_boolean(sql: str, before: list[Any], op: str, value: Any) -> Sql:
    # Entra sends booleans as words.
    known = {"true": True, "false": False}
    wanted = known.get(str(value).lower())
    if wanted is None or op not in {"eq", "ne"}:
        raise ScimError("true or false is compared here, by eq or ne", "invalidFilter")
    return f"({sql} = %s)", [*before, wanted if op == "eq" else not wanted]


def _unknown(names: tuple[str, ...]) -> ScimError:
    return ScimError(f"{'.'.join(names)[:100]} is not an attribute that can be asked for", "invalidFilter")


# ---------------------------------------------------------------- one element
def matches(node: Node, element: Mapping[str, Any]) -> bool:
    """Whether an element of a list meets the filter in the brackets of a path."""
    match node:
        case And(left, right):
            return matches(left, element) and matches(right, element)
        case Or(left, right):
            return matches(left, element) or matches(right, element)
        case Not(inner):
            return not matches(inner, element)
        case ValuePath():
            raise ScimError("A path has one pair of brackets", "invalidPath")
        case Compare(names, op, value):
            found = next((held for name, held in element.items() if name.lower() == names[-1].lower()), None)
            return _holds(found, op, value)


def _holds(found: Any, op: str, value: Any) -> bool:
    if op == "pr":
        return found not in (None, "")
    if found is None or value is None:
        return (found is value) == (op == "eq")
    left, right = str(found).lower(), str(value).lower()
    checks = {
        "eq": left == right,
        "ne": left != right,
        "co": right in left,
        "sw": left.startswith(right),
        "ew": left.endswith(right),
        "gt": left > right,
        "ge": left >= right,
        "lt": left < right,
        "le": left <= right,
    }
    return checks[op]
