"""SAML 2.0: a good answer signs in, and of each bad one nothing comes."""

import base64
import zlib
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import xmlsec
from django.test import Client
from lxml import etree

from apps.accounts.selectors import role_of
from apps.core.errors import ValidationFailed
from apps.identity.models import SignIn, User
from apps.identity.selectors import user_by_email
from apps.sso import services
from apps.sso.models import Connection
from apps.sso.saml import our_metadata, read_metadata
from apps.sso.saml.certificates import new_key_pair
from apps.sso.selectors import connection_find, our_addresses
from tests.cast import Api, Cast, trail
from tests.sso.conftest import make_saml
from tests.sso.samlidp import NS, SamlIdp, encoded


class Browser:
    """Somebody's browser, and the way through the provider."""

    def __init__(self, connection: Connection, idp: SamlIdp) -> None:
        self.client, self.connection, self.idp = Client(), connection, idp
        ours = our_addresses(connection)
        self.acs, self.audience = ours["acs_url"], ours["entity_id"]

    def begin(self, query: str = "") -> str:
        """Go to the provider; the id of the request."""
        there = self.client.get(f"/sso/{self.connection.pk}/start{query}")
        assert there.status_code == 302, there.content[:500]
        raw = parse_qs(urlsplit(there["Location"]).query)["SAMLRequest"][0]
        return etree.fromstring(zlib.decompress(base64.b64decode(raw), -15)).get("ID") or ""

    def post(self, document: Any) -> Any:
        """The provider's answer, posted from its site: without our cookie, as a browser sends it."""
        return Client().post(urlsplit(self.acs).path, {"SAMLResponse": encoded(document), "RelayState": ""})

    def answer(self, request_id: str, **parts: Any) -> Any:
        """Answer a request and follow where it leads with the cookie; the last answer of ours."""
        posted = self.post(self.idp.answer(acs=self.acs, audience=self.audience, in_response_to=request_id, **parts))
        return self.client.get(posted["Location"]) if posted.status_code == 303 else posted

    @property
    def person(self) -> str | None:
        return self.client.session.get("_auth_user_id")


@pytest.fixture
def browser(saml: Connection, idp: SamlIdp) -> Browser:
    return Browser(saml, idp)


def nothing_came_of_it(browser: Browser, answer: Any) -> None:
    assert answer.status_code == 403, (answer.status_code, answer.content[:300])
    assert browser.person is None
    assert user_by_email("ada@example.com") is None
    assert trail("user.login") == []
    assert len(trail("sso.refused")) == 1


# ---------------------------------------------------------------- good answers
@pytest.mark.parametrize("signs", ["assertion", "response", "assertion response"])
def test_a_signed_answer_signs_in_and_makes_the_person_a_member(signs: str, browser: Browser, cast: Cast) -> None:
    answer = browser.answer(browser.begin(), signs=signs)
    assert answer.status_code == 302
    assert answer["Location"] == f"/o/{cast.org.slug}/"
    person = user_by_email("ada@example.com")
    assert person is not None
    assert browser.person == str(person.id)
    assert person.name == "Ada"
    assert person.email_verified
    assert not User.objects.get(pk=person.id).has_usable_password()
    assert role_of(org_id=cast.org.id, user_id=person.id) == "viewer"
    assert trail("member.added")[-1].actor_label == "Single sign-on: Okta"
    assert trail("user.login")[-1].changes["method"] == [None, "saml"]
    assert trail("sso.signed_in")[-1].org_id == cast.org.id
    # Where the organisation requires a second factor, its own single sign-on stands for one, there alone.
    assert SignIn.objects.get(user_id=person.id).methods == ["saml", f"sso:{cast.org.id}"]


def test_the_way_on_is_the_one_that_was_asked_for(browser: Browser, cast: Cast) -> None:
    request_id = browser.begin(f"?next=/o/{cast.org.slug}/usage")
    assert browser.answer(request_id)["Location"] == f"/o/{cast.org.slug}/usage"


def test_the_subject_decides_not_the_address(browser: Browser, cast: Cast) -> None:
    browser.answer(browser.begin())
    first = browser.person
    browser.client.logout()
    browser.answer(browser.begin(), attributes={"email": ["bob@example.com"]})
    assert browser.person == first
    assert browser.person != str(cast.bob.id)


