"""Calls to addresses that somebody else chose reach the public internet and nothing else."""

import ipaddress
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core import http
from apps.core.http import OutboundRefused, check_address, fetch

PRIVATE = [
    "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
    "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "2002:7f00:1::", "64:ff9b::7f00:1", "64:ff9b::a00:1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_inside_is_refused(address: str) -> None:
    with pytest.raises(OutboundRefused):
        check_address("evil.example", ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_a_public_address_passes(address: str) -> None:
    check_address("good.example", ipaddress.ip_address(address))


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_is_judged_the_same_however_ipv6_wraps_it(value: int) -> None:
    plain = ipaddress.IPv4Address(value)
    wrapped = [
        ipaddress.IPv6Address(f"::ffff:{plain}"),
        ipaddress.IPv6Address((0x2002 << 112) | (value << 80)),
        ipaddress.IPv6Address((0x64FF9B << 96) | value),
    ]
    assert {_passes(address) for address in wrapped} == {_passes(plain)}


def _passes(address: http.Address) -> bool:
    try:
        check_address("host", address)
    except OutboundRefused:
        return False
    return True


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://localhost/", "http://2130706433/", "http://0x7f.1/", "http://[::1]/", "http://127.1/",
     "ftp://example.com/", "file:///etc/passwd", "http://user:pw@example.com/", "http:///x", "gopher://x/"],
)  # fmt: skip
def test_spellings_of_inside_are_refused(url: str) -> None:
    with pytest.raises(OutboundRefused):
        fetch("GET", url)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data")
            self.end_headers()
            return
        body = b"x" * (2000 if self.path == "/large" else 5)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    found = HTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()
    found.server_close()


def test_an_allowed_network_can_be_called_and_a_redirect_out_of_it_cannot(server: str, settings) -> None:
    with pytest.raises(OutboundRefused):
        fetch("GET", server)
    settings.OUTBOUND_ALLOWED_HOSTS = ["127.0.0.0/8"]
    assert fetch("GET", server).text == "xxxxx"
    with pytest.raises(OutboundRefused):
        fetch("GET", f"{server}/away")
    with pytest.raises(OutboundRefused):
        fetch("GET", f"{server}/large", max_bytes=100)
