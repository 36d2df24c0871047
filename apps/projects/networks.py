"""Addresses that a key may be used from: networks of IPv4 and IPv6 in CIDR form."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

__all__ = ["MAX_NETWORKS", "canonical_network", "is_within"]

MAX_NETWORKS = 50
_Network = IPv4Network | IPv6Network


def canonical_network(text: str) -> str:
    """A network or an address in its one spelling, such as ``192.0.2.7/32``; ``ValueError`` says what is wrong.

    A network whose address has bits beyond its length is refused: which of the two was meant cannot be known.
    """
    try:
        network = ip_network(text.strip(), strict=True)
    except ValueError as error:
        detail = str(error)
        if "host bits" in detail:
            meant = ip_network(text.strip(), strict=False)
            raise ValueError(f"{text.strip()} has bits beyond its length; the network is {meant}") from error
        raise ValueError(f"{text.strip()[:50]!r} is not an address or a network such as 192.0.2.0/24") from error
    if isinstance(network, IPv6Network) and network.network_address.scope_id:
        raise ValueError("An address with a zone is not reachable from elsewhere")
    return str(network)


@lru_cache(maxsize=4096)
def is_within(ip: str | None, networks: tuple[str, ...]) -> bool:
    """Whether an address lies in one of the networks; an unknown one does not. Remembered: callers come back."""
    if ip is None:
        return False
    try:
        address: IPv4Address | IPv6Address = ip_address(ip)
    except ValueError:
        return False
    # An IPv4 caller of a server that listens on IPv6.
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in _parsed(networks))


@lru_cache(maxsize=4096)
def _parsed(networks: tuple[str, ...]) -> tuple[_Network, ...]:
    return tuple(ip_network(network) for network in networks)