def sealed(document: etree._Element, certificate: str) -> etree._Element:
    """The answer with its assertion encrypted to a certificate."""
    assertion = document.find("saml:Assertion", NS)
    template = xmlsec.template.encrypted_data_create(
        assertion, xmlsec.constants.TransformAes256Gcm, type=xmlsec.constants.TypeEncElement, ns="xenc"
    )
    xmlsec.template.encrypted_data_ensure_cipher_value(template)
    info = xmlsec.template.encrypted_data_ensure_key_info(template, ns="ds")
    wrapped = xmlsec.template.add_encrypted_key(info, xmlsec.constants.TransformRsaOaep)
    xmlsec.template.encrypted_data_ensure_cipher_value(wrapped)
    manager = xmlsec.KeysManager()
    manager.add_key(xmlsec.Key.from_memory(certificate, xmlsec.constants.KeyDataFormatCertPem, None))
    context = xmlsec.EncryptionContext(manager)
    context.key = xmlsec.Key.generate(xmlsec.constants.KeyDataAes, 256, xmlsec.constants.KeyDataTypeSession)
    data = context.encrypt_xml(template, assertion)
    etree.SubElement(document, f"{{{NS['saml']}}}EncryptedAssertion").append(data)
    return document


def test_an_encrypted_assertion_is_opened(browser: Browser, saml: Connection, idp: SamlIdp) -> None:
    request_id = browser.begin()
    document = idp.answer(acs=browser.acs, audience=browser.audience, in_response_to=request_id)
    posted = browser.post(sealed(document, saml.sp_certificate))
    assert posted.status_code == 303, posted.content[:800]
    browser.client.get(posted["Location"])
    assert browser.person is not None


def test_of_several_certificates_each_is_good_so_that_a_provider_can_change_its_key(
    cast: Cast, saml: Connection, idp: SamlIdp
) -> None:
    coming = SamlIdp(idp.entity_id)
    services.update_connection(
        org_id=cast.org.id, connection_id=saml.pk, changes={"idp_certificates": [idp.certificate, coming.certificate]}
    )
    for provider, subject in ((idp, "1"), (coming, "2")):
        browser = Browser(saml, provider)
        browser.answer(browser.begin(), subject=subject, attributes={"email": [f"new{subject}@example.com"]})
        assert browser.person is not None


def test_a_signed_request_carries_a_signature(cast: Cast, idp: SamlIdp, prove: Any) -> None:
    made = make_saml(cast, idp, signs_requests=True)
    there = Client().get(f"/sso/{made.id}/start")
    query = parse_qs(urlsplit(there["Location"]).query)
    assert query["SigAlg"] == ["http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"]
    assert query["Signature"]


def test_our_metadata_say_where_answers_go(browser: Browser, saml: Connection) -> None:
    text = browser.client.get(f"/sso/{saml.pk}/saml/metadata").content
    assert text == our_metadata(saml)
    root = etree.fromstring(text)
    assert root.get("entityID") == browser.audience
    assert browser.acs.encode() in text
    assert saml.sp_key is not None
    assert saml.sp_key.splitlines()[1].encode() not in text


# ---------------------------------------------------------------- bad answers
@pytest.mark.parametrize(
    "parts",
    [
        {"signs": ""},
        {"sha1": True},
        {"issuer": "https://evil.example.net"},
        {"recipient": "https://elsewhere.example.net/acs"},
        {"destination": "https://elsewhere.example.net/acs"},
        {"no_audience": True},
        {"status": "Responder"},
        {"ends": None},
        {"moment": datetime.now(UTC) - timedelta(hours=1)},
        # By the day: these are reckoned when the suite begins, which may be long before.
        {"not_before": datetime.now(UTC) + timedelta(days=1)},
        {"response_in_response_to": "_another"},
        {"subject_format": "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"},
    ],
    ids=lambda parts: next(iter(parts)),
)
def test_an_answer_that_is_not_in_order_is_refused(parts: dict[str, Any], browser: Browser) -> None:
    nothing_came_of_it(browser, browser.answer(browser.begin(), **parts))


def test_an_answer_for_another_audience_is_refused(browser: Browser, idp: SamlIdp) -> None:
    request_id = browser.begin()
    document = idp.answer(acs=browser.acs, audience="https://other.example.net", in_response_to=request_id)
    nothing_came_of_it(browser, browser.post(document))


def test_a_recipient_or_destination_that_only_begins_like_ours_is_refused(browser: Browser) -> None:
    nothing_came_of_it(browser, browser.answer(browser.begin(), recipient=f"{browser.acs}/../elsewhere"))


def test_an_answer_signed_by_another_key_is_refused(browser: Browser) -> None:
    stranger, _ = new_key_pair()
    nothing_came_of_it(browser, browser.answer(browser.begin(), key=stranger))


