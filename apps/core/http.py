"""Calls to addresses that somebody else chose (webhooks, OIDC discovery, MCP servers), safe against SSRF.

The name is resolved here, every address of it is checked, and the connection goes to the address that was checked, so a
second look-up cannot lead elsewhere. Redirects are not followed by httpx but by :func:`fetch`, which checks each anew.
Only public addresses pass, except hosts and networks named in ``OUTBOUND_ALLOWED_HOSTS``. A ruff rule and a test keep
other HTTP clients out of the code.
"""

import ipaddress
import socket
from collections.abc import Iterable
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx
from django.conf import settings
from httpx import HTTPError, Response  # what callers of `fetch` catch and get: none of them needs the library

from apps.core.errors import MindWeaveError

__all__ = ["HTTPError", "OutboundRefused", "Response", "check_address", "client", "fetch", "resolve"]


TIMEOUT = httpx.Timeout(10.0, connect=5.0)
MAX_BYTES = 5 * 1024 * 1024
MAX_REDIRECTS = 3
MAX_SECONDS = 30.0
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Not for everybody, though `is_global` says so in some versions of Python, or in all.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata service answers at 192.0.0.192
        "192.88.99.0/24",  # the relays of 6to4
        "168.63.129.16/32",  # Azure's metadata and wire server
        "64:ff9b:1::/48",  # NAT64 inside a network
        "3fff::/20",  # documentation
        "fec0::/10",  # site-local, of old
    )
)


class OutboundRefused(MindWeaveError):
    """An address that must not be called from here."""

    status, code, title = 422, "outbound_refused", "This address cannot be called"


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for (mapped, 6to4, Teredo, NAT64), else itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address.sixtofour:
            return address.sixtofour
        if address.teredo:
            return address.teredo[1]
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _allowed(host: str, address: Address) -> bool:
    for entry in settings.OUTBOUND_ALLOWED_HOSTS:
        if entry.lower() == host.lower():
            return True
        try:
            if address in ipaddress.ip_network(entry, strict=False):
                return True
        except ValueError:
            continue
    return False


def check_address(host: str, address: Address) -> None:
    """Raise :class:`OutboundRefused` unless the address is on the public internet or allowed by the settings."""
    real = _inner(address)
    public = real.is_global and not (
        real.is_multicast or real.is_reserved or real.is_unspecified or any(real in network for network in _NOT_PUBLIC)
    )
    if not public and not _allowed(host, address):
        # Without the address: whoever may name a host would be told what names mean inside the network.
        raise OutboundRefused(f"{host} leads to an address that is not on the public internet")


def resolve(host: str, port: int) -> list[str]:
    """The checked addresses of a host. One bad address among good ones refuses the host."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise OutboundRefused(f"{host} cannot be found") from error
    addresses = list(dict.fromkeys(str(entry[4][0]).split("%", 1)[0] for entry in found))
    for text in addresses:
        check_address(host, ipaddress.ip_address(text))
    return addresses


class _PinnedBackend(httpcore.NetworkBackend):
    """Connects to the addresses that were checked, whatever the name means a moment later."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        last: Exception | None = None
        for address in resolve(host, port):
            try:
                return self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError as error:
                last = error
        raise last or httpcore.ConnectError(f"{host} has no address")

    def connect_unix_socket(self, path: str, timeout: float | None = None, socket_options: Any = None) -> Any:
        raise OutboundRefused("Sockets of this machine are not called")


def client() -> httpx.Client:
    """A client whose every connection is checked; it follows no redirects and honours no proxy of the environment."""
    transport = httpx.HTTPTransport(retries=0)
    transport._pool = httpcore.ConnectionPool(
        ssl_context=httpx.create_ssl_context(), network_backend=_PinnedBackend(), retries=0
    )
    return httpx.Client(transport=transport, timeout=TIMEOUT, follow_redirects=False, trust_env=False)


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise OutboundRefused("Only http and https addresses with a host can be called")
    if parts.username or parts.password:
        raise OutboundRefused("Addresses do not carry credentials")


def fetch(method: str, url: str, *, max_bytes: int = MAX_BYTES, **kwargs: Any) -> httpx.Response:
    """Call an address and read at most ``max_bytes``, all within 30 seconds; redirects (at most three) are checked too.

    A redirect to another host takes no credentials along, and a POST becomes a GET where HTTP says so. Raises
    :class:`OutboundRefused`, or :class:`HTTPError` for what fails on the way.
    """
    end = monotonic() + MAX_SECONDS
    with client() as http:
        _check_url(url)
        request = http.build_request(method, url, **kwargs)
        for _ in range(MAX_REDIRECTS + 1):
            response = http.send(request, stream=True)
            try:
                # httpx makes the next request as a browser would: without credentials to another host.
                following = response.next_request
                if following is None:
                    return _read(response, max_bytes, end)
                _check_url(str(following.url))
                following.headers.pop("Cookie", None)
                request = following
            finally:
                response.close()
    raise OutboundRefused(f"More than {MAX_REDIRECTS} redirects")


def _read(response: httpx.Response, max_bytes: int, end: float) -> httpx.Response:
    """The answer with its whole content; refused where it is too large or the time is up."""
    host, content = response.url.host, bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > max_bytes:
            raise OutboundRefused(f"The answer of {host} has more than {max_bytes:,} bytes")
        if monotonic() > end:
            raise OutboundRefused(f"The answer of {host} took more than {MAX_SECONDS:.0f} seconds")
    headers = [
        (name, value)
        for name, value in response.headers.multi_items()
        if name.lower() not in {"content-encoding", "content-length", "transfer-encoding"}
    ]
    return httpx.Response(response.status_code, headers=headers, content=bytes(content), request=response.request)
