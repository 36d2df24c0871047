"""Sealed entries sent on, to receivers that are really there."""

import base64
import contextlib
import datetime as dt
import hmac
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from apps.audit import services
from apps.audit.chain import seal_all
from apps.audit.checks import check_stream
from apps.audit.models import AuditStream, SystemStream
from apps.audit.streams import deliver_due, new_secret
from apps.audit.system_stream import deliver_to_operator, operator_lag
from apps.core import clock
from apps.core.errors import NotFound, ValidationFailed
from apps.core.ids import uuid7
from apps.core.tenancy import org_scope, system_scope
from tests.audit.chains import entry
from tests.cast import Api, Cast, published, trail

pytestmark = pytest.mark.django_db(transaction=True)


class Webhook(HTTPServer):
    """Keeps what it is sent; ``status`` is what it answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.calls = 204, []


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.calls.append((dict(self.headers), body))  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def webhook(settings) -> Iterator[Webhook]:
    settings.OUTBOUND_ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
    server = Webhook()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def make(org_id: UUID, url: str, **more) -> tuple[AuditStream, str]:
    with org_scope(org_id):
        return services.create_stream(org_id=org_id, name="SIEM", url=url, **more)


def now_of(stream: AuditStream) -> AuditStream:
    with system_scope("the test looks at all"):
        return AuditStream.objects.get(pk=stream.pk)


def to(server: Webhook) -> str:
    return f"http://127.0.0.1:{server.server_port}/in"


def is_signed(headers: dict, body: bytes, secret: str) -> bool:
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), signed, "sha256")
    return f"v1,{base64.b64encode(wanted).decode()}" in headers["webhook-signature"].split(" ")


def test_a_webhook_gets_sealed_entries_in_order_signed_and_once(webhook) -> None:
    org_id = uuid7()
    stream, secret = make(org_id, to(webhook))
    ids = [str(entry(org_id, target_id=f"t-{number}")) for number in range(3)]
    deliver_due()
    assert webhook.calls == [], "nothing before it is sealed"
    seal_all()
    deliver_due()
    deliver_due()
    ((headers, body),) = webhook.calls
    sent = json.loads(body)["data"]
    assert [each["id"] for each in sent][-3:] == ids
    assert [each["proof"]["position"] for each in sent] == list(range(1, len(sent) + 1))
    assert sent[-1]["actor"]["label"] == "alice@example.com"
    headers = {name.lower(): value for name, value in headers.items()}
    assert is_signed(headers, body, secret)
    assert not is_signed(headers, body + b" ", secret)
    assert now_of(stream).position == len(sent)


def test_what_fails_is_sent_again_later_with_the_same_id(webhook) -> None:
    org_id = uuid7()
    stream, _ = make(org_id, to(webhook))
    seal_all()
    webhook.status = 500
    deliver_due()
    failed = now_of(stream)
    assert (failed.position, failed.attempts, failed.last_error) == (0, 1, "the receiver answered 500")
    deliver_due()
    assert len(webhook.calls) == 1, "not before its time"
    webhook.status = 200
    with clock.freeze(clock.now() + timedelta(minutes=5)):
        deliver_due()
    first, second = ({name.lower(): value for name, value in headers.items()} for headers, _ in webhook.calls)
    assert first["webhook-id"] == second["webhook-id"]
    assert (now_of(stream).attempts, now_of(stream).last_error) == (0, "")


def test_a_stream_that_fails_for_days_is_dead_until_it_is_resumed(webhook) -> None:
    org_id = uuid7()
    stream, _ = make(org_id, to(webhook))
    seal_all()
    webhook.status = 500
    deliver_due()
    with clock.freeze(clock.now() + timedelta(days=4)):
        deliver_due()
        assert now_of(stream).state == "dead"
        (told,) = [data for data in published("audit.stream_dead") if data["stream_id"] == str(stream.pk)]
        assert told["error"] == "the receiver answered 500"
        webhook.status = 200
        assert deliver_due() == 0
        with org_scope(org_id):
            services.update_stream(org_id=org_id, stream_id=stream.pk, changes={"state": "active"})
        assert deliver_due() >= 1


def test_a_new_secret_signs_beside_the_former_one_for_a_day(webhook) -> None:
    org_id = uuid7()
    stream, old = make(org_id, to(webhook))
    with org_scope(org_id):
        new = services.rotate_stream_secret(org_id=org_id, stream_id=stream.pk)
        services.test_stream(org_id=org_id, stream_id=stream.pk)
        with clock.freeze(clock.now() + timedelta(hours=25)):
            services.test_stream(org_id=org_id, stream_id=stream.pk)
    (early, late) = ({name.lower(): value for name, value in headers.items()} for headers, _ in webhook.calls)
    bodies = [body for _, body in webhook.calls]
    assert is_signed(early, bodies[0], old)
    assert is_signed(early, bodies[0], new)
    assert not is_signed(late, bodies[1], old)
    assert is_signed(late, bodies[1], new)
    assert new not in str(trail("audit.stream_changed", org_id=org_id)[0].changes)


def test_another_organisations_entries_are_not_sent(webhook) -> None:
    org_id = uuid7()
    make(org_id, to(webhook))
    entry(uuid7(), target_id="theirs")
    seal_all()
    deliver_due()
    assert all(b"theirs" not in body for _, body in webhook.calls)


@pytest.mark.parametrize("url", ["ftp://x.test/", "http://x.test/", "https://u:p@x.test/", "syslog://x.test", "x"])
def test_what_is_no_address_of_a_receiver_is_refused(url) -> None:
    org_id = uuid7()
    with pytest.raises(ValidationFailed):
        make(org_id, url)
    assert trail("audit.stream_created", org_id=org_id) == []


@pytest.mark.parametrize("url", ["https://127.0.0.1:9/", "syslog+tcp://127.0.0.1:9", "syslog+udp://127.0.0.1:9"])
def test_an_address_inside_the_network_is_not_called(url, settings) -> None:
    settings.OUTBOUND_ALLOWED_HOSTS = []
    stream, _ = make(uuid7(), url)
    seal_all()
    deliver_due()
    assert "not on the public internet" in now_of(stream).last_error
    assert now_of(stream).position == 0


# ---------------------------------------------------------------- syslog
def frames(raw: bytes) -> list[bytes]:
    """The messages of a stream with their lengths in front (RFC 6587, 3.4.1)."""
    found = []
    while raw:
        length, _, rest = raw.partition(b" ")
        found.append(rest[: int(length)])
        raw = rest[int(length) :]
    return found


def received(context: ssl.SSLContext | None) -> tuple[int, list[bytes], threading.Thread]:
    """A receiver of one connection: its port, what it will have got, and the thread to wait for."""
    listener, got = socket.create_server(("127.0.0.1", 0)), []

    def serve() -> None:
        with listener:
            plain, _ = listener.accept()
            # Whoever does not trust the certificate hangs up in the midst of the handshake.
            with (
                contextlib.suppress(ssl.SSLError),
                context.wrap_socket(plain, server_side=True) if context else plain as taken,
            ):
                while chunk := taken.recv(65536):
                    got.append(chunk)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listener.getsockname()[1], got, thread


def test_syslog_over_tcp_and_tls_frames_messages_by_their_length(settings, tmp_path) -> None:
    settings.OUTBOUND_ALLOWED_HOSTS = ["127.0.0.0/8"]
    pem, context = certificate(tmp_path)
    for scheme, tls in (("syslog+tcp", None), ("syslog+tls", context)):
        port, got, thread = received(tls)
        org_id = uuid7()
        stream, _ = make(org_id, f"{scheme}://localhost:{port}", format="cef", ca_pem=pem if tls else "")
        settings.OUTBOUND_ALLOWED_HOSTS = ["localhost"]
        entry(org_id, target_label="zwei Wörter\nund mehr")
        seal_all()
        deliver_due()
        thread.join(20)
        messages = frames(b"".join(got))
        assert now_of(stream).last_error == ""
        assert len(messages) == now_of(stream).position >= 2
        assert all(message.startswith(b"<109>1 20") for message in messages)
        assert b"cs3=zwei W\xc3\xb6rter\\nund mehr" in messages[-1]
        with org_scope(org_id):
            services.delete_stream(org_id=org_id, stream_id=stream.pk)


def test_a_receiver_whose_certificate_is_not_trusted_gets_nothing(settings, tmp_path) -> None:
    settings.OUTBOUND_ALLOWED_HOSTS = ["localhost"]
    _, context = certificate(tmp_path)
    port, got, _ = received(context)
    stream, _ = make(uuid7(), f"syslog+tls://localhost:{port}")
    seal_all()
    deliver_due()
    assert "certificate" in now_of(stream).last_error.lower()
    assert got == []


def test_syslog_over_udp_sends_one_a_datagram(settings) -> None:
    settings.OUTBOUND_ALLOWED_HOSTS = ["127.0.0.1"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        org_id = uuid7()
        make(org_id, f"syslog+udp://127.0.0.1:{receiver.getsockname()[1]}")
        seal_all()
        deliver_due()
        message = receiver.recv(65536)
    head, _, body = message.partition(b" - audit.stream_created - ")
    assert head.startswith(b"<109>1 ")
    assert json.loads(body)["action"] == "audit.stream_created"


def certificate(folder) -> tuple[str, ssl.SSLContext]:
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
    )
    moment = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=1))
        .not_valid_after(moment + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    file = folder / "both.pem"
    file.write_bytes(
        pem
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return pem.decode(), context


# ---------------------------------------------------------------- the API
def test_streams_over_the_api() -> None:
    from tests.cast import make_cast

    cast: Cast = make_cast()
    alice = Api(cast.alice)
    made = alice.post("/audit/streams", {"name": "SIEM", "url": "https://siem.example.com/in"}).json()
    assert made["secret"].startswith("whsec_")
    path = f"/audit/streams/{made['id']}"
    assert "secret" not in alice.get(path).json()
    assert [each["id"] for each in alice.get("/audit/streams").json()["data"]] == [made["id"]]
    assert alice.patch(path, {"state": "paused"}).json()["state"] == "paused"
    assert Api(cast.charlie).get(path).status_code == 404
    assert Api(cast.bob).delete(path).status_code == 403
    assert alice.delete(path).status_code == 204
    assert alice.get(path).status_code == 404
    actions = ["audit.stream_created", "audit.stream_changed", "audit.stream_removed"]
    assert [len(trail(action, org_id=cast.org.id)) for action in actions] == [1, 1, 1]


def test_a_stream_that_is_not_there_is_not_changed() -> None:
    org_id = uuid7()
    with org_scope(org_id), pytest.raises(NotFound):
        services.update_stream(org_id=org_id, stream_id=uuid7(), changes={"name": "x"})


# ---------------------------------------------------------------- whoever runs the installation
def test_the_operators_receiver_gets_every_organisations_entries_and_those_of_none(webhook, settings) -> None:
    seal_all()
    settings.AUDIT_STREAM_URL, settings.AUDIT_STREAM_SECRET = to(webhook), new_secret()
    SystemStream.objects.all().delete()
    assert deliver_to_operator() == 0, "from now on"
    ids = [str(entry(org_id)) for org_id in (uuid7(), uuid7(), None)]
    assert (deliver_to_operator(), operator_lag()) == (0, 0), "nothing before it is sealed"
    seal_all()
    assert operator_lag() == 3
    webhook.status = 500
    assert deliver_to_operator() == 0
    assert SystemStream.objects.get().last_error == "the receiver answered 500"
    webhook.status = 204
    SystemStream.objects.update(retry_at=None)
    assert (deliver_to_operator(), operator_lag(), deliver_to_operator()) == (3, 0, 0)
    (failed, _), (headers, body) = webhook.calls
    assert headers["webhook-id"] == failed["webhook-id"], "the same batch has the same name"
    assert is_signed(headers, body, settings.AUDIT_STREAM_SECRET)
    sent = json.loads(body)["data"]
    assert [each["id"] for each in sent] == ids
    assert sent[0]["actor"]["label"] == "alice@example.com"


def test_a_receiver_of_the_operators_that_cannot_be_one_is_said_at_start(settings) -> None:
    def said() -> list[str]:
        return [problem.id for problem in check_stream()]

    assert said() == []
    settings.AUDIT_STREAM_URL, settings.AUDIT_STREAM_FORMAT = "gopher://siem", "xml"
    assert said() == ["mindweave.E041", "mindweave.E042"]
    settings.AUDIT_STREAM_URL, settings.AUDIT_STREAM_FORMAT = "https://siem.example", "cef"
    assert said() == ["mindweave.E043"]
    settings.AUDIT_STREAM_SECRET = new_secret()
    assert said() == []
