"""What identity publishes and records."""

from typing import Any

from apps.audit.registry import register_actions
from apps.events.registry import EventType, register_type

_ID = {"type": "string", "format": "uuid"}


def _schema(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {**required, **optional}, "required": list(required)}


for _name, _data, _description in (
    ("user.created", _schema({"user_id": _ID, "email": {"type": "string"}}, name={"type": "string"}), "registered"),
    ("user.updated", _schema({"user_id": _ID, "changed": {"type": "array", "items": {"type": "string"}}}), "changed"),
    ("user.password.reset", _schema({"user_id": _ID}), "got a new password by a mailed link"),
    ("user.login", _schema({"user_id": _ID, "method": {"type": "string"}}), "signed in"),
    ("user.logout", _schema({"user_id": _ID}), "signed out"),
    ("user.mfa.enabled", _schema({"user_id": _ID, "type": {"type": "string"}}), "enrolled a second factor"),
    ("user.mfa.disabled", _schema({"user_id": _ID, "type": {"type": "string"}}), "had a second factor removed"),
    ("user.session.invalid", _schema({"user_id": _ID, "reason": {"type": "string"}}), "had a sign-in ended"),
    ("user.erased", _schema({"user_id": _ID}), "was erased; their id goes on meaning them, under a pseudonym"),
):
    register_type(EventType(name=_name, topic="audit.log", schema=_data, description=f"A person {_description}."))

register_actions(
    {
        "user.created": "A person registered",
        "user.updated": "A person's data changed",
        "user.registration_refused": "A registration of a taken address was refused",
        "user.address_asked": "A person asked for another address",
        "user.password.reset": "A person got a new password by a mailed link",
        "user.login": "A person signed in",
        "user.login_refused": "A sign-in was refused",
        "user.logout": "A person signed out",
        "user.mfa.enabled": "A second factor was enrolled",
        "user.mfa.disabled": "A second factor was removed",
        "user.provider.linked": "A sign-in provider's account was linked",
        "user.provider.unlinked": "A sign-in provider's account was unlinked",
        "user.mfa.renamed": "A second factor was renamed",
        "user.mfa.recovery_codes": "New recovery codes were made",
        "user.session.invalid": "A sign-in was ended",
        "user.data_exported": "What is kept of a person was handed out",
        "user.erased": "A person was erased",
        "user.confirmed": "A person showed a credential again",
        "signing_key.created": "A key that signs access tokens was made",
        "signing_key.retired": "A key that signs access tokens was retired",
    }
)
