"""Resources as documents: what is read out of those that come, and what goes out."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.conf import settings

from apps.sso.models import ScimGroup, ScimUser
from apps.sso.scim.errors import ScimError

__all__ = [
    "ENTERPRISE_SCHEMA",
    "GROUP_SCHEMA",
    "LIST_SCHEMA",
    "USER_SCHEMA",
    "UserValues",
    "etag",
    "group_document",
    "projected",
    "read_group",
    "read_user",
    "user_document",
]

USER_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE_SCHEMA = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
LIST_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
_LARGEST = 64 * 1024
# Attributes with a place of their own, or that are ours to say; the others are kept as they come.
_PLACED = frozenset({"id", "schemas", "meta", "groups", "username", "externalid", "active", "password"})
_SPELLING: dict[str, str] = {
    name.lower(): name
    for name in (
        "userName", "externalId", "active", "name", "displayName", "nickName", "profileUrl", "title", "userType",
        "preferredLanguage", "locale", "timezone", "emails", "phoneNumbers", "ims", "photos", "addresses", "roles",
        "entitlements", "x509Certificates", "members", "password", "id", "schemas", "meta", "groups",
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class UserValues:
    """What of a user's document matters here. ``attributes`` is the rest, kept and sent back."""

    user_name: str
    external_id: str
    is_active: bool
    email: str
    name: str
    attributes: dict[str, Any] = field(default_factory=dict)


# ---------------------------------------------------------------- reading
def read_user(body: Any) -> UserValues:
    """A user's document; :class:`ScimError` ``invalidValue`` for what cannot be one."""
    document = _document(body)
    user_name = _text(document, "userName", 254)
    if not user_name:
        raise ScimError("userName is needed", "invalidValue")
    emails = document.get("emails")
    if emails is not None and not (isinstance(emails, list) and all(isinstance(one, dict) for one in emails)):
        raise ScimError("emails is a list of objects", "invalidValue")
    name = document.get("name")
    if name is not None and not isinstance(name, dict):
        raise ScimError("name is an object", "invalidValue")
    return UserValues(
        user_name=user_name,
        external_id=_text(document, "externalId", 300),
        is_active=read_boolean(document.get("active", True)),
        email=_email(emails or [], user_name),
        name=_full_name(document),
        attributes={key: value for key, value in document.items() if key.lower() not in _PLACED and value is not None},
    )


