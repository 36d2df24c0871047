"""A provider's metadata are fetched again: new keys count, another's metadata change nothing, failures are told."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from apps.core.clock import now
from apps.core.errors import NotFound
from apps.core.tenancy import org_scope, system_scope
from apps.sso import services
from apps.sso.jobs import refresh_metadata
from apps.sso.models import Connection
from apps.sso.selectors import connection_find
from tests.cast import Api, Cast, published, trail
from tests.sso.samlidp import SamlIdp
from tests.sso.test_saml import Browser


class Published:
    """What stands at the address of the metadata, and how often it was asked for."""

    def __init__(self, document: bytes) -> None:
        self.document, self.status, self.asked = document, 200, 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.asked += 1
                self.send_response(owner.status)
                self.send_header("Content-Length", str(len(owner.document)))
                self.end_headers()
                self.wfile.write(owner.document)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/metadata"


@pytest.fixture
def there(settings, idp: SamlIdp) -> Iterator[Published]:
    settings.OUTBOUND_ALLOWED_HOSTS = ["127.0.0.1"]
    page = Published(idp.metadata())
    yield page
    page.server.shutdown()
    page.server.server_close()


@pytest.fixture
def fetched(saml: Connection, there: Published, cast: Cast) -> Connection:
    """The connection with the address of its metadata, which were fetched a day ago."""
    services.update_connection(org_id=cast.org.id, connection_id=saml.pk, changes={"idp_metadata_url": there.url})
    return age(saml)


def age(connection: Connection, hours: int = 24) -> Connection:
    then = now() - timedelta(hours=hours)
    with org_scope(connection.org_id):
        Connection.objects.filter(pk=connection.pk).update(metadata_checked_at=then)
        Connection.objects.filter(pk=connection.pk).exclude(metadata_failing_since=None).update(
            metadata_failing_since=then
        )
    return as_it_is(connection)


def as_it_is(connection: Connection) -> Connection:
    found = connection_find(connection.pk)
    assert found is not None
    return found


def run() -> dict[str, int]:
    with system_scope("the job"):
        return refresh_metadata()


def test_new_keys_count_beside_the_old_ones_and_then_alone(
    fetched: Connection, there: Published, idp: SamlIdp, cast: Cast
) -> None:
    later = SamlIdp(idp.entity_id)
    there.document = idp.metadata(more=later.certificate)
    assert run() == {"changed": 1}
    for signer in (idp, later):
        browser = Browser(as_it_is(fetched), signer)
        assert browser.answer(browser.begin()).status_code == 302
    there.document = later.metadata()
    age(fetched)
    assert run() == {"changed": 1}
    assert len(as_it_is(fetched).idp_certificates) == 1
    browser = Browser(as_it_is(fetched), idp)
    assert browser.answer(browser.begin()).status_code == 403
    entry = trail("sso.metadata_changed")[-1]
    assert (entry.org_id, list(entry.changes)) == (cast.org.id, ["idp_certificates"])
    assert published("sso.metadata_changed")[-1]["changed"] == ["idp_certificates"]


def test_they_are_fetched_every_six_hours_and_no_oftener(fetched: Connection, there: Published, cast: Cast) -> None:
    assert run() == {"unchanged": 1}
    assert run() == {}
    age(fetched, hours=5)
    assert run() == {}
    age(fetched, hours=6)
    services.disable_connection(org_id=cast.org.id, connection_id=fetched.pk)
    assert run() == {}
    assert there.asked == 1
    assert trail("sso.metadata_changed") == []


def test_a_failure_is_tried_every_hour_and_told_once_after_a_day(fetched: Connection, there: Published) -> None:
    there.status, certificates = 503, fetched.idp_certificates
    assert run() == {"failing": 1}
    assert published("sso.metadata_failing") == []
    assert run() == {}
    for _ in "ab":
        age(fetched, hours=25)
        assert run() == {"failing": 1}
    assert [one["problem"] for one in published("sso.metadata_failing")] == ["The address answered 503"]
    assert len(trail("sso.metadata_failing")) == 1
    assert as_it_is(fetched).idp_certificates == certificates
    age(fetched)
    there.status = 200
    assert run() == {"unchanged": 1}
    assert (as_it_is(fetched).metadata_failing_since, as_it_is(fetched).metadata_problem) == (None, "")
    assert len(trail("sso.metadata_recovered")) == 1


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"https://idp.example.com/metadata", b"https://evil.example/metadata", "another provider"),
        (b"https://idp.example.com/sso", b"https://evil.example/sso", "another host"),
        (b"https://idp.example.com/sso", b"http://idp.example.com/sso", "not an https address"),
        (b"<md:EntityDescriptor", b'<md:EntityDescriptor validUntil="2020-01-01T00:00:00Z"', "valid until"),
    ],
)
def test_what_is_not_the_providers_own_changes_nothing(
    old: bytes, new: bytes, why: str, fetched: Connection, there: Published, idp: SamlIdp
) -> None:
    there.document = SamlIdp(idp.entity_id).metadata().replace(old, new)
    assert run() == {"failing": 1}
    found = as_it_is(fetched)
    assert why in found.metadata_problem
    assert (found.idp_certificates, found.idp_sso_url) == (fetched.idp_certificates, fetched.idp_sso_url)
    # Metadata of another are told at once, and once; those past their end like those that cannot be had.
    assert len(published("sso.metadata_failing")) == (0 if why == "valid until" else 1)


def test_a_sign_on_address_of_the_same_host_is_taken_and_enforcement_goes_on(
    fetched: Connection, there: Published, idp: SamlIdp
) -> None:
    there.document = idp.metadata().replace(b"https://idp.example.com/sso", b"https://idp.example.com/sso2")
    assert run() == {"changed": 1}
    assert as_it_is(fetched).idp_sso_url == "https://idp.example.com/sso2"


def test_an_answer_by_a_new_key_has_them_fetched_once_in_five_minutes(
    fetched: Connection, there: Published, idp: SamlIdp
) -> None:
    later, stranger = SamlIdp(idp.entity_id), SamlIdp(idp.entity_id)
    there.document = later.metadata()
    browser = Browser(fetched, later)
    assert browser.answer(browser.begin()).status_code == 302
    assert there.asked == 1
    for _ in "abc":
        browser = Browser(fetched, stranger)
        assert browser.answer(browser.begin()).status_code == 403
    assert there.asked == 1


def test_addresses_inside_are_not_fetched(fetched: Connection, there: Published, settings) -> None:
    settings.OUTBOUND_ALLOWED_HOSTS = []
    assert run() == {"failing": 1}
    assert there.asked == 0


def test_who_manages_it_has_them_fetched_now(fetched: Connection, there: Published, cast: Cast) -> None:
    path = f"/orgs/{cast.org.id}/sso/connections/{fetched.pk}"
    there.status = 404
    answer = Api(cast.erin).post(f"{path}/refresh").json()
    assert answer["metadata_problem"] == "The address answered 404"
    page = f"/o/{cast.org.slug}/settings/sso/connections/{fetched.pk}"
    shown = Api(cast.erin).client.get(page).content.decode()
    assert "The address answered 404" in shown
    there.status = 200
    assert Api(cast.erin).client.post(f"{page}/refresh").status_code == 302
    assert as_it_is(fetched).metadata_problem == ""
    services.update_connection(org_id=cast.org.id, connection_id=fetched.pk, changes={"idp_metadata_url": ""})
    assert Api(cast.erin).post(f"{path}/refresh").status_code == 404
    with pytest.raises(NotFound):
        services.refresh_metadata(org_id=cast.elsewhere.id, connection_id=fetched.pk)
