"""Settings → Single sign-on, as somebody goes through them without JavaScript."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from apps.core.tenancy import org_scope
from apps.identity.models import User
from apps.sso import services
from apps.sso.contracts import Arrival
from apps.sso.models import Connection, Domain, GroupMapping, ScimToken
from apps.sso.selectors import connection_find
from tests.cast import Api, Cast, sign_in, trail
from tests.sso.conftest import Scim
from tests.sso.nameserver import NameServer
from tests.sso.samlidp import SamlIdp


@pytest.fixture
def erin(cast: Cast) -> Any:
    return Api(cast.erin).client


def base(cast: Cast) -> str:
    return f"/o/{cast.org.slug}/settings/sso"


def rows(model: Any, cast: Cast) -> list[Any]:
    with org_scope(cast.org.id):
        return list(model.objects.all())


def test_a_domain_is_added_shown_with_its_record_and_verified(cast: Cast, erin: Any, nameserver: NameServer) -> None:
    page = base(cast)
    assert b"No domains yet" in erin.get(page).content
    assert erin.post(page, {"name": "looms.example"}).status_code == 302
    shown = erin.get(page).content.decode()
    domain = rows(Domain, cast)[0]
    assert "_mindweave-challenge.looms.example" in shown
    assert f"mindweave-verification={domain.token}" in shown
    told = erin.post(f"{page}/domains/{domain.pk}/verify", follow=True)
    assert b"The TXT record was not found" in told.content
    nameserver.records["looms.example"] = [domain.token]
    assert b"looms.example is verified" in erin.post(f"{page}/domains/{domain.pk}/verify", follow=True).content
    assert b"Anybody can have an address of this domain" in erin.post(page, {"name": "gmail.com"}).content


def test_a_connection_is_made_filled_by_metadata_and_switched_on(cast: Cast, erin: Any, idp: SamlIdp) -> None:
    page = base(cast)
    form = {"name": "Okta", "default_role": "developer", "groups_claim": "groups", "creates_members": "on"}
    made = erin.post(f"{page}/new/saml", form)
    assert made.status_code == 302, made.content[:2000]
    connection = rows(Connection, cast)[0]
    shown = erin.get(made["Location"]).content.decode()
    assert f"/sso/{connection.pk}/saml/acs" in shown
    refused = erin.post(f"{made['Location']}/enable", follow=True).content
    assert b"needed before it can be used" in refused
    file = SimpleUploadedFile("metadata.xml", idp.metadata(), "text/xml")
    assert erin.post(f"{made['Location']}/metadata", {"file": file}).status_code == 302
    assert erin.post(f"{made['Location']}/metadata", {"text": "nonsense"}).status_code == 400
    assert erin.post(f"{made['Location']}/enable").status_code == 302
    found = connection_find(connection.pk)
    assert found is not None
    assert found.is_enabled
    assert found.idp_sso_url == "https://idp.example.com/sso"
    # What the form shows is what it takes: saving it changes nothing.
    text = erin.get(made["Location"]).content.decode()
    certificate = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.S)
    assert certificate is not None
    saved = {
        **form, "idp_entity_id": idp.entity_id, "idp_sso_url": "https://idp.example.com/sso",
        "idp_certificates": certificate[0],
    }  # fmt: skip
    changes = len(trail("sso.connection_updated"))
    assert erin.post(made["Location"], saved).status_code == 302
    assert len(trail("sso.connection_updated")) == changes


def test_the_secret_of_a_client_is_not_shown_and_stays_where_nothing_is_typed(cast: Cast, erin: Any) -> None:
    form = {
        "name": "Entra", "issuer": "https://idp.example.com", "client_id": "weave", "client_secret": "s3cret s3cret",
        "scopes": "openid email", "groups_claim": "", "default_role": "viewer",
    }  # fmt: skip
    made = erin.post(f"{base(cast)}/new/oidc", form)
    assert made.status_code == 302, made.content[:2000]
    assert b"s3cret" not in erin.get(made["Location"]).content
    assert erin.post(made["Location"], {**form, "client_secret": "", "name": "Renamed"}).status_code == 302
    found = connection_find(rows(Connection, cast)[0].pk)
    assert found is not None
    assert (found.name, found.client_secret) == ("Renamed", "s3cret s3cret")
    plain = erin.post(made["Location"], {**form, "issuer": "http://idp.example.com"})
    assert b"Only https is safe here" in plain.content


def test_a_test_shows_its_claims_and_enforcing_whom_it_would_hold(cast: Cast, erin: Any, saml: Connection) -> None:
    claims = {"department": ["Weaving"]}
    services.keep_test(connection=saml, arrival=Arrival("00u1", "x@elsewhere.example", "X", ("Looms",), claims))
    text = re.sub(r"<[^>]+>", "", erin.get(f"{base(cast)}/connections/{saml.pk}").content.decode())
    for wanted in ("00u1", "Weaving", "of no verified domain", "It would hold 5 members", "Looms"):
        assert wanted in text, wanted
    refused = erin.post(f"{base(cast)}/connections/{saml.pk}/enforce", follow=True)
    assert b"Choose an owner with a second factor" in refused.content


def test_a_mapping_is_added_and_removed(cast: Cast, erin: Any) -> None:
    page = f"{base(cast)}/groups"
    assert erin.post(page, {"group": "Looms", "role": "", "team_id": ""}).status_code == 400
    assert erin.post(page, {"group": "Looms", "role": "owner"}).status_code == 400
    assert erin.post(page, {"group": "Looms", "role": "viewer", "team_id": str(cast.team.id)}).status_code == 302
    mapping = rows(GroupMapping, cast)[0]
    assert b"Looms" in erin.get(page).content
    assert erin.post(f"{page}/{mapping.pk}/remove").status_code == 302
    assert rows(GroupMapping, cast) == []


def test_a_token_is_shown_once_and_what_was_asked_with_it(cast: Cast, erin: Any) -> None:
    page = f"{base(cast)}/provisioning"
    made = erin.post(page, {"name": "Okta", "days": "365", "once": "a"}).content.decode()
    secret = re.search(r"mwscim_[\w-]{20,}", made)
    assert secret is not None
    assert secret[0] not in erin.get(page).content.decode()
    assert erin.post(page, {"name": "Okta", "days": "365", "once": "a"}).status_code == 302
    assert len(rows(ScimToken, cast)) == 1
    Scim(secret[0])("POST", "/Users", {"userName": "x@elsewhere.example"})
    shown = erin.get(page).content.decode()
    assert "POST /Users" in shown
    assert "is not a verified domain" in shown
    token = rows(ScimToken, cast)[0]
    erin.post(f"{page}/tokens/{token.pk}/revoke")
    assert Scim(secret[0])("GET", "/Users").status_code == 401


def test_whoever_signed_in_long_ago_confirms_first(cast: Cast) -> None:
    api = Api()
    sign_in(api.client, User.objects.get(pk=cast.erin.id), age=timedelta(days=1))
    late = api.client
    answer = late.post(base(cast), {"name": "looms.example"})
    assert answer.status_code == 302
    assert answer["Location"].startswith("/account/confirm")
    assert rows(Domain, cast) == []
    told = api.post(f"/orgs/{cast.org.id}/sso/domains", {"name": "looms.example"})
    assert (told.status_code, told.json()["code"]) == (401, "step_up_required")
    assert rows(Domain, cast) == []


def test_the_api_does_what_the_pages_do(cast: Cast, nameserver: NameServer, prove: Callable[..., Any]) -> None:
    api, base_path = Api(cast.erin), f"/orgs/{cast.org.id}/sso"
    domain = api.post(f"{base_path}/domains", {"name": "looms.example"}).json()
    assert api.post(f"{base_path}/domains/{domain['id']}/verify").json()["code"] == "record_missing"
    nameserver.records[domain["record"]] = [domain["value"]]
    assert api.post(f"{base_path}/domains/{domain['id']}/verify").json()["verified_at"] is not None
    made = api.post(f"{base_path}/connections", {"kind": "oidc", "name": "Entra", "client_secret": "s3cret"})
    assert made.status_code == 201
    assert b"s3cret" not in made.content
    one = f"{base_path}/connections/{made.json()['id']}"
    assert {error["pointer"] for error in api.post(f"{one}/enable").json()["errors"]} == {"/issuer", "/client_id"}
    assert api.patch(one, {"idp_sso_url": "https://x.example"}).status_code == 400
    assert api.patch(one, {"issuer": "https://x.example", "client_id": "weave"}).status_code == 200
    assert api.post(f"{one}/enable").json()["is_enabled"] is True
    assert api.post(f"{one}/dance").status_code == 404
    token = api.post(f"{base_path}/scim-tokens", {"name": "Okta"}).json()
    assert Scim(token["token"])("GET", "/Users").status_code == 200
    assert api.get(f"{base_path}/scim-log").json()["data"][0]["path"] == "/scim/v2/Users"
    assert "token" not in api.get(f"{base_path}/scim-tokens").json()["data"][0]