def _document(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise ScimError("The body is an object", "invalidSyntax")
    if len(orjson.dumps(body)) > _LARGEST and "members" not in body:
        raise ScimError("A resource has at most 64 KiB", "invalidValue")
    return {_SPELLING.get(key.lower()) or str(key): _without_nul(value) for key, value in body.items()}


def _without_nul(value: Any) -> Any:
    """PostgreSQL takes no NUL."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, dict):
        return {str(key).replace("\0", ""): _without_nul(inner) for key, inner in value.items()}
    return [_without_nul(inner) for inner in value] if isinstance(value, list) else value


def _text(document: Mapping[str, Any], name: str, longest: int) -> str:
    value = document.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > longest:
        raise ScimError(f"{name} is text of at most {longest} characters", "invalidValue")
    return value.strip()


def read_boolean(value: Any) -> bool:
    """A boolean, or the word for one, which is how Entra sends them."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    raise ScimError("active is true or false", "invalidValue")


def _email(emails: list[dict[str, Any]], user_name: str) -> str:
    """The address a person goes by: the primary one, else the one for work, else the first, else their user name."""
    given = [one for one in emails if isinstance(one.get("value"), str) and "@" in one["value"]]
    ranked = sorted(
        given,
        key=lambda one: (
            str(one.get("primary", "")).lower() != "true",
            str(one.get("type", "")).lower() != "work",
        ),
    )
    email = ranked[0]["value"] if ranked else (user_name if "@" in user_name else "")
    return str(email).strip().lower()[:254]


def _full_name(document: Mapping[str, Any]) -> str:
    name = document.get("name") or {}
    parts = [name.get("givenName"), name.get("familyName")]
    joint = " ".join(part for part in parts if isinstance(part, str) and part)
    for candidate in (document.get("displayName"), name.get("formatted"), joint):
        if isinstance(candidate, str) and candidate.strip():
            return candidate.strip()[:150]
    return ""


def read_group(body: Any) -> tuple[str, str, list[str] | None]:
    """Name, external id and the ids of the members of a group's document; None where it says nothing of members."""
    document = _document(body)
    name = _text(document, "displayName", 300)
    if not name:
        raise ScimError("displayName is needed", "invalidValue")
    members = document.get("members")
    if members is None:
        return name, _text(document, "externalId", 300), None
    if not isinstance(members, list):
        raise ScimError("members is a list", "invalidValue")
    ids = [one.get("value") if isinstance(one, dict) else None for one in members]
    if not all(isinstance(one, str) for one in ids):
        raise ScimError("A member is an object with a value", "invalidValue")
    return name, _text(document, "externalId", 300), [str(one) for one in ids]


# ---------------------------------------------------------------- writing
def etag(row: ScimUser | ScimGroup) -> str:
    """The version of a resource: weak, as the same values can be written in several ways."""
    stamp = f"{row.pk}{row.updated_at.isoformat()}".encode()
    return f'W/"{hashlib.blake2b(stamp, digest_size=8).hexdigest()}"'


def _meta(row: ScimUser | ScimGroup, kind: str) -> dict[str, str]:
    return {
        "resourceType": kind,
        "created": row.created_at.isoformat().replace("+00:00", "Z"),
        "lastModified": row.updated_at.isoformat().replace("+00:00", "Z"),
        "location": f"{settings.PUBLIC_URL.rstrip('/')}/scim/v2/{kind}s/{row.pk}",
        "version": etag(row),
    }


def user_document(row: ScimUser, groups: Iterable[tuple[Any, str]] = ()) -> dict[str, Any]:
    """A user as it goes out; ``groups`` are id and name of those they are in."""
    extensions = [key for key in row.attributes if key.lower().startswith("urn:")]
    document = {
        "schemas": [USER_SCHEMA, *extensions],
        "id": str(row.pk),
        **({"externalId": row.external_id} if row.external_id else {}),
        "userName": row.user_name,
        **row.attributes,
        "active": row.is_active,
        "meta": _meta(row, "User"),
    }
    inside = [{"value": str(group_id), "display": name, "type": "direct"} for group_id, name in groups]
    return {**document, "groups": inside} if inside else document


def group_document(row: ScimGroup, members: Iterable[tuple[Any, str]] | None) -> dict[str, Any]:
    """A group as it goes out; ``members`` are id and user name, None where they are not asked for."""
    document: dict[str, Any] = {
        "schemas": [GROUP_SCHEMA],
        "id": str(row.pk),
        **({"externalId": row.external_id} if row.external_id else {}),
        "displayName": row.display_name,
        "meta": _meta(row, "Group"),
    }
    if members is not None:
        document["members"] = [
            {
                "value": str(member_id),
                "display": name,
                "type": "User",
                "$ref": f"{settings.PUBLIC_URL.rstrip('/')}/scim/v2/Users/{member_id}",
            }
            for member_id, name in members
        ]
    return document


def projected(document: dict[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
    """A document with only the ``attributes`` that are asked for, or without the ``excludedAttributes``.

    ``id`` and ``schemas`` are always there (RFC 7643, 7: returned "always").
    """
    wanted, without = _paths(query.get("attributes")), _paths(query.get("excludedAttributes"))
    if wanted:
        kept = {key: _picked(value, wanted, key) for key, value in document.items()}
        return {key: value for key, value in kept.items() if value is not None}
    if without:
        return {
            key: _left(value, without, key)
            for key, value in document.items()
            if key in {"id", "schemas"} or key.lower() not in without
        }
    return document


def _paths(text: str | None) -> set[str]:
    cut = f"{USER_SCHEMA}:".lower(), f"{GROUP_SCHEMA}:".lower()
    names = {part.strip().lower() for part in (text or "").split(",") if part.strip()}
    return {name.removeprefix(cut[0]).removeprefix(cut[1]) for name in names}


def _picked(value: Any, wanted: set[str], key: str) -> Any:
    if key in {"id", "schemas"} or key.lower() in wanted:
        return value
    below = {name.partition(".")[2] for name in wanted if name.startswith(f"{key.lower()}.")}
    if not below:
        return None
    if isinstance(value, list):
        return [_only(one, below) for one in value if isinstance(one, dict)]
    return _only(value, below) if isinstance(value, dict) else None


def _only(value: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {key: inner for key, inner in value.items() if key.lower() in names}


def _left(value: Any, without: set[str], key: str) -> Any:
    below = {name.partition(".")[2] for name in without if name.startswith(f"{key.lower()}.")}
    if not below:
        return value
    if isinstance(value, list):
        return [
            {name: inner for name, inner in one.items() if name.lower() not in below} if isinstance(one, dict) else one
            for one in value
        ]
    return {name: inner for name, inner in value.items() if name.lower() not in below}
