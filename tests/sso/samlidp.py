"""A SAML identity provider to be: makes and signs answers, good ones and every kind of bad one."""

import base64
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.sax.saxutils import escape

import xmlsec
from lxml import etree

from apps.sso.saml.certificates import new_key_pair

__all__ = ["NS", "SamlIdp", "encoded"]

NS = {
    "samlp": "urn:oasis:names:tc:SAML:2.0:protocol",
    "saml": "urn:oasis:names:tc:SAML:2.0:assertion",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
}
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def encoded(document: Any) -> str:
    """A document as it is posted."""
    raw = document if isinstance(document, bytes) else etree.tostring(document)
    return base64.b64encode(raw).decode()


class SamlIdp:
    """One provider with its key; :meth:`answer` makes a signed Response out of parts that a test may change."""

    def __init__(self, entity_id: str) -> None:
        self.entity_id = entity_id
        self.key, self.certificate = new_key_pair()

    def answer(
        self,
        *,
        acs: str,
        audience: str,
        in_response_to: str = "",
        subject: str = "00u1",
        subject_format: str = PERSISTENT,
        attributes: dict[str, list[str]] | None = None,
        signs: str = "assertion",
        **changes: Any,
    ) -> etree._Element:
        """A Response. ``changes``: issuer, recipient, destination, not_before, ends, id, sha1, key, shown…"""
        moment = changes.get("moment", datetime.now(UTC))
        asked = f' InResponseTo="{in_response_to}"' if in_response_to else ""
        response_asked = changes.get("response_in_response_to", in_response_to)
        response_asked = f' InResponseTo="{response_asked}"' if response_asked else ""
        shown = _stamp(changes.get("shown", moment))
        ends = changes.get("ends", moment + timedelta(minutes=5))
        begins = changes.get("not_before", moment - timedelta(minutes=1))
        issuer = escape(changes.get("issuer", self.entity_id))
        told = "".join(
            f'<saml:Attribute Name="{escape(name)}">'
            + "".join(f"<saml:AttributeValue>{escape(value)}</saml:AttributeValue>" for value in values)
            + "</saml:Attribute>"
            for name, values in (attributes or {"email": ["ada@example.com"], "displayName": ["Ada"]}).items()
        )
        audience = f"<saml:Audience>{escape(audience)}</saml:Audience>"
        audiences = f"<saml:AudienceRestriction>{audience}</saml:AudienceRestriction>"
        until = "" if ends is None else f' NotOnOrAfter="{_stamp(ends)}"'
        text = f"""<samlp:Response xmlns:samlp="{NS["samlp"]}" xmlns:saml="{NS["saml"]}" ID="_r{secrets.token_hex(16)}"
  Version="2.0" IssueInstant="{_stamp(moment)}" Destination="{changes.get("destination", acs)}"{response_asked}>
  <saml:Issuer>{issuer}</saml:Issuer>
  <samlp:Status>
    <samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:{changes.get("status", "Success")}"/>
  </samlp:Status>
  <saml:Assertion ID="{changes.get("id", "_a" + secrets.token_hex(16))}" Version="2.0" IssueInstant="{_stamp(moment)}">
    <saml:Issuer>{issuer}</saml:Issuer>
    <saml:Subject><saml:NameID Format="{subject_format}">{changes.get("raw_subject") or escape(subject)}</saml:NameID>
      <saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData
        Recipient="{changes.get("recipient", acs)}"{until}{asked}/></saml:SubjectConfirmation>
    </saml:Subject>
    <saml:Conditions NotBefore="{_stamp(begins)}" NotOnOrAfter="{_stamp(ends or moment + timedelta(minutes=5))}">{
            "" if changes.get("no_audience") else audiences
        }</saml:Conditions>
    <saml:AuthnStatement AuthnInstant="{shown}"><saml:AuthnContext><saml:AuthnContextClassRef
      >urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>
    <saml:AttributeStatement>{told}</saml:AttributeStatement>
  </saml:Assertion>
</samlp:Response>"""
        response = etree.fromstring(text.encode())
        if "assertion" in signs:
            self.sign(response.find("saml:Assertion", NS), **changes)
        if "response" in signs:
            self.sign(response, **changes)
        return response

    def sign(self, element: etree._Element, *, key: str = "", sha1: bool = False, **_: Any) -> None:
        """Put an enveloped signature into an element, behind its issuer."""
        how = xmlsec.constants.TransformRsaSha1 if sha1 else xmlsec.constants.TransformRsaSha256
        digest = xmlsec.constants.TransformSha1 if sha1 else xmlsec.constants.TransformSha256
        signature = xmlsec.template.create(element, xmlsec.constants.TransformExclC14N, how, ns="ds")
        element.insert(1, signature)
        reference = xmlsec.template.add_reference(signature, digest, uri=f"#{element.get('ID')}")
        xmlsec.template.add_transform(reference, xmlsec.constants.TransformEnveloped)
        xmlsec.template.add_transform(reference, xmlsec.constants.TransformExclC14N)
        xmlsec.template.add_x509_data(xmlsec.template.ensure_key_info(signature))
        xmlsec.tree.add_ids(element.getroottree().getroot(), ["ID"])
        context = xmlsec.SignatureContext()
        context.key = xmlsec.Key.from_memory(key or self.key, xmlsec.constants.KeyDataFormatPem)
        context.key.load_cert_from_memory(self.certificate, xmlsec.constants.KeyDataFormatPem)
        context.sign(signature)

    def metadata(self, *, more: str = "") -> bytes:
        """The provider's own metadata; ``more`` is another certificate, PEM."""
        bodies = [
            one.replace("-----BEGIN CERTIFICATE-----", "").replace("-----END CERTIFICATE-----", "").strip()
            for one in (self.certificate, more)
            if one
        ]
        keys = "".join(
            f'<md:KeyDescriptor use="signing"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{body}</ds:X509Certificate>'
            "</ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
            for body in bodies
        )  # fmt: skip
        return f"""<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" xmlns:ds="{NS["ds"]}"
  entityID="{self.entity_id}"><md:IDPSSODescriptor protocolSupportEnumeration="{NS["samlp"]}">{keys}
  <md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="https://idp.example.com/post"/>
  <md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://idp.example.com/sso"/>
  </md:IDPSSODescriptor></md:EntityDescriptor>""".encode()
