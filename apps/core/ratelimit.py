"""Rate limits: GCRA in Redis, one round trip, decided by Redis's own clock.

The generic cell rate algorithm keeps one number a limit: the time at which the bucket would be empty again. A limit of
``n`` in ``window`` seconds lets a burst of ``n`` pass and refills evenly.

**Fails open**: without Redis nothing is limited. A refused connection costs one short time-out; after it Redis is left
alone for a second, so that an outage costs requests nothing.
"""

import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import redis
import structlog
from django.conf import settings
from prometheus_client import Counter
from redis.backoff import NoBackoff
from redis.retry import Retry

from apps.core.errors import RateLimited

__all__ = ["Limit", "RateResult", "check", "enforce", "give_back"]

log = structlog.get_logger(__name__)

UNLIMITED = Counter("mindweave_ratelimit_unlimited", "Uses that were let through uncounted, Redis being away")

_TIMEOUT = 0.1
_REST_AFTER_FAILURE = 1.0

# KEYS[1] the bucket; ARGV: limit, window in ms, cost. Returns {allowed, remaining, ms to a full bucket, ms to wait}.
_GCRA = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local limit, window, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local interval = window / limit
local tat = tonumber(redis.call('GET', KEYS[1]) or now)
if tat < now then tat = now end
local new = math.max(now, tat + interval * cost)
local room = now + window - new
if room < -0.5 then
  return {0, math.max(0, math.floor((now + window - tat) / interval)), math.ceil(tat - now), math.ceil(-room)}
end
redis.call('SET', KEYS[1], string.format('%.3f', new), 'PX', math.ceil(new - now) + 1000)
return {1, math.floor(room / interval), math.ceil(new - now), 0}
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """``limit`` uses in ``window`` seconds; ``name`` is what the headers call it."""

    name: str
    limit: int
    window: int


@dataclass(frozen=True, slots=True)
class RateResult:
    """The answer for one use. ``reset`` and ``retry_after`` are in seconds, rounded up."""

    limit: Limit
    allowed: bool
    remaining: int
    reset: int
    retry_after: int
    unknown: bool = False

    def headers(self) -> Mapping[str, str]:
        """``RateLimit`` and ``RateLimit-Policy`` as the IETF draft (ratelimit-headers) has them."""
        name = self.limit.name
        headers = {"RateLimit-Policy": f'"{name}";q={self.limit.limit};w={self.limit.window}'}
        if not self.unknown:
            headers["RateLimit"] = f'"{name}";r={self.remaining};t={self.reset}'
        return headers


_state = threading.local()
_rest_until = 0.0


def _script() -> "redis.commands.core.Script":
    script = getattr(_state, "script", None)
    if script is None or _state.url != settings.RATE_LIMIT_REDIS_URL:
        client = redis.Redis.from_url(
            settings.RATE_LIMIT_REDIS_URL,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
        )
        _state.url = settings.RATE_LIMIT_REDIS_URL
        _state.script = script = client.register_script(_GCRA)
    return script


def check(limit: Limit, identity: str, *, cost: int = 1) -> RateResult:
    """Use ``cost`` of the limit of ``identity``; allowed where Redis is away."""
    global _rest_until
    if time.monotonic() >= _rest_until:
        # Identities can be addresses or e-mails: Redis holds only their digests.
        bucket = hashlib.blake2b(f"{limit.name}\x00{identity}".encode(), digest_size=16).hexdigest()
        try:
            allowed, remaining, reset, wait = _script()(
                keys=[f"mw:rl:{bucket}"], args=[limit.limit, limit.window * 1000, cost]
            )
        except redis.RedisError as error:
            _rest_until = time.monotonic() + _REST_AFTER_FAILURE
            log.warning("ratelimit.open", reason=str(error))
        else:
            return RateResult(limit, bool(allowed), int(remaining), -(-int(reset) // 1000), -(-int(wait) // 1000))
    UNLIMITED.inc()
    return RateResult(limit, True, limit.limit, 0, 0, unknown=True)


def enforce(limit: Limit, identity: str, *, detail: str = "", cost: int = 1) -> RateResult:
    """:func:`check`, raising :class:`RateLimited` with the headers where it is used up."""
    result = check(limit, identity, cost=cost)
    if not result.allowed:
        raise RateLimited(
            detail or f"More than {limit.limit} in {limit.window} seconds; try again in {result.retry_after}",
            retry_after=result.retry_after,
            headers=result.headers(),
        )
    return result


def give_back(limit: Limit, identity: str) -> None:
    """Undo one :func:`enforce`: for limits that only failures count against, where whether it fails is known later."""
    check(limit, identity, cost=-1)
