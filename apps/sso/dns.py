"""The TXT records that prove a domain."""

import dns.exception
import dns.resolver
from django.conf import settings

__all__ = ["CHALLENGE", "PREFIX", "DnsUnavailable", "record_found"]

CHALLENGE = "_mindweave-challenge"
PREFIX = "mindweave-verification="
_SECONDS = 5.0


class DnsUnavailable(Exception):
    """No name server answered: nothing is known, neither that the record is there nor that it is not."""


def record_found(domain: str, token: str) -> bool:
    """Whether the domain, or the name ``_mindweave-challenge`` below it, has a TXT record that holds the token.

    The record's whole text is the token, or the token behind ``mindweave-verification=``. Raises
    :class:`DnsUnavailable` where no server answers.
    """
    wanted = {token, f"{PREFIX}{token}"}
    resolver = _resolver()
    return any(text.strip() in wanted for name in (f"{CHALLENGE}.{domain}", domain) for text in _texts(resolver, name))


def _resolver() -> dns.resolver.Resolver:
    """The system's, or the servers of ``SSO_DNS_SERVERS`` (``address`` or ``address:port``)."""
    servers: list[str] = settings.SSO_DNS_SERVERS
    if not servers:
        return dns.resolver.Resolver()
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = [
        dns.nameserver.Do53Nameserver(host, int(port or 53))
        for host, _, port in (server.rpartition(":") if ":" in server else (server, "", "") for server in servers)
    ]
    return resolver


def _texts(resolver: dns.resolver.Resolver, name: str) -> list[str]:
    try:
        answer = resolver.resolve(f"{name}.", "TXT", lifetime=_SECONDS, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except (dns.exception.DNSException, OSError) as error:
        raise DnsUnavailable(name) from error
    return [b"".join(record.strings).decode("utf-8", "replace") for record in answer]
