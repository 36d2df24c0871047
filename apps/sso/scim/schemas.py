"""What SCIM clients may ask about us (RFC 7643, 5 to 7): our features, resource types and schemas."""

from typing import Any

from django.conf import settings

from apps.sso.scim.resources import ENTERPRISE_SCHEMA, GROUP_SCHEMA, USER_SCHEMA

__all__ = ["resource_types", "schemas", "service_provider_config"]

MOST_RESULTS = 200


def _base() -> str:
    return f"{settings.PUBLIC_URL.rstrip('/')}/scim/v2"


def service_provider_config() -> dict[str, Any]:
    """What of SCIM is offered: no bulk, no sorting, no passwords."""
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": True},
        "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": MOST_RESULTS},
        "changePassword": {"supported": False},
        "sort": {"supported": False},
        "etag": {"supported": True},
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "Bearer token",
                "description": "A token of provisioning, made in the organisation's settings.",
                "specUri": "https://www.rfc-editor.org/rfc/rfc6750",
                "primary": True,
            }
        ],
        "meta": {"resourceType": "ServiceProviderConfig", "location": f"{_base()}/ServiceProviderConfig"},
    }


def resource_types() -> list[dict[str, Any]]:
    """Users and groups."""

    def one(name: str, schema: str, extensions: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
            "id": name,
            "name": name,
            "endpoint": f"/{name}s",
            "schema": schema,
            "schemaExtensions": extensions,
            "meta": {"resourceType": "ResourceType", "location": f"{_base()}/ResourceTypes/{name}"},
        }

    return [
        one("User", USER_SCHEMA, [{"schema": ENTERPRISE_SCHEMA, "required": False}]),
        one("Group", GROUP_SCHEMA, []),
    ]


def _attribute(name: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "multiValued": False,
        "description": "",
        "required": False,
        "caseExact": False,
        "mutability": "readWrite",
        "returned": "default",
        "uniqueness": "none",
        **more,
    }


def _many(name: str, *subs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return _attribute(name, "complex", multiValued=True, subAttributes=list(subs), **more)


def schemas() -> list[dict[str, Any]]:
    """The schemas of users (with the enterprise extension) and groups."""
    plural = (_attribute("value"), _attribute("type"), _attribute("display"), _attribute("primary", "boolean"))
    name = [_attribute(part) for part in ("formatted", "familyName", "givenName", "middleName")]
    user = [
        _attribute("userName", required=True, uniqueness="server"),
        _attribute("externalId", caseExact=True),
        _attribute("name", "complex", subAttributes=name),
        *(_attribute(part) for part in ("displayName", "nickName", "title", "userType", "preferredLanguage", "locale")),
        _attribute("active", "boolean"),
        _many("emails", *plural),
        _many("phoneNumbers", *plural),
        _many("groups", _attribute("value"), _attribute("display"), mutability="readOnly"),
    ]
    members = (
        _attribute("value", mutability="immutable"),
        _attribute("$ref", "reference", referenceTypes=["User"], mutability="immutable"),
        _attribute("display", mutability="readOnly"),
    )
    group = [
        _attribute("displayName", required=True, uniqueness="server"),
        _attribute("externalId", caseExact=True),
        _many("members", *members),
    ]
    manager = [_attribute("value"), _attribute("displayName", mutability="readOnly")]
    enterprise = [
        *(_attribute(part) for part in ("employeeNumber", "costCenter", "organization", "division", "department")),
        _attribute("manager", "complex", subAttributes=manager),
    ]
    return [
        {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
            "id": urn,
            "name": label,
            "description": label,
            "attributes": attributes,
            "meta": {"resourceType": "Schema", "location": f"{_base()}/Schemas/{urn}"},
        }
        for urn, label, attributes in (
            (USER_SCHEMA, "User", user),
            (GROUP_SCHEMA, "Group", group),
            (ENTERPRISE_SCHEMA, "EnterpriseUser", enterprise),
        )
    ]