def test_a_changed_answer_is_refused(browser: Browser, idp: SamlIdp) -> None:
    document = idp.answer(acs=browser.acs, audience=browser.audience, in_response_to=browser.begin())
    raw = etree.tostring(document).replace(b"ada@example.com", b"alice@example.com")
    nothing_came_of_it(browser, browser.post(raw))


def test_an_answer_is_good_for_one_sign_in(browser: Browser, idp: SamlIdp) -> None:
    document = idp.answer(acs=browser.acs, audience=browser.audience, in_response_to=browser.begin())
    first = browser.post(document)
    assert first.status_code == 303
    again = browser.post(document)
    assert again.status_code == 403
    # Nor is the ticket of the first good twice.
    assert browser.client.get(first["Location"]).status_code == 302
    browser.client.logout()
    assert browser.client.get(first["Location"]).status_code == 403
    assert browser.person is None


def test_an_answer_that_another_browser_asked_for_is_refused(browser: Browser, saml: Connection, idp: SamlIdp) -> None:
    """An attacker has a victim's browser deliver the answer to the attacker's own request, or the other way round."""
    victim = Browser(saml, idp)
    request_id = browser.begin()
    posted = browser.post(idp.answer(acs=browser.acs, audience=browser.audience, in_response_to=request_id))
    answer = victim.client.get(posted["Location"])
    nothing_came_of_it(victim, answer)


def test_an_answer_nobody_asked_for_is_refused_unless_the_connection_takes_them(
    browser: Browser, cast: Cast, saml: Connection
) -> None:
    nothing_came_of_it(browser, browser.answer(""))
    services.update_connection(org_id=cast.org.id, connection_id=saml.pk, changes={"allows_unsolicited": True})
    assert browser.answer("").status_code == 302
    assert browser.person is not None


# ---------------------------------------------------------------- signature wrapping
def forged(document: etree._Element) -> etree._Element:
    """A copy of the signed assertion, unsigned, that says Alice."""
    assertion = document.find("saml:Assertion", NS)
    evil = deepcopy(assertion)
    signature = evil.find("ds:Signature", NS)
    if signature is not None:
        evil.remove(signature)
    evil.set("ID", "_evil")
    for value in evil.iter(f"{{{NS['saml']}}}AttributeValue"):
        value.text = "alice@example.com"
    evil.find("saml:Subject/saml:NameID", NS).text = "evil"
    return evil


def _before(document: etree._Element) -> None:
    document.insert(2, forged(document))


def _behind(document: etree._Element) -> None:
    document.append(forged(document))


def _original_inside_the_forged(document: etree._Element) -> None:
    original, evil = document.find("saml:Assertion", NS), forged(document)
    document.replace(original, evil)
    evil.append(original)


def _original_in_the_forged_signature(document: etree._Element) -> None:
    original, evil = document.find("saml:Assertion", NS), forged(document)
    signature = original.find("ds:Signature", NS)
    original.remove(signature)
    document.replace(original, evil)
    evil.insert(1, signature)
    holder = etree.SubElement(signature, f"{{{NS['ds']}}}Object")
    holder.append(original)


def _original_in_an_extension(document: etree._Element) -> None:
    original, evil = document.find("saml:Assertion", NS), forged(document)
    document.replace(original, evil)
    extensions = etree.Element(f"{{{NS['samlp']}}}Extensions")
    document.insert(1, extensions)
    extensions.append(original)


def _same_id(document: etree._Element) -> None:
    original, evil = document.find("saml:Assertion", NS), forged(document)
    evil.set("ID", original.get("ID"))
    document.insert(2, evil)


def _whole_response_inside(document: etree._Element) -> None:
    """The signed response in an extension of a forged one."""
    inner = deepcopy(document)
    evil = forged(document)
    for child in list(document):
        if child.tag in {f"{{{NS['ds']}}}Signature", f"{{{NS['saml']}}}Assertion"}:
            document.remove(child)
    document.set("ID", "_outer")
    extensions = etree.Element(f"{{{NS['samlp']}}}Extensions")
    document.insert(1, extensions)
    extensions.append(inner)
    document.append(evil)


