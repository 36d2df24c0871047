"""SAML 2.0, the service provider's side: metadata, requests, and what makes an answer valid."""

from apps.sso.saml.answers import SamlAnswer, SamlRefused, read_answer
from apps.sso.saml.metadata import IdpMetadata, fetch_metadata, our_metadata, read_metadata
from apps.sso.saml.requests import new_request

__all__ = [
    "IdpMetadata",
    "SamlAnswer",
    "SamlRefused",
    "fetch_metadata",
    "new_request",
    "our_metadata",
    "read_answer",
    "read_metadata",
]
