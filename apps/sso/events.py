"""What single sign-on publishes and records."""

from typing import Any

from apps.audit.registry import register_actions
from apps.events.registry import EventType, register_type

_ID: dict[str, Any] = {"type": "string", "format": "uuid"}
_TEXT: dict[str, Any] = {"type": "string"}
_CHANGED: dict[str, Any] = {"type": "array", "items": _TEXT}
_CONNECTION = {"connection_id": _ID, "name": _TEXT}
_DOMAIN = {"domain_id": _ID, "name": _TEXT}
_PERSON = {"scim_user_id": _ID, "user_id": _ID}
_GROUP = {"group_id": _ID, "name": _TEXT}

# Name → what its data hold, and the sentence of the trail.
_FACTS: dict[str, tuple[dict[str, dict[str, Any]], str]] = {
    "sso.domain_added": (_DOMAIN, "A domain was named, to be proved"),
    "sso.domain_verified": (_DOMAIN, "A domain was proved to be the organisation's"),
    "sso.domain_failing": (_DOMAIN, "The record that proves a domain was not found"),
    "sso.domain_lapsed": (_DOMAIN, "A domain is no longer proved: its record stayed away"),
    "sso.domain_removed": (_DOMAIN, "A domain was removed"),
    "sso.connection_created": (_CONNECTION, "A connection to an identity provider was made"),
    "sso.connection_updated": ({**_CONNECTION, "changed": _CHANGED}, "A connection changed"),
    "sso.connection_tested": (_CONNECTION, "A test sign-in of a connection went through"),
    "sso.connection_enabled": (_CONNECTION, "People may sign in by a connection"),
    "sso.connection_disabled": (_CONNECTION, "Nobody signs in by a connection any more"),
    "sso.connection_deleted": (_CONNECTION, "A connection was deleted"),
    "sso.metadata_changed": (
        {**_CONNECTION, "changed": _CHANGED},
        "A provider's metadata, fetched again, changed a connection",
    ),
    "sso.metadata_failing": ({**_CONNECTION, "problem": _TEXT}, "A provider's metadata cannot be taken any more"),
    "sso.metadata_recovered": (_CONNECTION, "A provider's metadata can be taken again"),
    "sso.enforced": (_CONNECTION, "People of the verified domains sign in by a connection alone"),
    "sso.relaxed": (_CONNECTION, "People of the verified domains may sign in in other ways again"),
    "sso.break_glass_added": ({"user_id": _ID}, "An owner may sign in without the provider"),
    "sso.break_glass_removed": ({"user_id": _ID}, "An owner may no longer sign in without the provider"),
    "sso.break_glass_used": ({"user_id": _ID, "method": _TEXT}, "A break-glass owner signed in without the provider"),
    "sso.mapping_added": ({"mapping_id": _ID, "group": _TEXT}, "A group of the provider gives something"),
    "sso.mapping_removed": ({"mapping_id": _ID, "group": _TEXT}, "A group of the provider gives something no more"),
    "sso.identity_linked": ({**_CONNECTION, "user_id": _ID}, "A person was joined to a provider's subject"),
    "sso.signed_in": ({**_CONNECTION, "user_id": _ID}, "A person signed in by a connection"),
    "scim.token_created": ({"token_id": _ID, "name": _TEXT}, "A token of provisioning was made"),
    "scim.token_revoked": ({"token_id": _ID, "name": _TEXT}, "A token of provisioning was revoked"),
    "scim.user_created": (_PERSON, "A person was provisioned"),
    "scim.user_updated": ({**_PERSON, "changed": _CHANGED}, "A provisioned person changed"),
    "scim.user_deactivated": (_PERSON, "A provisioned person was deactivated"),
    "scim.user_reactivated": (_PERSON, "A provisioned person was activated again"),
    "scim.user_deleted": (_PERSON, "A provisioned person was deleted"),
    "scim.group_created": (_GROUP, "A group was pushed"),
    "scim.group_updated": ({**_GROUP, "changed": _CHANGED}, "A pushed group changed"),
    "scim.group_deleted": (_GROUP, "A pushed group was deleted"),
}

for _name, (_properties, _sentence) in _FACTS.items():
    register_type(
        EventType(
            name=_name,
            topic="audit.log",
            schema={"type": "object", "properties": _properties, "required": list(_properties)},
            description=f"{_sentence}.",
        )
    )

register_actions({name: sentence for name, (_, sentence) in _FACTS.items()})
register_actions(
    {
        "sso.refused": "A sign-in by a connection was refused",
        "sso.assertion_received": "An answer of a provider was taken in",
    }
)
