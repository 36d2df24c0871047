"""Metadata: ours for the provider, the provider's for us."""

from dataclasses import dataclass

from lxml.etree import LxmlError, _Element
from onelogin.saml2.constants import OneLogin_Saml2_Constants
from onelogin.saml2.idp_metadata_parser import OneLogin_Saml2_IdPMetadataParser
from onelogin.saml2.utils import OneLogin_Saml2_Utils
from onelogin.saml2.xml_utils import OneLogin_Saml2_XML

from apps.core.clock import now
from apps.core.errors import ValidationFailed
from apps.core.http import HTTPError, OutboundRefused, fetch
from apps.sso.models import Connection
from apps.sso.saml.certificates import checked_certificates
from apps.sso.saml.settings import toolkit_settings

__all__ = ["IdpMetadata", "fetch_metadata", "our_metadata", "read_metadata"]

_LARGEST = 1024 * 1024


@dataclass(frozen=True, slots=True)
class IdpMetadata:
    """What a provider says of itself."""

    entity_id: str
    sso_url: str
    certificates: list[str]


def our_metadata(connection: Connection) -> bytes:
    """Our side of a connection as SAML metadata."""
    settings = toolkit_settings(connection, for_us_alone=True)
    made = settings.get_sp_metadata()
    return made.encode() if isinstance(made, str) else bytes(made)


def read_metadata(text: str | bytes) -> IdpMetadata:
    """The provider's metadata; :class:`ValidationFailed` where it is none, lacks something or names several."""
    raw = text.encode() if isinstance(text, str) else text
    if len(raw) > _LARGEST:
        raise _invalid("It is larger than a megabyte")
    try:
        # The toolkit's parser takes no DTD and no entities: nothing is expanded, nothing is loaded.
        root = OneLogin_Saml2_XML.to_etree(raw.strip())
        providers = OneLogin_Saml2_XML.query(root, "//md:EntityDescriptor[md:IDPSSODescriptor]")
        parsed = OneLogin_Saml2_IdPMetadataParser.parse(
            raw.strip(), required_sso_binding=OneLogin_Saml2_Constants.BINDING_HTTP_REDIRECT
        )
        if len(providers) != 1:
            raise _invalid("It has to describe one identity provider")
        _check_end(providers[0], root)
    except (LxmlError, ValueError, TypeError) as error:
        raise _invalid("This is no XML that can be read") from error
    idp = parsed.get("idp", {})
    many = idp.get("x509certMulti", {}).get("signing") or [idp.get("x509cert", "")]
    certificates = checked_certificates([one for one in many if one])
    found = IdpMetadata(idp.get("entityId", ""), idp.get("singleSignOnService", {}).get("url", ""), certificates)
    if not (found.entity_id and found.sso_url and found.certificates):
        raise _invalid("It lacks the entity id, the sign-on address (HTTP-Redirect) or a certificate for signing")
    return found


def _check_end(*elements: _Element) -> None:
    for element in elements:
        until = element.get("validUntil")
        if until and OneLogin_Saml2_Utils.parse_SAML_to_time(until) <= now().timestamp():
            raise _invalid(f"It was valid until {until[:40]}")


def fetch_metadata(url: str) -> IdpMetadata:
    """:func:`read_metadata` of what stands at an address."""
    try:
        answer = fetch("GET", url, max_bytes=_LARGEST)
    except (OutboundRefused, HTTPError) as error:
        raise _invalid(f"The address cannot be read: {error}") from error
    if answer.status_code != 200:
        raise _invalid(f"The address answered {answer.status_code}")
    return read_metadata(answer.content)


def _invalid(detail: str) -> ValidationFailed:
    return ValidationFailed("The metadata cannot be used", errors=[{"pointer": "/metadata", "detail": detail}])
