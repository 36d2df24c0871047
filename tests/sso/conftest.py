"""What tests of single sign-on share: a name server, a proved domain, connections, tokens of provisioning."""

from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from django.test import Client

from apps.sso import services
from apps.sso.contracts import ConnectionInfo
from apps.sso.models import Connection
from apps.sso.selectors import connection_find
from tests.cast import Cast, cast  # noqa: F401 - the fixture of everybody
from tests.sso.nameserver import NameServer
from tests.sso.samlidp import SamlIdp


@pytest.fixture
def nameserver(settings) -> Iterator[NameServer]:
    server = NameServer()
    settings.SSO_DNS_SERVERS = [server.address]
    yield server
    server.stop()


@pytest.fixture
def prove(nameserver: NameServer) -> Callable[..., Any]:
    """Prove a domain of an organisation by its record."""

    def proved(org_id: Any, name: str = "example.com") -> Any:
        domain = services.add_domain(org_id=org_id, name=name)
        nameserver.records[domain.record] = [domain.value]
        return services.verify_domain(org_id=org_id, domain_id=domain.id)

    return proved


@pytest.fixture(scope="session")
def idp() -> SamlIdp:
    return SamlIdp("https://idp.example.com/metadata")


@pytest.fixture
def saml(cast: Cast, idp: SamlIdp, prove: Callable[..., Any]) -> Connection:  # noqa: F811
    """An enabled SAML connection of the cast's organisation, whose domain is proved."""
    prove(cast.org.id)
    made = make_saml(cast, idp)
    found = connection_find(made.id)
    assert found is not None
    return found


def make_saml(cast: Cast, idp: SamlIdp, **values: Any) -> ConnectionInfo:  # noqa: F811
    made = services.create_connection(
        org_id=cast.org.id,
        kind="saml",
        name=values.pop("name", "Okta"),
        values={
            "idp_entity_id": idp.entity_id,
            "idp_sso_url": "https://idp.example.com/sso",
            "idp_certificates": [idp.certificate],
            "default_role": "viewer",
            **values,
        },
    )
    return services.enable_connection(org_id=cast.org.id, connection_id=made.id)


class Scim:
    """A provider's provisioning: its token, its media type."""

    def __init__(self, secret: str) -> None:
        self.client = Client(REMOTE_ADDR="198.51.100.7")
        self.headers = {"Authorization": f"Bearer {secret}", "Accept": "application/scim+json"}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        given = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if method == "GET":
            return self.client.get(f"/scim/v2{path}", body or {}, headers=given)
        raw = b"" if body is None else orjson.dumps(body)
        return self.client.generic(method, f"/scim/v2{path}", raw, content_type="application/scim+json", headers=given)


@pytest.fixture
def scim(cast: Cast, prove: Callable[..., Any]) -> Scim:  # noqa: F811
    prove(cast.org.id)
    _, secret = services.create_scim_token(org_id=cast.org.id, name="Okta")
    return Scim(secret)
