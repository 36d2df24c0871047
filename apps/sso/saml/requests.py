"""Requests to a provider (the HTTP-Redirect binding)."""

from onelogin.saml2.auth import OneLogin_Saml2_Auth
from onelogin.saml2.errors import OneLogin_Saml2_Error

from apps.sso.models import Connection
from apps.sso.saml.answers import SamlRefused
from apps.sso.saml.settings import request_data, toolkit_settings
from apps.sso.selectors import our_addresses

__all__ = ["new_request"]


def new_request(connection: Connection, *, relay_state: str, fresh: bool = False) -> tuple[str, str]:
    """The id of a new AuthnRequest and the address that it goes to, signed where the connection says so.

    ``fresh``: the provider is to ask for a credential even of somebody it knows (``ForceAuthn``).
    :class:`SamlRefused` where the connection lacks something for it.
    """
    try:
        settings = toolkit_settings(connection)
    except OneLogin_Saml2_Error as error:
        raise SamlRefused(f"the connection is not complete: {error}"[:300]) from error
    auth = OneLogin_Saml2_Auth(request_data(our_addresses(connection)["acs_url"]), settings)
    url = auth.login(return_to=relay_state, force_authn=fresh, set_nameid_policy=False)
    return auth.get_last_request_id(), url
