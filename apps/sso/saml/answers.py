"""What makes a provider's answer valid.

The toolkit checks signature, schema, status, times, audience, issuer, recipient and destination. Where it is lenient
(what is absent passes, an address need only begin alike), this module is not.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lxml.etree import LxmlError, _Element
from onelogin.saml2.constants import OneLogin_Saml2_Constants as Constants
from onelogin.saml2.errors import OneLogin_Saml2_Error, OneLogin_Saml2_ValidationError
from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.utils import OneLogin_Saml2_Utils as Utils
from onelogin.saml2.xml_utils import OneLogin_Saml2_XML as Xml

from apps.sso.contracts import Arrival
from apps.sso.models import Connection
from apps.sso.saml.settings import SKEW_SECONDS, request_data, toolkit_settings
from apps.sso.selectors import our_addresses

__all__ = ["SamlAnswer", "SamlRefused", "read_answer"]

_LARGEST = 256 * 1024
_DS = "http://www.w3.org/2000/09/xmldsig#"
_SIGNATURES = frozenset(
    f"http://www.w3.org/2001/04/xmldsig-more#{name}"
    for name in ("rsa-sha256", "rsa-sha384", "rsa-sha512", "ecdsa-sha256", "ecdsa-sha384", "ecdsa-sha512")
)
_DIGESTS = frozenset(
    {
        "http://www.w3.org/2001/04/xmlenc#sha256",
        "http://www.w3.org/2001/04/xmldsig-more#sha384",
        "http://www.w3.org/2001/04/xmlenc#sha512",
    }
)
# What a signature of SAML may do to the document before it is hashed: nothing that takes content out of it.
_TRANSFORMS = frozenset(
    {
        f"{_DS}enveloped-signature",
        "http://www.w3.org/2001/10/xml-exc-c14n#",
        "http://www.w3.org/2001/10/xml-exc-c14n#WithComments",
    }
)
_EMAILS = (
    "email", "mail", "emailAddress", "urn:oid:0.9.2342.19200300.100.1.3", "User.Email",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
)  # fmt: skip
_NAMES = (
    "displayName", "name", "cn", "urn:oid:2.16.840.1.113730.3.1.241",
    "http://schemas.microsoft.com/identity/claims/displayname",
)  # fmt: skip
_GIVEN = ("givenName", "firstName", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname")
_FAMILY = ("surname", "sn", "lastName", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname")
_GROUPS = ("groups", "memberOf", "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups")


class SamlRefused(Exception):
    """An answer that is not valid, and why; ``unknown_key`` where all that is wrong may be the key that signed it."""

    def __init__(self, reason: str, *, unknown_key: bool = False) -> None:
        super().__init__(reason)
        self.unknown_key = unknown_key


@dataclass(frozen=True, slots=True)
class SamlAnswer:
    """A valid answer. ``in_response_to`` is the request it says it answers, empty for one nobody asked for."""

    assertion_id: str
    in_response_to: str
    expires_at: datetime
    arrival: Arrival


def read_answer(connection: Connection, encoded: str) -> SamlAnswer:
    """What a ``SAMLResponse`` says; :class:`SamlRefused` for whatever is not wholly in order.

    That the assertion was not used before, and that this browser asked for it, is for the caller to see to.
    """
    if len(encoded) > _LARGEST:
        raise SamlRefused("the answer is too large")
    acs = our_addresses(connection)["acs_url"]
    try:
        response = OneLogin_Saml2_Response(toolkit_settings(connection), encoded)
        response.is_valid(request_data(acs), raise_exceptions=True)
        document: _Element = response.decrypted_document if response.encrypted else response.document
        _check_signatures(document)
        assertion = _only(document, "//saml:Assertion", "one assertion is wanted")
        in_response_to, until = _check_addressing(response.document, assertion, acs)
        arrival = _arrival(connection, response, _shown_at(assertion))
    except SamlRefused:
        raise
    except (OneLogin_Saml2_ValidationError, OneLogin_Saml2_Error, LxmlError, ValueError, TypeError) as error:
        unknown = getattr(error, "code", None) == OneLogin_Saml2_ValidationError.INVALID_SIGNATURE
        raise SamlRefused(str(error)[:300] or type(error).__name__, unknown_key=unknown) from error
    except Exception as error:
        # xmlsec and the toolkit raise their own, bare ones among them; what cannot be read is not valid.
        raise SamlRefused(f"{type(error).__name__}: {error}"[:300]) from error
    return SamlAnswer(assertion.get("ID", ""), in_response_to, until, arrival)


def _only(within: _Element, path: str, otherwise: str) -> _Element:
    found = Xml.query(within, path)
    if len(found) != 1:
        raise SamlRefused(otherwise)
    element: _Element = found[0]
    return element


def _check_signatures(document: _Element) -> None:
    for path, allowed, what in (
        ("//ds:Signature//ds:SignatureMethod", _SIGNATURES, "signature"),
        ("//ds:Signature//ds:DigestMethod", _DIGESTS, "digest"),
        ("//ds:Signature//ds:Transform", _TRANSFORMS, "transform"),
    ):
        for node in Xml.query(document, path):
            if node.get("Algorithm") not in allowed:
                raise SamlRefused(f"the {what} {node.get('Algorithm')} is not accepted")
    for signature in Xml.query(document, "//ds:Signature"):
        reference = _only(signature, "./ds:SignedInfo/ds:Reference", "a signature covers one element")
        if reference.get("URI") != f"#{signature.getparent().get('ID')}":
            raise SamlRefused("a signature does not cover the element that it stands in")


def _check_addressing(response: _Element, assertion: _Element, acs: str) -> tuple[str, datetime]:
    """For whom the answer is and until when; returns what it answers, and its end."""
    destination = response.get("Destination")
    if destination is not None and destination != acs:
        raise SamlRefused("the destination is not this address")
    if not Xml.query(assertion, "./saml:Conditions/saml:AudienceRestriction/saml:Audience"):
        raise SamlRefused("the assertion names no audience")
    if not assertion.get("ID"):
        raise SamlRefused("the assertion has no id")
    for confirmation in Xml.query(assertion, "./saml:Subject/saml:SubjectConfirmation"):
        data = confirmation.find("saml:SubjectConfirmationData", namespaces=Constants.NSMAP)
        if confirmation.get("Method") != Constants.CM_BEARER or data is None or data.get("Recipient") != acs:
            continue
        # What stands on the Response itself may be unsigned: the assertion's own word counts.
        asked = data.get("InResponseTo") or ""
        if (response.get("InResponseTo") or "") != asked or not data.get("NotOnOrAfter"):
            continue
        ends = Utils.parse_SAML_to_time(data.get("NotOnOrAfter"))
        # Remembered a little longer than it is valid, so that no clock lets it in twice.
        return asked, datetime.fromtimestamp(ends, UTC) + timedelta(seconds=2 * SKEW_SECONDS)
    raise SamlRefused("no bearer confirmation names this address, an end, and what it answers")


def _shown_at(assertion: _Element) -> datetime | None:
    """When the person showed the provider a credential: the earliest of what the assertion states."""
    stated = [one.get("AuthnInstant") for one in Xml.query(assertion, "./saml:AuthnStatement")]
    moments = [Utils.parse_SAML_to_time(one) for one in stated if one]
    return datetime.fromtimestamp(min(moments), UTC) if moments else None


def _arrival(connection: Connection, response: Any, shown_at: datetime | None) -> Arrival:
    attributes: dict[str, list[Any]] = {**response.get_friendlyname_attributes(), **response.get_attributes()}
    told = {name: [one for one in values if isinstance(one, str)] for name, values in attributes.items()}

    def first(*names: str) -> str:
        return next((told[name][0] for name in names if told.get(name)), "")

    name_id, form = response.get_nameid() or "", response.get_nameid_format() or ""
    if connection.subject_attribute:
        subject = first(connection.subject_attribute)
    elif form == Constants.NAMEID_TRANSIENT:
        raise SamlRefused("a transient NameID names nobody for ever; name a subject attribute")
    else:
        subject = name_id
    if not subject:
        raise SamlRefused("the answer does not say who it is about")
    if connection.email_attribute:
        email = first(connection.email_attribute)
    else:
        email = first(*_EMAILS) or (name_id if "@" in name_id else "")
    name = first(*_NAMES) or " ".join(part for part in (first(*_GIVEN), first(*_FAMILY)) if part)
    wanted = (connection.groups_claim, *_GROUPS) if connection.groups_claim else ()
    groups = next((tuple(told[each]) for each in wanted if each in told), None)
    return Arrival(
        subject=subject,
        email=email,
        name=name,
        groups=groups,
        claims={"NameID": name_id, "NameID format": form, **told},
        authenticated_at=shown_at,
    )
