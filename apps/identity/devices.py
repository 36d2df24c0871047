"""What a sign-in says of the device and the place it came from, in words. Nobody is asked over the network."""

import ipaddress
import logging
import re
import threading
from functools import lru_cache
from typing import Any

import maxminddb
import ua_parser
from django.conf import settings

__all__ = ["country_of", "device_of_agent"]

logger = logging.getLogger(__name__)

_PRODUCT = re.compile(r"^([\w.+ -]{1,60}?)(?:/(\d+)[\w.]*)?(?=[/\s(]|$)")
_lock = threading.Lock()
_opened: tuple[str, Any] | None = None


@lru_cache(maxsize=2048)
def device_of_agent(user_agent: str) -> str:
    """``Firefox 132 on Windows``; the product itself where it is a program, empty where nothing was said."""
    found = ua_parser.parse(user_agent[:300])
    parts = [part for part in (_named(found.user_agent), _system(found)) if part]
    if parts:
        return " on ".join(parts)[:120]
    product = _PRODUCT.match(user_agent)
    return " ".join(part for part in product.groups() if part)[:120] if product else ""


def _named(agent: Any) -> str:
    return " ".join(part for part in (agent.family, agent.major) if part) if agent else ""


def _system(found: Any) -> str:
    """The operating system without its version: browsers freeze it to keep their people from being told apart."""
    return str(found.os.family) if found.os else ""


def country_of(ip: str | None) -> str:
    """The ISO 3166 code of an address's country, by the operator's own table; empty where it is not known.

    ``GEOIP_COUNTRY_FILE`` names a file in MaxMind's format. Private addresses are nowhere.
    """
    if not ip or not settings.GEOIP_COUNTRY_FILE or not ipaddress.ip_address(ip).is_global:
        return ""
    try:
        found: Any = _table().get(ip)
        code = found["country"]["iso_code"]
    except (OSError, ValueError, KeyError, TypeError, maxminddb.InvalidDatabaseError) as error:
        logger.debug("the country of an address is not known: %s", error)
        return ""
    return str(code)[:2].upper()


def _table() -> Any:
    """The table, opened once a process."""
    global _opened
    path = str(settings.GEOIP_COUNTRY_FILE)
    with _lock:
        if _opened is None or _opened[0] != path:
            _opened = (path, maxminddb.open_database(path))
        return _opened[1]
