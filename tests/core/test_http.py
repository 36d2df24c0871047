"""The client for addresses that somebody else chose: what it refuses, and what it never gives away."""

import ipaddress
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core import http
from apps.core.http import OutboundRefused, check_address, fetch, resolve

REFUSED = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "169.254.169.254",
    "172.16.0.1", "192.0.0.192", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1",
    "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::", "2001:0:7f00:1::", "fc00::1", "fd00:ec2::254", "fe80::1",
    "fec0::1", "ff02::1", "3fff::1", "100::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(OutboundRefused):
        check_address("host.example", ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_passes(address: str) -> None:
    check_address("host.example", ipaddress.ip_address(address))


PRIVATE_V4 = st.sampled_from(["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]).flatmap(
    lambda network: st.ip_addresses(v=4, network=network)
)


@given(PRIVATE_V4)
def test_no_spelling_of_a_private_address_passes(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    first, rest = number >> 24, number & 0xFFFFFF
    spellings = [str(address), str(number), hex(number), f"0{first:o}.{rest}", f"{first:#x}.{rest:#x}"]
    for spelling in spellings:
        with pytest.raises(OutboundRefused):
            resolve(spelling, 80)


@given(PRIVATE_V4)
def test_no_ipv6_address_that_stands_for_a_private_one_passes(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    inside = [
        (0xFFFF << 32) | number,  # mapped
        number,  # compatible
        (0x2002 << 112) | (number << 80) | 1,  # 6to4
        (0x0064FF9B << 96) | number,  # NAT64
        (0x20010000 << 96) | (0x08080808 << 64) | (number ^ 0xFFFFFFFF),  # Teredo
    ]
    for value in inside:
        with pytest.raises(OutboundRefused):
            check_address("host.example", ipaddress.IPv6Address(value))


def test_one_private_address_among_public_ones_refuses_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(2, 1, 6, "", ("1.1.1.1", 80)), (2, 1, 6, "", ("127.0.0.1", 80))]
    monkeypatch.setattr(http.socket, "getaddrinfo", lambda *args, **kwargs: answers)
    with pytest.raises(OutboundRefused):
        resolve("two-faced.example", 80)


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch, site: "Site") -> None:
    """A name that means something else at the second look-up leads nowhere: there is no second look-up."""
    asked: list[str] = []
    real = http.socket.getaddrinfo

    def once(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if host == "rebinding.example":
            asked.append(host)
            return [(2, 1, 6, "", ("127.0.0.1", port))]
        return real(host, port, *args, **kwargs)

    monkeypatch.setattr(http.socket, "getaddrinfo", once)
    assert fetch("GET", f"http://rebinding.example:{site.port}/hello").text == "hello"
    assert asked == ["rebinding.example"]


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "gopher://example.com/", "ftp://example.com/", "http://", "//example.com/", "http://a:b@example.com/"],
)
def test_what_is_not_a_plain_web_address_is_refused(url: str) -> None:
    with pytest.raises(OutboundRefused):
        fetch("GET", url)


# ------------------------------------------------------------------ a site of our own, allowed by the settings
class Site:
    """A web server on loopback that records what it was sent; ``pages`` maps a path to what it answers."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {"/hello": (200, {}, b"hello")}
        site = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                sent = {name.lower(): value for name, value in self.headers.items()}
                site.requests.append((self.command, self.path, sent, body))
                status, headers, content = site.pages.get(self.path, (404, {}, b""))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = answer

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


@pytest.fixture
def site(settings: Any) -> Iterator[Site]:
    settings.OUTBOUND_ALLOWED_HOSTS = ["127.0.0.0/8", "rebinding.example"]
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_host_that_the_settings_allow_is_called(site: Site) -> None:
    assert fetch("GET", site.url("/hello")).text == "hello"


def test_a_redirect_is_checked_like_the_first_address(site: Site) -> None:
    site.pages["/away"] = (302, {"Location": "http://10.0.0.1/"}, b"")
    with pytest.raises(OutboundRefused, match=r"10\.0\.0\.1"):
        fetch("GET", site.url("/away"))


def test_a_redirect_to_another_scheme_is_refused(site: Site) -> None:
    site.pages["/away"] = (302, {"Location": "file:///etc/passwd"}, b"")
    with pytest.raises(OutboundRefused):
        fetch("GET", site.url("/away"))


def test_redirects_end_after_three(site: Site) -> None:
    site.pages["/round"] = (302, {"Location": "/round"}, b"")
    with pytest.raises(OutboundRefused, match="redirects"):
        fetch("GET", site.url("/round"))
    assert len(site.requests) == 4


def test_credentials_do_not_follow_a_redirect_to_another_host(site: Site) -> None:
    other = ThreadingHTTPServer(("127.0.0.2", 0), site.server.RequestHandlerClass)
    threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    site.pages["/away"] = (307, {"Location": f"http://127.0.0.2:{other.server_port}/hello"}, b"")
    try:
        fetch("GET", site.url("/away"), headers={"Authorization": "Bearer secret-of-the-first", "Cookie": "a=b"})
    finally:
        other.shutdown()
        other.server_close()
    first, second = site.requests
    assert first[2]["authorization"] == "Bearer secret-of-the-first"
    assert "authorization" not in second[2]
    assert "cookie" not in second[2]


def test_a_post_becomes_a_get_where_the_answer_is_elsewhere(site: Site) -> None:
    site.pages["/form"] = (303, {"Location": "/hello"}, b"")
    fetch("POST", site.url("/form"), json={"secret": 1})
    assert [(method, path, body) for method, path, _, body in site.requests] == [
        ("POST", "/form", b'{"secret":1}'),
        ("GET", "/hello", b""),
    ]


def test_an_answer_that_is_too_large_is_refused(site: Site) -> None:
    site.pages["/big"] = (200, {}, b"x" * 2000)
    with pytest.raises(OutboundRefused, match="1,000"):
        fetch("GET", site.url("/big"), max_bytes=1000)
    assert len(fetch("GET", site.url("/big"), max_bytes=2000).content) == 2000


def test_the_whole_call_has_an_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only each read: a server that drips a byte now and then would hold a worker for ever."""
    moments = iter([0.0] + [http.MAX_SECONDS + 1.0] * 100)
    monkeypatch.setattr(http, "monotonic", lambda: next(moments))
    with pytest.raises(OutboundRefused, match="took more than"):
        fetch("GET", site.url("/hello"))


def test_the_proxies_of_the_environment_are_not_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert fetch("GET", site.url("/hello")).text == "hello"
