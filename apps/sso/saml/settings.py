"""What python3-saml is told of a connection."""

from typing import Any
from urllib.parse import urlsplit

from onelogin.saml2.constants import OneLogin_Saml2_Constants
from onelogin.saml2.settings import OneLogin_Saml2_Settings

from apps.sso.models import Connection
from apps.sso.selectors import our_addresses

__all__ = ["SKEW_SECONDS", "request_data", "toolkit_settings"]

# How far a provider's clock may be off. The toolkit's own five minutes are more than clocks of today need.
SKEW_SECONDS = 60
OneLogin_Saml2_Constants.ALLOWED_CLOCK_DRIFT = SKEW_SECONDS
_RSA_SHA256 = OneLogin_Saml2_Constants.RSA_SHA256


def toolkit_settings(connection: Connection, *, for_us_alone: bool = False) -> OneLogin_Saml2_Settings:
    """Strict settings. ``for_us_alone``: nothing of the provider is needed yet, as for our metadata."""
    ours = our_addresses(connection)
    values: dict[str, Any] = {
        "strict": True,
        "debug": False,
        "sp": {
            "entityId": ours["entity_id"],
            "assertionConsumerService": {
                "url": ours["acs_url"], "binding": OneLogin_Saml2_Constants.BINDING_HTTP_POST,
            },
            "NameIDFormat": OneLogin_Saml2_Constants.NAMEID_UNSPECIFIED,
            "x509cert": connection.sp_certificate,
            "privateKey": connection.sp_key or "",
        },
        "security": {
            "authnRequestsSigned": connection.signs_requests,
            "wantNameId": True,
            # A signature over the answer or over the assertion; one of them is always wanted.
            "wantMessagesSigned": False,
            "wantAssertionsSigned": False,
            "wantAttributeStatement": False,
            "requestedAuthnContext": False,
            "rejectDeprecatedAlgorithm": True,
            "allowRepeatAttributeName": True,
            "signatureAlgorithm": _RSA_SHA256,
            "digestAlgorithm": OneLogin_Saml2_Constants.SHA256,
        },
    }  # fmt: skip
    if not for_us_alone:
        values["idp"] = {
            "entityId": connection.idp_entity_id,
            "singleSignOnService": {
                "url": connection.idp_sso_url, "binding": OneLogin_Saml2_Constants.BINDING_HTTP_REDIRECT,
            },
            "x509certMulti": {"signing": list(connection.idp_certificates)},
        }  # fmt: skip
    return OneLogin_Saml2_Settings(values, sp_validation_only=for_us_alone)


def request_data(url: str) -> dict[str, Any]:
    """The request as the toolkit wants it, made of our own address: what a proxy says of the host decides nothing."""
    parts = urlsplit(url)
    return {
        "https": "on" if parts.scheme == "https" else "off",
        "http_host": parts.netloc,
        "script_name": parts.path,
        "get_data": {},
        "post_data": {},
    }