@pytest.mark.parametrize("signs", ["assertion", "response"])
@pytest.mark.parametrize(
    "wrap",
    [
        _before, _behind, _original_inside_the_forged, _original_in_the_forged_signature, _original_in_an_extension,
        _same_id, _whole_response_inside,
    ],
)  # fmt: skip
def test_a_signature_cannot_be_lent_to_another_assertion(
    wrap: Any, signs: str, browser: Browser, idp: SamlIdp, cast: Cast
) -> None:
    document = idp.answer(acs=browser.acs, audience=browser.audience, in_response_to=browser.begin(), signs=signs)
    if signs == "response" and wrap is _original_in_the_forged_signature:
        pytest.skip("the assertion has no signature of its own to lend")
    wrap(document)
    nothing_came_of_it(browser, browser.post(document))


def test_a_comment_in_the_name_hides_nothing(browser: Browser, cast: Cast) -> None:
    """``alice@example.com<!-- -->.evil.net`` is not Alice: the whole text counts (CVE-2017-11427 and its kin)."""
    browser.answer(browser.begin(), raw_subject="alice@example.com<!-- x -->.evil.net", attributes={"other": ["x"]})
    assert browser.person is None
    assert trail("user.login") == []
    assert ".evil.net" in trail("sso.refused")[-1].reason


def test_entities_are_not_expanded_and_a_dtd_is_refused(browser: Browser, idp: SamlIdp) -> None:
    document = idp.answer(acs=browser.acs, audience=browser.audience, in_response_to=browser.begin())
    bomb = b'<!DOCTYPE r [<!ENTITY a "x"><!ENTITY b "&a;&a;">]>' + etree.tostring(document)
    nothing_came_of_it(browser, browser.post(bomb))


@pytest.mark.parametrize("raw", ["", "%%%", "PHg+", "A" * 400_000], ids=["nothing", "no base64", "no xml", "too large"])
def test_what_is_no_answer_is_refused(raw: str, browser: Browser) -> None:
    posted = Client().post(urlsplit(browser.acs).path, {"SAMLResponse": raw})
    nothing_came_of_it(browser, posted)


def test_only_the_place_of_the_answer_is_open_to_other_sites(browser: Browser) -> None:
    strict = Client(enforce_csrf_checks=True)
    assert strict.post(urlsplit(browser.acs).path, {"SAMLResponse": "x"}).status_code == 403
    assert b"protection token" not in strict.post(urlsplit(browser.acs).path, {"SAMLResponse": "x"}).content
    assert b"protection token" in strict.post("/login/sso", {"email": "ada@example.com"}).content


# ---------------------------------------------------------------- metadata of the provider
def test_the_providers_metadata_fill_the_connection(idp: SamlIdp) -> None:
    _, more = new_key_pair()
    found = read_metadata(idp.metadata(more=more))
    assert found.entity_id == idp.entity_id
    assert found.sso_url == "https://idp.example.com/sso"
    assert len(found.certificates) == 2


@pytest.mark.parametrize(
    "text", ["", "nonsense", "<x/>", '<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'], ids=["empty", "text", "other", "dtd"]
)
def test_what_are_no_metadata_are_refused(text: str) -> None:
    with pytest.raises(ValidationFailed):
        read_metadata(text)


# ---------------------------------------------------------------- a test
def test_a_test_shows_what_came_and_signs_nobody_in(browser: Browser, cast: Cast, saml: Connection) -> None:
    services.disable_connection(org_id=cast.org.id, connection_id=saml.pk)
    assert browser.client.get(f"/sso/{saml.pk}/start?test=1").status_code == 404
    browser.client = Api(cast.erin).client
    answer = browser.answer(browser.begin("?test=1"), attributes={"email": ["ada@example.com"], "groups": ["Looms"]})
    assert answer.status_code == 302
    assert browser.person == str(cast.erin.id)
    assert user_by_email("ada@example.com") is None
    found = connection_find(saml.pk)
    assert found is not None
    assert found.tested_at is not None
    assert found.test_answer["email"] == "ada@example.com"
    assert found.test_answer["groups"] == ["Looms"]


def test_a_connection_that_lacks_something_says_so(cast: Cast) -> None:
    for kind in ("saml", "oidc"):
        made = services.create_connection(org_id=cast.org.id, kind=kind, name=kind, values={})
        assert Api(cast.erin).client.get(f"/sso/{made.id}/start?test=1").status_code == 403
    assert len(trail("sso.refused")) == 2


def test_a_developer_cannot_test_a_connection(browser: Browser, cast: Cast, saml: Connection) -> None:
    assert Api(cast.bob).client.get(f"/sso/{saml.pk}/start?test=1").status_code == 403
    assert Api(cast.charlie).client.get(f"/sso/{saml.pk}/start?test=1").status_code == 404
